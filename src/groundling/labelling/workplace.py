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
from groundling.data.readers.files import PICTURE_ENDINGS
from groundling.data.writers.folder import check_destination
from groundling.errors import CheckpointError, DatasetError
from groundling.files import atomic_path, read_json, write_json

UNFINISHED = ".unfinished"
"""What the folder's name adds to that of the data set."""

PREDICTIONS, REPORT = "predictions.jsonl", "report.json"
"""What a labelling puts into the data set's folder besides the data set."""

REPORT_KEYS = ("job", "made_by", "format", "pictures", "boxes", "without_boxes", "unreadable", "left_out")

REPLACEABLE = PARTS | {PREDICTIONS, REPORT}

_JOB, _JOURNAL, _LOCK = "job.json", "journal.jsonl", "lock"


class Workplace:
    """One process at a time works here. When it leaves and nothing has been begun, nothing is left.

    Attributes:
        out: the data set's folder, without links.
        folder: the folder beside it.
        journal: the file of what has been done.
    """

    def __init__(self, out: str | os.PathLike[str]) -> None:
        self.out = Path(os.path.realpath(Path(out).expanduser()))
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
            raise DatasetError(f"{self.out} is the root of a file system and cannot be replaced. Name a folder in it.")
        is_ours = (self.out / REPORT).is_file()
        check_destination(self.out, self.out, REPLACEABLE if overwrite or is_ours else None)
        parent = next(place for place in self.folder.parents if place.exists())
        if not parent.is_dir() or not os.access(parent, os.W_OK):
            raise DatasetError(
                f"{self.out} cannot be made: {parent} is no folder that you may change. Name another one."
            )

    def __enter__(self) -> Self:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
        except Timeout as error:
            raise DatasetError(
                f"Another process is labelling into {self.out}. Wait until it is done, or name another folder."
            ) from error
        except OSError as error:
            raise DatasetError(f"{self.folder} cannot be made: {error.strerror}. Name another folder.") from error
        return self

    def __exit__(self, *_: object) -> None:
        is_begun = (self.folder / _JOB).exists()
        self._lock.release()
        if not is_begun:
            with suppress(OSError):
                (self.folder / _LOCK).unlink(missing_ok=True)
                self.folder.rmdir()

    def begun(self) -> dict[str, Any] | None:
        """Return what the job is that has been begun here and is not done; None if there is none."""
        return _read(self.folder / _JOB, ("job",))

    def finished(self) -> dict[str, Any] | None:
        """Return the report that stands in the data set's folder; None if there is none.

        Raises:
            DatasetError: there is one that cannot be read, or what was found is missing.
        """
        if not (self.out / REPORT).exists():
            return None
        content = _read(self.out / REPORT, REPORT_KEYS)
        if content is None or not (self.out / PREDICTIONS).is_file():
            raise DatasetError(
                f"{self.out / REPORT} or {PREDICTIONS} beside it is damaged, so nothing can be added. "
                "Name another folder, or begin anew with overwrite (--overwrite)."
            )
        return content

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
        """Refuse to replace annotations that somebody has corrected since they were written.

        Raises:
            DatasetError: a file of the data set is newer than its report, which was written last.
        """
        report = self.out / REPORT
        if not report.is_file():
            return
        written = report.stat().st_mtime_ns
        for here, _, files in os.walk(self.out):
            for name in files:
                path = Path(here, name)
                if path.suffix.lower() not in PICTURE_ENDINGS and path.lstat().st_mtime_ns > written:
                    raise DatasetError(
                        f"{path} has been changed since it was written, and the change would be lost. "
                        "Name another folder, or replace it with overwrite (--overwrite)."
                    )


def _read(path: Path, keys: Iterable[str]) -> dict[str, Any] | None:
    try:
        content = read_json(path)
    except CheckpointError:
        return None
    return content if isinstance(content.get("job"), dict) and all(key in content for key in keys) else None
