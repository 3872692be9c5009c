"""Which boxes of each label are right, and in which pictures there is something to find.

Shapes: P picture, K label, N box, M object.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from groundling.data.record import Dataset, Record
from groundling.errors import DatasetError
from groundling.evaluate.recall import HIT_IOU, overlaps
from groundling.keywords import closest
from groundling.structures.detections import Detections
from groundling.structures.vocabulary import Vocabulary

SHOWN_NAMES = 10
"""Names that a message lists where none is near."""


class Marks(NamedTuple):
    """What was found of one label in all pictures, and what there was to find.

    Boxes that are neither right nor wrong are left out.

    Attributes:
        score_N: of the boxes, best first, float32.
        right_N: whether the box is that of an object; each object has one right box at most, the best that overlaps it.
        picture_N: in which picture the box is.
        objects_P: how many objects of the label there are to find in each picture.
        with_P: whether something of the label is in the picture.
        without_P: whether it is known that nothing of the label is in the picture.
    """

    score_N: NDArray[np.float32]
    right_N: NDArray[np.bool_]
    picture_N: NDArray[np.int64]
    objects_P: NDArray[np.int32]
    with_P: NDArray[np.bool_]
    without_P: NDArray[np.bool_]

    def only(self, chosen_P: NDArray[np.bool_]) -> "Marks":
        """Return what belongs to some of the pictures; the others count for nothing."""
        rows = chosen_P[self.picture_N]
        return Marks(
            self.score_N[rows],
            self.right_N[rows],
            self.picture_N[rows],
            np.where(chosen_P, self.objects_P, 0),
            self.with_P & chosen_P,
            self.without_P & chosen_P,
        )


class Marker:
    """Judges what was found, picture by picture.

    A label means every object that has its name or one of its synonyms.

    Args:
        vocabulary: what is looked for.
        dataset: what is looked at.

    Raises:
        DatasetError: the data set knows no word of a label; the message names one that is near.
    """

    def __init__(self, vocabulary: Vocabulary, dataset: Dataset) -> None:
        words = {label: (label, *vocabulary.synonyms.get(label, ())) for label in vocabulary.labels}
        known = _known_words(words, dataset)
        self._labels_of: dict[str, list[int]] = defaultdict(list)
        for number, own in enumerate(words.values()):
            for word in dict.fromkeys(own):
                self._labels_of[word].append(number)
        self._words_K = np.array([len(known.intersection(own)) for own in words.values()], np.int64)
        shape = len(words), len(dataset)
        self._objects_KP = np.zeros(shape, np.int32)
        self._with_KP, self._without_KP = np.zeros(shape, np.bool_), np.zeros(shape, np.bool_)
        self._boxes: list[list[tuple[NDArray[np.float32], NDArray[np.bool_], int]]] = [[] for _ in words]

    def add(self, picture: int, record: Record, found: Detections) -> None:
        """Take in one picture.

        Args:
            picture: its number in the data set.
            record: what is in it.
            found: what was found in it, best first; its labels are those of the vocabulary.
        """
        positive = self._objects_of(record)
        for label, means_M in positive.items():
            self._objects_KP[label, picture] = (means_M & ~record.crowd_N).sum()
            self._with_KP[label, picture] = True
        counts_K = self._counts(record)  # whether a box beside all objects is known to be wrong
        without_K = counts_K & ~self._with_KP[:, picture]
        self._without_KP[:, picture] = without_K
        for label in np.unique(found.label_ids).tolist():
            own = found.label_ids == label
            boxes, scores = found.boxes_xyxy[own], found.scores[own]
            means_M = positive.get(label, np.zeros(len(record.boxes_xyxy), np.bool_))
            right_N = right_boxes(boxes, record.boxes_xyxy[means_M & ~record.crowd_N])
            in_group_N = _in_groups(boxes, record.boxes_xyxy[means_M & record.crowd_N])
            judged_N = right_N | (~in_group_N if counts_K[label] else np.False_)
            self._boxes[label].append((scores[judged_N], right_N[judged_N], picture))

    def build(self) -> list[Marks]:
        """Return what was found of each label, in the order of the vocabulary."""
        return [self._marks(label) for label in range(len(self._boxes))]

    def _marks(self, label: int) -> Marks:
        parts = self._boxes[label]
        score_N = np.concatenate([np.zeros(0, np.float32), *(scores for scores, _, _ in parts)])
        right_N = np.concatenate([np.zeros(0, np.bool_), *(right for _, right, _ in parts)])
        counts = np.array([len(scores) for scores, _, _ in parts], np.int64)
        picture_N = np.repeat(np.array([picture for *_, picture in parts], np.int64), counts)
        order = np.argsort(-score_N, kind="stable")
        return Marks(
            score_N[order],
            right_N[order],
            picture_N[order],
            self._objects_KP[label],
            self._with_KP[label],
            self._without_KP[label],
        )

    def _objects_of(self, record: Record) -> dict[int, NDArray[np.bool_]]:
        """Return for each label that is in the picture which objects it means."""
        positive: dict[int, NDArray[np.bool_]] = {}
        for column, word in enumerate(record.labels):
            for label in self._labels_of.get(word, ()):
                means_M = record.positive_NL[:, column]
                positive[label] = positive[label] | means_M if label in positive else means_M
        return positive

    def _counts(self, record: Record) -> NDArray[np.bool_]:
        """Return for each label [K] whether everything of it in the picture is labelled, be it nothing at all."""
        if record.absent is None:
            counts_K = np.ones(len(self._words_K), np.bool_)
        else:
            judged_K = np.zeros(len(self._words_K), np.int64)
            for word in {*record.labels, *record.absent}:
                judged_K[self._labels_of.get(word, [])] += 1
            counts_K = judged_K >= self._words_K
        for word in record.partial:
            counts_K[self._labels_of.get(word, [])] = False
        return counts_K


def right_boxes(boxes_xyxy: NDArray[np.float32], objects_xyxy: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Say which boxes are right: each takes the free object that it overlaps most, if by an IoU of at least 0.5.

    Whether a box is right depends on better boxes only, never on worse ones. A threshold takes the worse ones away, so
    the answer is the same for every threshold.

    Args:
        boxes_xyxy: corners [N, 4], best first.
        objects_xyxy: corners [M, 4].
    """
    right_N = np.zeros(len(boxes_xyxy), np.bool_)
    if not len(boxes_xyxy) or not len(objects_xyxy):
        return right_N
    iou_NM = overlaps(boxes_xyxy, objects_xyxy)
    for row in np.flatnonzero(iou_NM.max(axis=1) >= HIT_IOU):
        place = iou_NM[row].argmax()
        if iou_NM[row, place] >= HIT_IOU:
            right_N[row] = True
            iou_NM[:, place] = 0  # taken
    return right_N


