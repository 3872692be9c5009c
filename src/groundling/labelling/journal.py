"""What has been done, on disk before anything else is done: lines that are only ever added."""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import lru_cache
from io import FileIO
from pathlib import Path
from typing import NamedTuple, Self

from groundling.labelling.finding import Finding, Stamp

_LINES_KEPT = 64  # pictures that follow each other stand in few different lines


class _Place(NamedTuple):
    offset: int
    number: int
    stamp: Stamp | None
    failed: bool


class Journal:
    """Findings by the names of their pictures, in a file of JSON lines.

    A line is one finding, or a list of those that were computed together: a batch is there as a whole or not at all. Of
    several findings of a picture the last one counts. What a crash cut off, and lines that are damaged, are as if they
    had not been written. Only the places of the findings are held in memory.
    """

    def __init__(self, path: Path) -> None:
        """Read a file, or begin with none.

        Raises:
            OSError: it cannot be read.
        """
        self._path = path
        self._places: dict[str, _Place] = {}
        self._end = 0
        self._file: FileIO | None = None
        self._line = lru_cache(_LINES_KEPT)(self._parsed)
        if path.exists():
            with path.open("rb") as file:
                for line in file:
                    if line.endswith(b"\n"):
                        self._note(self._end, _findings(line))
                        self._end += len(line)

    def __enter__(self) -> Self:
        """Open it to add lines; what a crash cut off is removed."""
        self._file = self._path.open("ab", buffering=0)
        self._file.truncate(self._end)
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()
        self._file = None

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __contains__(self, picture: object) -> bool:
        return picture in self._places

    def __getitem__(self, picture: str) -> Finding:
        place = self._places[picture]
        return self._line(place.offset)[place.number]

    def has(self, picture: str, stamp: Stamp | None) -> bool:
        """Tell whether a picture was read and its file has not been changed since."""
        place = self._places.get(picture)
        return place is not None and not place.failed and place.stamp == stamp

    def add(self, findings: Sequence[Finding]) -> None:
        """Add a line; it is on the disk when this returns.

        Raises:
            OSError: it cannot be written; it is then as if it had not been tried.
        """
        assert self._file is not None, "the journal is not open"
        line = (json.dumps([finding.to_dict() for finding in findings]) + "\n").encode()
        try:
            rest = memoryview(line)
            while rest:
                rest = rest[self._file.write(rest) :]
            os.fsync(self._file.fileno())
        except OSError:
            with suppress(OSError):  # opening the file again does the same
                self._file.truncate(self._end)
            raise
        self._note(self._end, findings)
        self._end += len(line)

    def _note(self, offset: int, findings: Sequence[Finding]) -> None:
        for number, finding in enumerate(findings):
            failed = finding.error is not None
            self._places[finding.picture] = _Place(offset, number, finding.stamp, failed)

    def _parsed(self, offset: int) -> tuple[Finding, ...]:
        with self._path.open("rb") as file:
            file.seek(offset)
            return _findings(file.readline())


def _findings(line: bytes) -> tuple[Finding, ...]:
    try:
        value = json.loads(line)
        return tuple(Finding.from_dict(one) for one in (value if isinstance(value, list) else [value]))
    except (ValueError, TypeError, KeyError, LookupError, RecursionError):
        return ()  # damaged: its pictures are done again
