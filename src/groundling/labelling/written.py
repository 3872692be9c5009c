"""Which files a labelling has written, so that what people do to them afterwards is not lost."""

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from groundling.data.writers.folder import HARMLESS
from groundling.pictures.folders import PICTURE_ENDINGS

PREDICTIONS, FILES, REPORT = "predictions.jsonl", "files.jsonl", "report.json"
"""What a labelling puts into the data set's folder besides the data set; the report comes last."""


def list_files(folder: Path) -> None:
    """Write the names of all files in a folder, and in the folders in it, with their sizes in bytes; links have none.

    Raises:
        OSError: it cannot be written.
    """
    with (folder / FILES).open("w", encoding="utf-8") as lines:
        for name in sorted(_files(folder)):
            status = (folder / name).lstat()
            size = None if stat.S_ISLNK(status.st_mode) else status.st_size
            lines.write(json.dumps({"file": name, "bytes": size}) + "\n")


def find_missing(folder: Path) -> str | None:
    """Return the name of a file that was written and is gone; None if there is none.

    Raises:
        ValueError: the list of files is damaged.
        OSError: it cannot be read.
    """
    return next((name for name in _listed(folder) if not os.path.lexists(folder / name)), None)


def find_edit(folder: Path) -> str | None:
    """Say what somebody has done to a data set since it was written; None if nothing.

    A picture that is linked is not changed here: it is the one that was labelled.

    Raises:
        ValueError: the list of files is damaged.
        OSError: something cannot be read.
    """
    sizes = _listed(folder)
    written = (folder / REPORT).stat().st_mtime_ns
    for name in _files(folder):
        if name not in sizes:
            return f"{folder / name} has been added since the data set was written"
        if _is_changed(folder / name, sizes.pop(name), written):
            return f"{folder / name} has been changed since it was written"
    missing = next(iter(sizes), None)
    return None if missing is None else f"{folder / missing} has been removed since it was written"


def _files(folder: Path) -> Iterator[str]:
    """Yield the names of all files, and of links to folders, except of this list and what nobody misses."""
    for here, folders, files in os.walk(folder):
        place = Path(here).relative_to(folder)
        for name in (*files, *(one for one in folders if Path(here, one).is_symlink())):
            path = (place / name).as_posix()
            if name.lower() not in HARMLESS and path not in (FILES, REPORT):
                yield path


def _listed(folder: Path) -> dict[str, int | None]:
    try:
        with (folder / FILES).open(encoding="utf-8") as lines:
            return {one["file"]: one["bytes"] for one in map(json.loads, lines)}
    except (KeyError, TypeError, RecursionError) as error:
        raise ValueError(str(error)) from error


def _is_changed(path: Path, size: int | None, written: int) -> bool:
    status = path.lstat()
    if stat.S_ISLNK(status.st_mode):
        return size is not None
    if path.suffix.lower() in PICTURE_ENDINGS and status.st_nlink > 1:
        return False
    return status.st_size != size or status.st_mtime_ns > written
