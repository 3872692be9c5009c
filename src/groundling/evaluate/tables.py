"""Truth and findings of a whole data set in columns.

Shapes: P picture, K category, N box.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from groundling.data.record import Dataset, Record
from groundling.errors import DatasetError
from groundling.evaluate.facts import Facts
from groundling.evaluate.found import Found
from groundling.evaluate.protocol import EvaluationProtocol
from groundling.evaluate.questions import asked_labels

Counts = NDArray[np.object_]
"""Run lengths of masks [N], text, as COCO compresses them."""


@dataclass(frozen=True, slots=True, eq=False)
class TrueMasks:
    """Which pixels are each object's.

    Attributes:
        image_wh_P2: width and height of each picture.
        mask_N: mask of each object.
        area_N: its area in pixels, from the annotations where they have one, else of the mask.
        segmented_N: what the segmenter makes of the object's true box.
    """

    image_wh_P2: NDArray[np.int64]
    mask_N: Counts
    area_N: NDArray[np.float64]
    segmented_N: Counts


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
        masks: those of the objects; None where no segmenter was asked.
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
    masks: TrueMasks | None = None


@dataclass(frozen=True, slots=True, eq=False)
class FoundTable:
    """What was found in the pictures, picture by picture, best first.

    Attributes:
        picture_N: picture of each box, 0 to P-1.
        category_N: its category, 0 to K-1.
        boxes_xyxy: its corners [N, 4].
        score_N: its score.
        mask_N: its mask; None where no segmenter was asked.
    """

    picture_N: NDArray[np.int64]
    category_N: NDArray[np.int64]
    boxes_xyxy: NDArray[np.float32]
    score_N: NDArray[np.float32]
    mask_N: Counts | None = None

    def __len__(self) -> int:
        return len(self.score_N)

    def take(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> "FoundTable":
        """Return some of the boxes."""
        masks = None if self.mask_N is None else self.mask_N[rows]
        return FoundTable(self.picture_N[rows], self.category_N[rows], self.boxes_xyxy[rows], self.score_N[rows], masks)


class _Object(NamedTuple):
    """A row of the truth; without a segmenter its masks are empty texts."""

    picture: int
    category: int
    box_xyxy: NDArray[np.float32]
    area: float
    crowd: bool
    mask: str = ""
    mask_area: float = 0.0
    segmented: str = ""


class TableBuilder:
    """Collects pictures one after the other.

    Args:
        dataset: where the records are from.
        protocol: says what was asked.
    """

    def __init__(self, dataset: Dataset, protocol: EvaluationProtocol) -> None:
        self._names, self._protocol, self._facts = dataset.names, protocol, Facts(dataset)
        self._category = {name: number for number, name in enumerate(dataset.names)}
        self._truth: list[_Object] = []
        self._found: list[FoundTable] = []
        self._masked: list[tuple[int, int]] = []  # sizes of the pictures with masks
        self._judged: list[tuple[int, ...] | None] = []
        self._partial: list[tuple[int, ...]] = []

    def add(self, record: Record, found: Found) -> None:
        """Take in one picture and what was found in it.

        Raises:
            DatasetError: there are masks of what was found, but none of what is there.
        """
        picture = len(self._judged)
        own = [self._number(label) for label in record.labels]
        area_N = self._facts.areas(found.index, record)
        masks = self._masks(record, found, area_N)
        for row, column in np.argwhere(record.positive_NL).tolist():
            about = record.boxes_xyxy[row], float(area_N[row]), bool(record.crowd_N[row])
            self._truth.append(_Object(picture, own[column], *about, *(masks[row] if masks else ())))
        absent = None if record.absent is None else [self._number(name) for name in record.absent]
        self._judged.append(None if absent is None else tuple({*own, *absent}))
        self._partial.append(tuple(self._number(name) for name in record.partial))
        asked = asked_labels(record, self._names, self._protocol)
        category_L = np.array([self._number(label) for label in asked], np.int64)
        if len(found):
            pictures = np.full(len(found), picture, np.int64)
            counts = None if found.masks is None else np.array(found.masks.counts, np.object_)
            self._found.append(
                FoundTable(pictures, category_L[found.label_ids], found.boxes_xyxy, found.scores, counts)
            )

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
        rows = [row for row in self._truth if counted_K[row.category]]
        is_masked = num_pictures > 0 and len(self._masked) == num_pictures
        truth = Truth(
            categories=tuple(self._category),
            pictures=num_pictures,
            picture_N=np.array([row.picture for row in rows], np.int64),
            category_N=np.array([row.category for row in rows], np.int64),
            boxes_xyxy=np.array([row.box_xyxy for row in rows], np.float32).reshape(-1, 4),
            area_N=np.array([row.area for row in rows], np.float64),
            crowd_N=np.array([row.crowd for row in rows], np.bool_),
            judged_PK=judged_PK,
            partial_PK=partial_PK,
            masks=_true_masks(rows, self._masked) if is_masked else None,
        )
        found = _found_table(self._found)
        return truth, found.take(counted_K[found.category_N])

    def _masks(self, record: Record, found: Found, area_N: NDArray[np.float64]) -> list[tuple[str, float, str]] | None:
        """Return each object's mask, its area, and the mask from its box; None where no segmenter was asked."""
        if found.masks is None or found.true_box_masks is None:
            return None
        if record.masks is None:
            raise DatasetError(f"{record.key} has no masks to compare with. Open the data set with masks.")
        self._masked.append(record.image_wh)
        areas = area_N if self._facts.areas_are_given else record.masks.areas
        return list(zip(record.masks.counts, areas.tolist(), found.true_box_masks.counts, strict=True))

    def _number(self, label: str) -> int:
        return self._category.setdefault(label, len(self._category))


def _true_masks(rows: Sequence[_Object], sizes: Sequence[tuple[int, int]]) -> TrueMasks:
    return TrueMasks(
        image_wh_P2=np.array(sizes, np.int64),
        mask_N=np.array([row.mask for row in rows], np.object_),
        area_N=np.array([row.mask_area for row in rows], np.float64),
        segmented_N=np.array([row.segmented for row in rows], np.object_),
    )


def _found_table(parts: Sequence[FoundTable]) -> FoundTable:
    if not parts:
        none = np.zeros(0, np.int64)
        return FoundTable(none, none, np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.object_))
    masks = [part.mask_N for part in parts if part.mask_N is not None]
    return FoundTable(
        picture_N=np.concatenate([part.picture_N for part in parts]),
        category_N=np.concatenate([part.category_N for part in parts]),
        boxes_xyxy=np.concatenate([part.boxes_xyxy for part in parts]),
        score_N=np.concatenate([part.score_N for part in parts]),
        mask_N=np.concatenate(masks) if len(masks) == len(parts) else None,
    )
