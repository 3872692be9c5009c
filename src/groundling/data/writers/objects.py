"""What writers have in common: a record as objects with one name each, and numbers as text."""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from groundling.data.record import Record
from groundling.errors import DatasetError
from groundling.structures.masks import Masks

DECIMALS = 4
"""Of pixels in files: 0.0001 pixel is finer than any annotation."""

SCORE_DECIMALS = 6
"""Of scores in files."""

_LOST = 0.01
"""Share of a mask that its outline may miss or add."""

_LOST_AT_EDGES = 0.3
"""Pixels of each pixel of the edge that a tolerance of 1 costs at most; 0.15 were seen for discs."""


class Writer(Protocol):
    """Takes in records and writes them into a folder.

    Whoever makes one closes it, as with `contextlib.closing`: open files cannot be removed everywhere.

    Attributes:
        IMAGES: name of the folder for the pictures; empty where the format only names them.
        SHARES_PICTURES: whether several records may be about one picture.
        left_out: what the format cannot hold, and how often it was met.
    """

    IMAGES: ClassVar[str]
    SHARES_PICTURES: ClassVar[bool]
    left_out: Counter[str]

    def add(self, record: Record, file_name: str) -> None:
        """Take in a record whose picture stands at `IMAGES/file_name`, or is called so where it is not taken along."""
        ...

    def finish(self) -> None:
        """Write what belongs to all records; none comes after it."""
        ...

    def close(self) -> None:
        """Let go of open files, also of unfinished ones. It may be called at any time and raises nothing."""
        return None  # noqa: RET501  (there may be none)


class NamedObject(NamedTuple):
    """An object with one name.

    Attributes:
        box: left, top, right, bottom in pixels.
        name_id: index of its name in the data set's names.
        is_crowd: see `Record`.
        score: how sure a model is, 0..1; None where there are no scores.
        row: number of the object in its record, where its mask stands too.
    """

    box: tuple[float, float, float, float]
    name_id: int
    is_crowd: bool
    score: float | None
    row: int


def named_objects(record: Record, index_of: Mapping[str, int], left_out: Counter[str]) -> Iterator[NamedObject]:
    """Yield the objects of a record; one with several names comes several times.

    Args:
        record: a picture and what is in it.
        index_of: the data set's names and their indices.
        left_out: is told of what cannot be written.

    Raises:
        DatasetError: a label is not one of the names.
    """
    unnamed = next((label for label in record.labels if label not in index_of), None)
    if unnamed is not None or record.caption is not None:
        raise DatasetError(
            f"{record.key}: the label {unnamed or record.labels[0]!r} is a phrase, not one of the data set's names. "
            "Only ODVG holds phrases; convert to odvg."
        )
    if record.absent is not None:
        left_out["pictures in which not every name was looked for"] += 1
    left_out["objects without a label"] += int((~record.positive_NL.any(axis=1)).sum())
    for row, column in np.argwhere(record.positive_NL):
        left, top, right, bottom = (float(number) for number in record.boxes_xyxy[row])
        score = None if record.score_N is None else round(float(record.score_N[row]), SCORE_DECIMALS)
        name_id, is_crowd = index_of[record.labels[column]], bool(record.crowd_N[row])
        yield NamedObject((left, top, right, bottom), name_id, is_crowd, score, int(row))


def box_outline(box: tuple[float, float, float, float]) -> NDArray[np.float64]:
    """Return the corners of a box as an outline [4, 2] in pixels."""
    left, top, right, bottom = box
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)])


def outline_tolerance(masks: Masks, row: int) -> float:
    """Say how far the outline of a mask may leave the edges of its pixels, in pixels, for an IoU above 0.99.

    The outline of a large thing becomes several times shorter by it, which is what people edit and programs read.
    """
    _, _, part = masks.crop(row)
    inside = np.pad(part, 1)
    edges = int((inside[1:] != inside[:-1]).sum() + (inside[:, 1:] != inside[:, :-1]).sum())
    return 1.0 if _LOST_AT_EDGES * edges < _LOST * int(masks.areas[row]) else 0.0


def as_text(number: float, decimals: int = DECIMALS) -> str:
    """Write a number without needless zeros."""
    text = f"{number:.{decimals}f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def write_lines(path: Path, lines: list[str]) -> None:
    """Write UTF-8 lines, in a folder that is made if needed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
