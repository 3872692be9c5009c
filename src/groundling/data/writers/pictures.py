"""The pictures of a data set that is written: linked, copied or saved."""

import os
import shutil
from pathlib import Path, PurePosixPath

from groundling.data.readers.files import picture_size
from groundling.data.record import Record
from groundling.errors import DatasetError, ImageError


class PictureFiles:
    """Puts pictures into a folder, no two to one place, and no two that differ in their ending only.

    Names stay as they are relative to the source's folder of pictures; a name that is taken gets a number.
    """

    def __init__(
        self, folder: Path, *, source: Path | None, copy: bool, shared: bool, doomed: Path, flat: bool = False
    ) -> None:
        """Begin with no pictures.

        Args:
            folder: where they go.
            source: the folder that their names are relative to; without it only the last part of a path is kept.
            copy: copy files; otherwise they are linked (hard if possible), or copied where the system has no links.
            shared: a picture of several records is put there once; otherwise each record gets its own.
            doomed: a folder that is about to be replaced, in which no source may lie.
            flat: put all of them into the folder itself; a name is then the path with "_" in place of slashes.
        """
        self._folder = folder
        self._source = source
        self._copy = copy
        self._flat = flat
        self._shared = shared
        self._doomed = Path(os.path.realpath(doomed))
        self._names: dict[Path, str] = {}
        self._taken: set[str] = set()

    def place(self, record: Record) -> str:
        """Put a record's picture there and return its name relative to the folder, with slashes.

        Raises:
            ImageError: there is no such picture, or it cannot be read.
            DatasetError: it lies in the folder that is about to be replaced, or has another size than the record says.
        """
        if not isinstance(record.picture, Path):
            name = self._free(_safe(PurePosixPath(f"{record.key}.png")))
            record.picture.save(self._made(name))
            return name
        picture = Path(os.path.realpath(record.picture))
        if self._shared and picture in self._names:
            return self._names[picture]
        if not picture.is_file():
            raise ImageError(f"There is no picture file {str(record.picture)!r}. Check the folder of the pictures.")
        if picture.is_relative_to(self._doomed):
            raise DatasetError(f"The picture {record.picture} lies in the folder to be replaced. Write to another one.")
        size = picture_size(picture)
        if size != record.image_wh:  # boxes as shares of the picture would be wrong
            raise DatasetError(
                f"{record.key}: the picture has {size[0]} x {size[1]} pixels upright, but its annotations say "
                f"{record.image_wh[0]} x {record.image_wh[1]}. `groundling data check` lists all such pictures."
            )
        name = self._names[picture] = self._free(self._named(record.picture))
        self._link(picture, self._made(name))
        return name

    def _named(self, picture: Path) -> PurePosixPath:
        path = _relative(picture, self._source)
        return PurePosixPath("_".join(path.parts)) if self._flat else path

    def _link(self, picture: Path, place: Path) -> None:
        # a hard link is a file like any other to programs that read it; it cannot cross file systems
        for link in () if self._copy else (place.hardlink_to, place.symlink_to):
            try:
                link(picture)
            except (OSError, NotImplementedError):  # a file system or user that may not make such links
                continue
            return
        shutil.copyfile(picture, place)

    def _free(self, path: PurePosixPath) -> str:
        number, free = 1, path
        while str(free.with_suffix("")).casefold() in self._taken:
            number += 1
            free = path.with_stem(f"{path.stem}-{number}")
        self._taken.add(str(free.with_suffix("")).casefold())
        return str(free)

    def _made(self, name: str) -> Path:
        place = self._folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        return place


def _relative(picture: Path, source: Path | None) -> PurePosixPath:
    if source is None or not picture.is_relative_to(source):
        return PurePosixPath(picture.name)
    return _safe(PurePosixPath(picture.relative_to(source).as_posix()), picture.name)


def _safe(path: PurePosixPath, otherwise: str = "picture.png") -> PurePosixPath:
    """Keep a path only if it stays inside its folder."""
    return path if path.name and ".." not in path.parts and not path.is_absolute() else PurePosixPath(otherwise)
