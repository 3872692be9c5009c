"""Truth and findings of a whole data set in columns.

Shapes: P picture, K category, N box.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from groundling.data.record import Dataset, Record
from groundling.evaluate.facts import Facts
from groundling.evaluate.found import Found
from groundling.evaluate.protocol import EvaluationProtocol
from groundling.evaluate.questions import asked_labels

Columns = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32], NDArray[np.float32]]


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """What is in the pictures.

    Attributes:
        categories: the names; first those of the data set, then other labels as they came.
        pictures: how many pictures there are.
        picture_N: picture of each object, 0 to P-1; an object with two labels stands here twice.
        category_N: its category, 0 to K-1.
        boxes_xyxy: its corners [N, 4].
        area_N: its area in pixels, from the annotations where they have one, else of the box.
        crowd_N: whether it is a group that nobody counted.
        judged_PK: whether anybody looked for this category in this picture; what is found of others is not counted.
        partial_PK: whether only some objects of this category are annotated; what is found beside them is not counted.
    """

    categories: tuple[str, ...]
    pictures: int
    picture_N: NDArray[np.int64]
    category_N: NDArray[np.int64]
    boxes_xyxy: NDArray[np.float32]
    area_N: NDArray[np.float64]
    crowd_N: NDArray[np.bool_]
    judged_PK: NDArray[np.bool_]
    partial_PK: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class FoundTable:
    """What was found in the pictures, picture by picture, best first.

    Attributes:
        picture_N: picture of each box, 0 to P-1.
        category_N: its category, 0 to K-1.
        boxes_xyxy: its corners [N, 4].
        score_N: its score.
    """

    picture_N: NDArray[np.int64]
    category_N: NDArray[np.int64]
    boxes_xyxy: NDArray[np.float32]
    score_N: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.score_N)

    def take(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> "FoundTable":
        """Return some of the boxes."""
        return FoundTable(self.picture_N[rows], self.category_N[rows], self.boxes_xyxy[rows], self.score_N[rows])


class TableBuilder:
    """Collects pictures one after the other.

    Args:
        dataset: where the records are from.
        protocol: says what was asked.
    """

    def __init__(self, dataset: Dataset, protocol: EvaluationProtocol) -> None:
        self._names, self._protocol, self._facts = dataset.names, protocol, Facts(dataset)
        self._category = {name: number for number, name in enumerate(dataset.names)}
        self._truth: list[tuple[int, int, NDArray[np.float32], float, bool]] = []
        self._found: list[Columns] = []
        self._judged: list[tuple[int, ...] | None] = []
        self._partial: list[tuple[int, ...]] = []

    def add(self, record: Record, found: Found) -> None:
        """Take in one picture and what was found in it."""
        picture = len(self._judged)
        own = [self._number(label) for label in record.labels]
        area_N = self._facts.areas(found.index, record)
        for row, column in np.argwhere(record.positive_NL).tolist():
            crowd = bool(record.crowd_N[row])
            self._truth.append((picture, own[column], record.boxes_xyxy[row], float(area_N[row]), crowd))
        absent = None if record.absent is None else [self._number(name) for name in record.absent]
        self._judged.append(None if absent is None else tuple({*own, *absent}))
        self._partial.append(tuple(self._number(name) for name in record.partial))
        asked = asked_labels(record, self._names, self._protocol)
        category_L = np.array([self._number(label) for label in asked], np.int64)
        if len(found):
            pictures = np.full(len(found), picture, np.int64)
            self._found.append((pictures, category_L[found.label_ids], found.boxes_xyxy, found.scores))

    def build(self) -> tuple[Truth, FoundTable]:
        """Return everything in columns; objects and boxes of names that do not count are left out."""
        num_pictures, num_categories = len(self._judged), len(self._category)
        judged_PK = np.zeros((num_pictures, num_categories), np.bool_)
        partial_PK = np.zeros((num_pictures, num_categories), np.bool_)
        for picture, (judged, partial) in enumerate(zip(self._judged, self._partial, strict=True)):
            judged_PK[picture, slice(None) if judged is None else list(judged)] = True
            partial_PK[picture, list(partial)] = True
        counted = self._facts.counted_names
        counted_K = np.array([counted is None or name in counted for name in self._category], np.bool_)
        rows = [row for row in self._truth if counted_K[row[1]]]
        picture_N, category_N, boxes, area_N, crowd_N = zip(*rows, strict=True) if rows else ((),) * 5
        truth = Truth(
            categories=tuple(self._category),
            pictures=num_pictures,
            picture_N=np.array(picture_N, np.int64),
            category_N=np.array(category_N, np.int64),
            boxes_xyxy=np.array(boxes, np.float32).reshape(-1, 4),
            area_N=np.array(area_N, np.float64),
            crowd_N=np.array(crowd_N, np.bool_),
            judged_PK=judged_PK,
            partial_PK=partial_PK,
        )
        found = _found_table(self._found)
        return truth, found.take(counted_K[found.category_N])

    def _number(self, label: str) -> int:
        return self._category.setdefault(label, len(self._category))


def _found_table(parts: Sequence[Columns]) -> FoundTable:
    if not parts:
        none = np.zeros(0, np.int64)
        return FoundTable(none, none, np.zeros((0, 4), np.float32), np.zeros(0, np.float32))
    picture, category, boxes, score = zip(*parts, strict=True)
    return FoundTable(np.concatenate(picture), np.concatenate(category), np.concatenate(boxes), np.concatenate(score))
