"""Which pictures are meant: those of a folder, of a data set's folder or of a list."""

import os
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from groundling.data.readers.files import read_lines
from groundling.errors import ImageError
from groundling.pictures.folders import PICTURE_ENDINGS, is_picture

PICTURE_FOLDERS = ("images", "JPEGImages")
"""Where the pictures of a data set stand."""

LIST_ENDING = ".txt"


@dataclass(frozen=True, slots=True)
class PictureList:
    """Pictures in a fixed order.

    Attributes:
        source: the folder or list that was named, as an absolute path.
        root: the folder that the names are relative to; of a list its own.
        names: paths of the pictures relative to `root`, with slashes, each once; those that a list names elsewhere are
            absolute.
        recursive: whether folders in the folder were searched.
    """

    source: Path
    root: Path
    names: tuple[str, ...]
    recursive: bool = False

    @property
    def common(self) -> Path | None:
        """The folder that names in a data set are relative to: `root`, or the one that holds all pictures of a list.

        None if they lie on several drives.
        """
        if self.source.is_dir():
            return self.root
        try:
            return Path(os.path.commonpath([(self.root / name).parent for name in self.names]))
        except ValueError:
            return None


def find_pictures(source: str | os.PathLike[str], *, recursive: bool = False) -> PictureList:
    """List pictures by the endings of their names, without opening them.

    Hidden files and folders are passed over, and what groundling has drawn; links to folders are not followed.

    Args:
        source: a folder; the folder of a data set, whose pictures stand in `images` or `JPEGImages`; or a text file
            (.txt) with one path a line, relative to its own folder.
        recursive: search the folders in the folder too.

    Raises:
        ImageError: there is no such place, there are no pictures, or it is another kind of file.
        DatasetError: the list is not UTF-8 text.
        OSError: a folder cannot be read.
    """
    place = Path(os.path.realpath(Path(source).expanduser()))
    if place.is_dir():
        return _in_folder(place, recursive)
    if not place.exists():
        raise ImageError(f"There is no folder {os.fspath(source)!r}. Check the path of the pictures.")
    if place.suffix.lower() in PICTURE_ENDINGS:
        return PictureList(place, place.parent, (place.name,))
    if place.suffix.lower() != LIST_ENDING:
        raise ImageError(
            f"{os.fspath(source)!r} is no folder, no picture and no list of pictures ({LIST_ENDING}). "
            f"Name the folder of the pictures, or write their paths into a {LIST_ENDING} file, one on each line."
        )
    return _listed(place)


def unusable_name(name: str) -> str | None:
    """Say why no data set can hold a picture of this name; None if it can."""
    if any(unicodedata.category(letter) in ("Cc", "Cs") for letter in name):
        return f"The name {name!a} holds a control character or is not UTF-8, which annotations cannot hold. Rename it."
    return None


def _in_folder(folder: Path, recursive: bool) -> PictureList:
    names = sorted(_walk(folder, recursive))
    if names:
        return PictureList(folder, folder, tuple(names), recursive)
    for inside in (folder / name for name in PICTURE_FOLDERS):
        if inside.is_dir() and (names := sorted(_walk(inside, recursive=True))):
            return PictureList(folder, inside, tuple(names), recursive)
    deeper = 0 if recursive else sum(1 for _ in _walk(folder, recursive=True))
    if deeper:
        raise ImageError(f"The folder {folder} has no pictures in it, but those inside it have {deeper}: --recursive.")
    raise ImageError(f"The folder {folder} has no pictures in it ({', '.join(sorted(PICTURE_ENDINGS))}).")


def _walk(folder: Path, recursive: bool) -> Iterator[str]:
    for here, folders, files in os.walk(folder, onerror=_refuse):
        folders[:] = [name for name in folders if recursive and not name.startswith(".")]
        place = Path(here).relative_to(folder)
        for name in files:
            if is_picture(name):
                yield (place / name).as_posix()


def _refuse(error: OSError) -> None:
    raise error  # a folder that is passed over in silence would be lost


def _listed(file: Path) -> PictureList:
    paths: dict[Path, None] = {}
    for number, line in read_lines(file):
        text = line.strip()
        if text.startswith(("http://", "https://")):
            raise ImageError(f"{file}, line {number}: {text!r:.200} is a URL. Download the pictures first.")
        paths[Path(os.path.normpath(file.parent / Path(text).expanduser()))] = None
    if not paths:
        raise ImageError(f"The list {file} is empty. Write one path of a picture on each line.")
    if not any(path.is_file() for path in paths):
        raise ImageError(
            f"No line of {file} is the path of a picture that exists, the first is {str(next(iter(paths)))!r:.200}. "
            "Write one path on each line, relative to the folder of the list."
        )
    root = file.parent  # and not the folder that they share: another line could change the names of all others
    names = [path.relative_to(root) if path.is_relative_to(root) else path for path in paths]
    return PictureList(file, root, tuple(name.as_posix() for name in names))
