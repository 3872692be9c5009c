"""Which pictures are meant: those of a folder, of a data set's folder or of a list."""

import os
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from groundling.data.readers.files import PICTURE_ENDINGS, read_lines
from groundling.errors import ImageError

PICTURE_FOLDERS = ("images", "JPEGImages")
"""Where the pictures of a data set stand."""


@dataclass(frozen=True, slots=True)
class PictureList:
    """Pictures in a fixed order.

    Attributes:
        source: the folder or list that was named, as an absolute path.
        root: the folder that the names are relative to.
        names: paths of the pictures relative to `root`, with slashes, each once.
        recursive: whether folders in the folder were searched.
    """

    source: Path
    root: Path
    names: tuple[str, ...]
    recursive: bool = False


def find_pictures(source: str | os.PathLike[str], *, recursive: bool = False) -> PictureList:
    """List pictures by the endings of their names, without opening them.

    Hidden files and folders are passed over, and links to folders are not followed.

    Args:
        source: a folder; the folder of a data set, whose pictures stand in `images` or `JPEGImages`; or a text file
            with one path a line, relative to its own folder.
        recursive: search the folders in the folder too.

    Raises:
        ImageError: there is no such place, or there are no pictures.
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
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in PICTURE_ENDINGS:  # noqa: PTH122
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
    try:
        root = Path(os.path.commonpath([path.parent for path in paths]))
    except ValueError as error:  # Windows: other drives
        raise ImageError(f"The pictures in {file} lie on several drives. Make a list for each.") from error
    return PictureList(file, root, tuple(path.relative_to(root).as_posix() for path in paths))
