"""The folder beside the data set in which a labelling goes on until it is done."""

import os
import re
import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from filelock import FileLock, Timeout

from groundling.data.convert import PARTS
from groundling.data.writers.folder import check_destination
from groundling.errors import CheckpointError, DatasetError
from groundling.files import atomic_path, read_json, sync_folder, write_json
from groundling.labelling.written import FILES, PREDICTIONS, REPORT, find_edit, find_missing

UNFINISHED = ".unfinished"
"""What the folder's name adds to that of the data set."""

REPORT_KEYS = ("job", "made_by", "format", "copy", "pictures", "boxes", "without_boxes", "unreadable", "left_out")

REPLACEABLE = PARTS | {PREDICTIONS, REPORT, FILES}

_JOB, _JOURNAL, _LOCK = "job.json", "journal.jsonl", "lock"

_LOCK_TRIES = 10
"""How often another process may leave, and take the folder along, between making it and locking it."""


class Workplace:
    """One process at a time works here. When it leaves and nothing has been begun, nothing is left.

    Attributes:
        out: the data set's folder, without links.
        folder: the folder beside it.
        journal: the file of what has been done.
    """

    def __init__(self, out: str | os.PathLike[str]) -> None:
        """Name the places; nothing is made.

        Raises:
            DatasetError: there can be no folder beside `out`.
        """
        self.out = Path(os.path.realpath(Path(out).expanduser()))
        if not self.out.name:
            raise _no_root(self.out)
        self.folder = self.out.with_name(self.out.name + UNFINISHED)
        self.journal = self.folder / _JOURNAL
        self._lock = FileLock(self.folder / _LOCK, timeout=0)

    def check(self, *, overwrite: bool) -> None:
        """Find out before the model computes whether the data set can be written.

        Args:
            overwrite: whether a data set there may be replaced, also one that has been changed by hand.

        Raises:
            DatasetError: it cannot, or something would be lost.
        """
        if self.out.is_mount():
            raise _no_root(self.out)
        is_ours = (self.out / REPORT).is_file()
        check_destination(self.out, self.out, REPLACEABLE if overwrite or is_ours else None)
        parent = next(place for place in self.folder.parents if place.exists())
        if not parent.is_dir() or not os.access(parent, os.W_OK):
            raise DatasetError(
                f"{self.out} cannot be made: {parent} is no folder that you may change. Name another one."
            )

    def __enter__(self) -> Self:
        try:
            is_locked = any(self._acquire() for _ in range(_LOCK_TRIES))
        except OSError as error:
            raise DatasetError(f"{self.folder} cannot be made: {error.strerror}. Name another folder.") from error
        if not is_locked:
            raise DatasetError(
                f"Another process is labelling into {self.out}. Wait until it is done, or name another folder."
            )
        return self

    def __exit__(self, *_: object) -> None:
        is_begun = (self.folder / _JOB).exists()
        if not is_begun:
            with suppress(OSError):  # Windows removes no open file; its locks remove themselves
                (self.folder / _LOCK).unlink()  # before it is released: who has opened it sees that it is gone
        self._lock.release()
        if not is_begun:
            with suppress(OSError):  # somebody else works here already
                self.folder.rmdir()

    def _acquire(self) -> bool:
        """Lock the folder, if nobody has; a lock whose file has been removed meanwhile guards nothing."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with (self.folder / _LOCK).open("ab") as file:  # while it is open, no other file has its number
                self._lock.acquire()
                if os.path.samestat(os.fstat(file.fileno()), (self.folder / _LOCK).stat()):
                    return True
        except (FileNotFoundError, Timeout):
            pass
        self._lock.release()
        return False

    def begun(self) -> dict[str, Any] | None:
        """Return what the job is that has been begun here and is not done; None if there is none."""
        return _read(self.folder / _JOB, ("job",))

    def finished(self) -> dict[str, Any] | None:
        """Return the report that stands in the data set's folder; None if there is none.

        Raises:
            DatasetError: there is one that cannot be read, or what was written is missing.
        """
        if not (self.out / REPORT).exists():
            return None
        content = _read(self.out / REPORT, REPORT_KEYS)
        if content is None or not (self.out / PREDICTIONS).is_file():
            raise self._damaged()
        try:
            missing = find_missing(self.out)
        except (OSError, ValueError) as error:
            raise self._damaged() from error
        if missing is not None:
            raise DatasetError(
                f"{self.out / missing} has been removed since it was written. "
                "Name another folder, or begin anew with overwrite (--overwrite)."
            )
        return content

    def _damaged(self) -> DatasetError:
        return DatasetError(
            f"{self.out / REPORT}, or {PREDICTIONS} or {FILES} beside it, is damaged, so nothing can be added. "
            "Name another folder, or begin anew with overwrite (--overwrite)."
        )

    def begin(self, job: dict[str, Any], predictions: Path | None = None) -> None:
        """Begin a job: with what a finished labelling has found, or with nothing.

        Args:
            job: what `begun` will return.
            predictions: of a finished labelling.
        """
        self.clear()
        if predictions is not None:
            with atomic_path(self.journal) as temporary:
                shutil.copyfile(predictions, temporary)
        write_json(self.folder / _JOB, job)
        sync_folder(self.folder.parent)

    def clear(self) -> None:
        """Remove what has been begun; the job first, so that nothing else counts without it."""
        (self.folder / _JOB).unlink(missing_ok=True)
        self.journal.unlink(missing_ok=True)

    def remove_leftovers(self) -> None:
        """Remove what killed processes left while they put the data set into its place, now that it is there."""
        pattern = re.compile(rf"\.{re.escape(self.out.name)}\.[0-9a-f]{{12}}\.(partial|old)")
        for path in self.out.parent.iterdir():
            found = pattern.fullmatch(path.name)
            if found and (found[1] == "partial" or (path / REPORT).is_file()):
                shutil.rmtree(path, ignore_errors=True)

    def check_unedited(self) -> None:
        """Refuse to replace a data set that somebody has corrected since it was written.

        Raises:
            DatasetError: a file in it was changed, added or removed.
        """
        if not (self.out / REPORT).is_file():
            return
        try:
            edit = find_edit(self.out)
        except (OSError, ValueError) as error:
            raise self._damaged() from error
        if edit is not None:
            raise DatasetError(
                f"{edit}, and the change would be lost. "
                "Name another folder, or replace it with overwrite (--overwrite)."
            )


def _no_root(place: Path) -> DatasetError:
    return DatasetError(f"{place} is the root of a file system and cannot be replaced. Name a folder in it.")


def _read(path: Path, keys: Iterable[str]) -> dict[str, Any] | None:
    try:
        content = read_json(path)
    except CheckpointError:
        return None
    return content if isinstance(content.get("job"), dict) and all(key in content for key in keys) else None
