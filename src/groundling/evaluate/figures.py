"""From records and what was found in them to figures."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

import numpy as np

from groundling.data.record import Dataset, Record
from groundling.errors import DatasetError
from groundling.evaluate.average_precision import (
    COCO_LIMITS,
    LVIS_LIMITS,
    PrecisionRecall,
    best_of_each_category,
    coco_numbers,
    lvis_numbers,
    mean_precision,
    precision_recall,
)
from groundling.evaluate.facts import Facts
from groundling.evaluate.found import Found
from groundling.evaluate.mask_figures import mask_numbers
from groundling.evaluate.predict import Predictor
from groundling.evaluate.protocol import FIXED_AP_LIMIT, EvaluationProtocol
from groundling.evaluate.recall import RecallCounter
from groundling.evaluate.segmented import MaskMaker, check_masks
from groundling.evaluate.tables import TableBuilder, Truth
from groundling.pipeline.detector import Detector


@dataclass(frozen=True, slots=True)
class CategoryResult:
    """One category's figures, 0..1; NaN where there is nothing to find.

    Attributes:
        name: of the category.
        objects: how many there are, without groups.
        ap: average precision over all IoU thresholds.
        ap50: at IoU 0.5.
        ap75: at IoU 0.75.
        frequency: "rare", "common" or "frequent"; empty where it is not known.
        mask_ap: average precision of the masks; None where no segmenter was asked.
    """

    name: str
    objects: int
    ap: float
    ap50: float
    ap75: float
    frequency: str = ""
    mask_ap: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """Figures of one data set.

    Attributes:
        numbers: by name, 0..1; NaN where there is nothing to find.
        counts: pictures or records, objects, boxes or phrases that were counted.
        categories: the figures of each category that has objects; empty for phrases.
        curves: precision and recall; None for phrases.
        curve_names: the category of each curve.
    """

    numbers: dict[str, float]
    counts: dict[str, int]
    categories: tuple[CategoryResult, ...] = ()
    curves: PrecisionRecall | None = None
    curve_names: tuple[str, ...] = ()


def evaluate(
    detector: Detector,
    dataset: Dataset,
    protocol: EvaluationProtocol,
    *,
    batch_size: int = 1,
    pictures: int | None = None,
    masks: MaskMaker | None = None,
) -> dict[str, float]:
    """Evaluate a model on a data set and return the figures alone, as a validation during training wants them.

    Args:
        detector: the model and its processor.
        dataset: the records.
        protocol: what is asked, kept and measured.
        batch_size: most pictures computed at a time; it does not change the figures.
        pictures: the first so many are used; None is all.
        masks: gives boxes their masks, which are then judged too; the records must have masks.

    Returns:
        Numbers by name, such as "AP" or "accuracy@0.5", 0..1; NaN where there is nothing to find.

    Raises:
        DatasetError: the data set is empty, does not fit its pictures, or lacks masks.
        ConfigError: masks are to be judged, but the protocol judges phrases.
        MissingExtraError: a package that the figures need is not installed.
    """
    check_not_empty(dataset)
    if masks is not None:
        check_masks(dataset, protocol)
    predictor = Predictor(detector, dataset.names, protocol, masks)
    count = len(dataset) if pictures is None else min(pictures, len(dataset))
    found = sorted(predictor.predict(dataset, range(count), batch_size), key=lambda one: one.index)
    return measure(dataset, ((dataset[one.index], one) for one in found), protocol).numbers


def measure(dataset: Dataset, results: Iterable[tuple[Record, Found]], protocol: EvaluationProtocol) -> Measured:
    """Measure what was found.

    Args:
        dataset: where the records are from.
        results: pictures and what was found in them.
        protocol: what was asked, and how it is judged.

    Raises:
        MissingExtraError: a package that the figures need is not installed.
    """
    if protocol.metric == "recall":
        return _measure_phrases(results)
    builder = TableBuilder(dataset, protocol)
    for record, found in results:
        builder.add(record, found)
    truth, boxes = builder.build()
    limits = COCO_LIMITS if protocol.metric == "coco" else LVIS_LIMITS
    if protocol.metric == "lvis_fixed":
        boxes = best_of_each_category(boxes, FIXED_AP_LIMIT)
        limits = (FIXED_AP_LIMIT,)
    curves = precision_recall(truth, boxes, limits)
    frequency = Facts(dataset).frequencies(truth.categories)
    numbers_of = coco_numbers if protocol.metric == "coco" else partial(lvis_numbers, frequency_K=frequency)
    numbers, mask_curves = numbers_of(curves), None
    if truth.masks is not None:
        mask_curves = precision_recall(truth, boxes, limits, "segm")
        numbers |= mask_numbers(truth, truth.masks, mask_curves, limits, numbers_of)
    counts = {"pictures": truth.pictures, "objects": int((~truth.crowd_N).sum()), "boxes": len(boxes)}
    return Measured(numbers, counts, _by_category(truth, curves, mask_curves, frequency), curves, truth.categories)


def check_not_empty(dataset: Dataset) -> None:
    """Check that there is a picture to evaluate.

    Raises:
        DatasetError: there is none.
    """
    if len(dataset) == 0:
        raise DatasetError("The data set has no pictures, so there is nothing to evaluate. Check its path and split.")


def _measure_phrases(results: Iterable[tuple[Record, Found]]) -> Measured:
    counter, records = RecallCounter(), 0  # a picture may stand in several records, one for each sentence
    for record, found in results:
        counter.add(record, found)
        records += 1
    counts = {"records": records, "phrases": counter.phrases, "phrases_without_object": counter.without_object}
    return Measured(counter.numbers(), counts)


def _by_category(
    truth: Truth, curves: PrecisionRecall, mask_curves: PrecisionRecall | None, frequency: tuple[str, ...]
) -> tuple[CategoryResult, ...]:
    mask_ap_K = None if mask_curves is None else mean_precision(mask_curves)
    ap_K = mean_precision(curves)
    ap50_K, ap75_K = mean_precision(curves, iou=0.5), mean_precision(curves, iou=0.75)
    object_K = np.bincount(truth.category_N[~truth.crowd_N], minlength=len(truth.categories))
    rows = []
    for number, name in enumerate(truth.categories):
        if not math.isnan(ap_K[number]):
            rows.append(
                CategoryResult(
                    name=name,
                    objects=int(object_K[number]),
                    ap=float(ap_K[number]),
                    ap50=float(ap50_K[number]),
                    ap75=float(ap75_K[number]),
                    frequency=frequency[number],
                    mask_ap=None if mask_ap_K is None else float(mask_ap_K[number]),
                )
            )
    return tuple(rows)