def _in_groups(boxes_xyxy: NDArray[np.float32], groups_xyxy: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Say of which boxes most lies in the box of a group that nobody counted."""
    low = np.maximum(boxes_xyxy[:, None, :2], groups_xyxy[None, :, :2])
    high = np.minimum(boxes_xyxy[:, None, 2:], groups_xyxy[None, :, 2:])
    shared_NG = np.clip(high - low, 0, None).prod(axis=2)
    area_N = (boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]).prod(axis=1)
    inside: NDArray[np.bool_] = ((shared_NG >= HIT_IOU * area_N[:, None]) & (area_N[:, None] > 0)).any(axis=1)
    return inside


def _known_words(words: Mapping[str, Sequence[str]], dataset: Dataset) -> set[str]:
    """Return the words that the data set uses, if there is one for each label."""
    known = set(dataset.names)
    if any(known.isdisjoint(own) for own in words.values()):  # only then every record has to be read
        for index in range(len(dataset)):
            record = dataset[index]
            known.update(record.labels, record.absent or ())
    for label, own in words.items():
        if known.isdisjoint(own):
            raise DatasetError(_unknown(label, own, known))
    return known


def _unknown(label: str, own: Sequence[str], known: Collection[str]) -> str:
    names = sorted(known)
    near = list(dict.fromkeys(name for word in own if (name := closest(word, names)) is not None))
    hint = f"Did you mean {' or '.join(map(repr, near))}? " if near else ""
    listed = ", ".join(map(repr, names[:SHOWN_NAMES])) + (", ..." if len(names) > SHOWN_NAMES else "")
    return (
        f"The data set has no name {label!r}, so nothing can be measured. {hint}"
        f"It has {listed or 'no names at all'}. A name of the data set can be a synonym of a label in a vocabulary."
    )
