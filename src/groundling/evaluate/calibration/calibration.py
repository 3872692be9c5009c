"""From a detector and labelled pictures to a vocabulary with thresholds."""

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from PIL.Image import Image

from groundling.data.record import Dataset, Record
from groundling.errors import DatasetError
from groundling.evaluate.calibration.choice import (
    FLOOR,
    Choice,
    Counts,
    Curve,
    Status,
    Targets,
    choose,
    count_above,
    cross_validate,
    draw_curve,
)
from groundling.evaluate.calibration.marks import Marker, Marks
from groundling.evaluate.figures import check_not_empty
from groundling.pipeline.detector import Detector
from groundling.postprocess.select import NMS_IOU, SelectionRules
from groundling.structures.detections import Detections
from groundling.structures.vocabulary import Vocabulary

GENERAL_THRESHOLD = SelectionRules().threshold
"""What a label without a threshold of its own is measured at."""


@dataclass(frozen=True, slots=True, eq=False)
class LabelCalibration:
    """The threshold of one label and what it is worth.

    Attributes:
        label: its name.
        threshold: what its boxes must score more than.
        is_chosen: whether the pictures chose the threshold; else the label keeps the one it had.
        status: what became of the targets.
        counts: what the threshold gives on the pictures that chose it.
        held_out: the same with thresholds that other pictures chose, by cross-validation; None where too few pictures
            have an object of the label.
        curve: counts at every other threshold.
    """

    label: str
    threshold: float
    is_chosen: bool
    status: Status
    counts: Counts
    held_out: Counts | None
    curve: Curve

    def to_dict(self) -> dict[str, Any]:
        """Convert to plain values; null stands for what cannot be measured. The curve is left out."""
        return {
            "label": self.label,
            "threshold": self.threshold,
            "is_chosen": self.is_chosen,
            "status": self.status,
            "counts": _counts_dict(self.counts),
            "held_out": None if self.held_out is None else _counts_dict(self.held_out),
        }


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """Thresholds for a vocabulary, and what they are worth.

    Attributes:
        vocabulary: the labels with their thresholds; the labels that are not in `thresholds` keep the general one.
        labels: the figures of each label, in the vocabulary's order.
        targets: what was to be reached.
        pictures: how many pictures were looked at.
    """

    vocabulary: Vocabulary
    labels: tuple[LabelCalibration, ...]
    targets: Targets
    pictures: int

    def to_dict(self) -> dict[str, Any]:
        """Convert to plain values."""
        return {
            "targets": asdict(self.targets),
            "pictures": self.pictures,
            "labels": [one.to_dict() for one in self.labels],
        }


def calibrate(
    detector: Detector,
    dataset: Dataset,
    labels: Sequence[str] | Vocabulary,
    *,
    precision: float = 0.9,
    max_fp_rate: float | None = None,
    nms_iou: float | None = NMS_IOU,
    batch_size: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Calibration:
    """Choose for each label the lowest threshold that meets the targets on labelled pictures.

    Every picture is looked at once, with all labels, synonyms and negatives of the vocabulary, as `Detector` looks at
    it: a box has one label, the best, and it is kept if it scores more than that label's threshold.

    Args:
        detector: the model and its processor.
        dataset: pictures and what is in them.
        labels: the labels that will be asked together, or a vocabulary; its thresholds are replaced.
        precision: share of a label's boxes that must be right, over 0 to 1.
        max_fp_rate: of the pictures without the label, the highest share that may have a box of it, 0 to 1; None is no
            limit.
        nms_iou: see `Detector`; the value that will be used.
        batch_size: most pictures computed at a time; it does not change the figures.
        progress: called after each picture with the number done and the number of all.

    Raises:
        ConfigError: a number is out of range.
        PromptError: the labels cannot be used.
        DatasetError: the data set is empty, knows no word of a label, or does not fit its pictures.
        ImageError: a picture cannot be read.
    """
    targets = Targets(precision, max_fp_rate)
    vocabulary = labels if isinstance(labels, Vocabulary) else Vocabulary(tuple(labels))
    check_not_empty(dataset)
    marker = Marker(vocabulary, dataset)
    rules = {"threshold": FLOOR, "nms_iou": nms_iou, "batch_size": batch_size}
    for picture, (record, found) in enumerate(_find(detector, dataset, replace(vocabulary, thresholds={}), rules)):
        marker.add(picture, record, found)
        if progress is not None:
            progress(picture + 1, len(dataset))
    results = tuple(
        _calibrate_label(label, marks, targets, vocabulary.thresholds.get(label, GENERAL_THRESHOLD))
        for label, marks in zip(vocabulary.labels, marker.build(), strict=True)
    )
    thresholds = dict(vocabulary.thresholds) | {one.label: one.threshold for one in results if one.is_chosen}
    return Calibration(replace(vocabulary, thresholds=thresholds), results, targets, len(dataset))


def _calibrate_label(label: str, marks: Marks, targets: Targets, general: float) -> LabelCalibration:
    choice: Choice = choose(marks, targets, general)
    threshold = general if choice.threshold is None else choice.threshold
    return LabelCalibration(
        label=label,
        threshold=threshold,
        is_chosen=choice.threshold is not None,
        status=choice.status,
        counts=count_above(marks, threshold),
        held_out=cross_validate(marks, targets, general),
        curve=draw_curve(marks),
    )


def _find(
    detector: Detector, dataset: Dataset, vocabulary: Vocabulary, rules: dict[str, Any]
) -> Iterator[tuple[Record, Detections]]:
    """Yield every record with what was found; pictures are opened as their batch comes."""
    waiting: deque[Record] = deque()

    def pictures() -> Iterator[Image]:
        for index in range(len(dataset)):
            waiting.append(dataset[index])
            yield waiting[-1].open()

    for found in detector.detect_many(pictures(), vocabulary, **rules):
        record = waiting.popleft()
        if found.image_wh != tuple(record.image_wh):
            raise DatasetError(
                f"{record.key}: the annotations say {record.image_wh[0]} x {record.image_wh[1]} pixels, but the "
                f"picture has {found.image_wh[0]} x {found.image_wh[1]}. Correct the annotations or the picture."
            )
        yield record, found


def _counts_dict(counts: Counts) -> dict[str, Any]:
    rates = {"precision": counts.precision, "recall": counts.recall, "fp_rate": counts.fp_rate}
    intervals = {"precision_interval": counts.precision_interval, "fp_rate_interval": counts.fp_rate_interval}
    return (
        asdict(counts)
        | {name: None if math.isnan(value) else value for name, value in rates.items()}
        | {name: None if math.isnan(value[0]) else list(value) for name, value in intervals.items()}
    )
