"""A folder that is whole or not there."""

import os
import shutil
import uuid
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from groundling.errors import DatasetError
from groundling.files import sync_folder, sync_tree

HARMLESS = frozenset({".ds_store", "desktop.ini", "labels.cache", "thumbs.db"})
"""Files, in lower case, that other programs leave in folders and make again: nobody misses them."""


@contextmanager
def atomic_folder(destination: Path, *, replaceable: Collection[str] | None) -> Iterator[Path]:
    """Give a new folder beside `destination`; it takes that place when the block ends without an error.

    Everything in it is on the disk before that, and the exchange before the old folder goes, so a power cut takes no
    more than a crash.

    Args:
        destination: must not exist or be an empty folder, unless `replaceable` is given.
        replaceable: names that may stand in the folder; it is replaced then, but not if anything else is in it.

    Raises:
        DatasetError: there is a file at `destination`, or a folder that may not be replaced, or none can be made.
        OSError: something cannot be written to the disk.
    """
    target = Path(os.path.realpath(destination))
    check_destination(target, destination, replaceable)
    unique = uuid.uuid4().hex[:12]
    temporary, old = (target.with_name(f".{target.name}.{unique}.{kind}") for kind in ("partial", "old"))
    try:
        temporary.mkdir(parents=True)
    except OSError as error:
        raise DatasetError(f"{destination} cannot be made: {error.strerror}. Name another folder.") from error
    try:
        yield temporary
        sync_tree(temporary)
        if target.exists():
            target.rename(old)
        try:
            temporary.rename(target)
        except OSError:
            if old.exists():
                old.rename(target)
            raise
        sync_folder(target.parent)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def check_destination(target: Path, destination: Path, replaceable: Collection[str] | None) -> None:
    """Find out whether a folder may be written.

    Args:
        target: the folder, without links.
        destination: what messages call it.
        replaceable: see `atomic_folder`.

    Raises:
        DatasetError: it may not.
    """
    if not target.exists():
        return
    if not target.is_dir():
        raise DatasetError(f"{destination} is a file. Name a folder to write to.")
    there = sorted(path.name for path in target.iterdir() if path.name.lower() not in HARMLESS)
    if there and replaceable is None:
        raise DatasetError(f"The folder {destination} is not empty. Name another one, or use overwrite (--overwrite).")
    others = [name for name in there if name not in (replaceable or ())]
    if others:
        raise DatasetError(
            f"{destination} holds {others[0]!r}, which is no part of a data set and would be lost. "
            "Move it away, or name another folder."
        )
