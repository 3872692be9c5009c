"""Data sets made by hand, and what a model may have found in them."""

from pathlib import Path

import cv2
import numpy as np
import PIL.Image

from groundling import Detector
from groundling.data.record import Record
from groundling.evaluate.found import Found
from groundling.structures.masks import Masks

SIZE = 400, 300


class HandMade:
    """Records in a list."""

    def __init__(self, records, names=("cat", "dog")):
        self.records, self.names = list(records), tuple(names)

    def __len__(self):
        return len(self.records)

    def __getitem__(self, index):
        return self.records[index]


class WithIds(HandMade):
    """As a COCO file: ids with gaps, areas of masks."""

    category_ids = (7, 90)

    def image_id(self, index):
        return 1000 - 10 * index

    def areas(self, index):
        return np.full(len(self[index].boxes_xyxy), 50.0)


class Federated(HandMade):
    """As an LVIS file."""

    def __init__(self, records, names, frequencies):
        super().__init__(records, names)
        self.frequencies = frequencies


class Counted(HandMade):
    """Only one of the names makes the figures."""

    counted_names = ("cat",)


def record(objects, *, key="p", picture=None, image_wh=SIZE, absent=None, crowd=(), labels=None, partial=()):
    """A record from (label, box) pairs; a label may be a tuple of several."""
    sets = [(label,) if isinstance(label, str) else tuple(label) for label, _ in objects]
    labels = tuple(dict.fromkeys(label for one in sets for label in one)) if labels is None else labels
    positive = np.array([[label in one for label in labels] for one in sets], np.bool_).reshape(len(sets), len(labels))
    return Record(
        key=key,
        picture=Path(f"{key}.png") if picture is None else picture,
        image_wh=image_wh,
        labels=labels,
        boxes_xyxy=np.array([box for _, box in objects], np.float32).reshape(-1, 4),
        positive_NL=positive,
        absent=absent,
        crowd_N=np.array([number in crowd for number in range(len(sets))], np.bool_),
        partial=partial,
    )


def found(index, boxes):
    """What was found, from (label index, score, box) triples in any order."""
    boxes = sorted(boxes, key=lambda one: -one[1])
    return Found(
        index=index,
        boxes_xyxy=np.array([box for *_, box in boxes], np.float32).reshape(-1, 4),
        scores=np.array([score for _, score, _ in boxes], np.float32),
        label_ids=np.array([label for label, *_ in boxes], np.int64),
    )


def pictures(count=5, seed=0):
    """A small data set with pictures of three sizes and random objects."""
    rng = np.random.default_rng(seed)
    records = []
    for number in range(count):
        width, height = [(64, 64), (64, 48), (40, 64)][number % 3]
        corners = np.sort(rng.integers(0, min(width, height), (2, 2, 2)), axis=1)
        objects = [("cat" if rng.random() < 0.5 else "dog", (*low, *(high + 2))) for low, high in corners]
        image = PIL.Image.fromarray(rng.integers(0, 255, (height, width, 3), dtype=np.uint8))
        records.append(
            record(objects, key=f"picture {number}", picture=image, image_wh=(width, height), absent=("bird",))
        )
    return HandMade(records, names=("cat", "dog", "bird"))


def load(checkpoint, number):
    """Load a detector, as a process does."""
    return Detector.from_pretrained(checkpoint, device="cpu")


def blobs(boxes_xyxy, image_wh=SIZE):
    """Ellipses that fill boxes, cut off at the picture's edges."""
    masks = []
    for left, top, right, bottom in np.asarray(boxes_xyxy, np.float64).reshape(-1, 4).tolist():
        canvas = np.zeros(image_wh[::-1], np.uint8)
        center = round((left + right) / 2), round((top + bottom) / 2)
        cv2.ellipse(canvas, center, (int((right - left) / 2), int((bottom - top) / 2)), 0, 0, 360, 1, -1)
        masks.append(canvas > 0)
    return Masks.from_array(masks, image_wh)
