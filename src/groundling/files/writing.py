"""Reading and writing small files; a file that exists is whole."""

import errno
import json
import os
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from groundling.errors import CheckpointError

_PARTIAL = ".partial"
_LEFTOVER_SECONDS = 24 * 60 * 60
_SYNC_THREADS = 16  # files that are made durable together share the disk's work
_CANNOT_SYNC = (errno.EACCES, errno.EBADF, errno.EINVAL, errno.ENOTSUP, errno.EPERM)  # what systems say of folders


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary path beside `path`; it takes the place of `path` when the block ends without an error.

    A crash, a power cut, a full disk or an error inside the block leaves an existing file at `path` as it was. A link
    is followed. What killed processes left behind in the folder is removed after a day.

    Raises:
        CheckpointError: there is something at `path` that is not a file, such as a device.
    """
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():
        raise CheckpointError(f"{path} is not a regular file and is not written to. Name another place.")
    target.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(target.parent)
    temporary = target.with_name(f".{target.stem}.{uuid.uuid4().hex[:12]}{_PARTIAL}{target.suffix}")
    try:
        yield temporary
        sync_file(temporary)
        temporary.replace(target)
        sync_folder(target.parent)
    finally:
        temporary.unlink(missing_ok=True)


def sync_file(path: Path) -> None:
    """Wait until the content of a file is on the disk.

    Raises:
        OSError: it cannot be opened or written.
    """
    with path.open("rb+") as written:  # Windows flushes only what may be written
        os.fsync(written.fileno())


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk: that files in it are there, and what they are called.

    Where a system has no such call, as Windows, nothing is done.

    Raises:
        OSError: the disk fails.
    """
    if os.name != "posix":
        return
    try:
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)
    except OSError as error:
        if error.errno not in _CANNOT_SYNC:
            raise


def sync_tree(folder: Path) -> None:
    """Wait until all files in a folder and the folders in it are on the disk, with their names.

    Links are passed over, also hard ones: their content was there before.

    Raises:
        OSError: something cannot be written.
    """
    with ThreadPoolExecutor(_SYNC_THREADS) as pool:
        for here, folders, files in os.walk(folder):
            paths = [Path(here, name) for name in files]
            own = [path for path in paths if not path.is_symlink() and path.stat().st_nlink == 1]
            list(pool.map(sync_file, own))
            list(pool.map(sync_folder, [Path(here, name) for name in folders]))
    sync_folder(folder)


def _remove_leftovers(folder: Path) -> None:
    for path in folder.glob(f".*{_PARTIAL}*"):
        with suppress(OSError):  # another process may have removed it
            if time.time() - path.stat().st_mtime > _LEFTOVER_SECONDS:
                path.unlink()


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write UTF-8 text atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | os.PathLike[str], value: object) -> None:
    """Write JSON atomically: sorted keys, two spaces, a final newline."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True) + "\n")


def read_json(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        CheckpointError: the file is missing, is not UTF-8 JSON or holds something other than an object.
    """
    try:
        value = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}.") from error
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is not valid JSON ({error}). Download or write the file again.") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} must hold a JSON object, but holds a {type(value).__name__}.")
    return value
