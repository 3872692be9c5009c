"""From records and what was found in them to figures."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

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
from groundling.evaluate.predict import Predictor
from groundling.evaluate.protocol import FIXED_AP_LIMIT, EvaluationProtocol
from groundling.evaluate.recall import RecallCounter
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
    """

    name: str
    objects: int
    ap: float
    ap50: float
    ap75: float
    frequency: str = ""


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
) -> dict[str, float]:
    """Evaluate a model on a data set and return the figures alone, as a validation during training wants them.

    Args:
        detector: the model and its processor.
        dataset: the records.
        protocol: what is asked, kept and measured.
        batch_size: most pictures computed at a time; it does not change the figures.
        pictures: the first so many are used; None is all.

    Returns:
        Numbers by name, such as "AP" or "accuracy@0.5", 0..1; NaN where there is nothing to find.

    Raises:
        DatasetError: the data set is empty or does not fit its pictures.
        MissingExtraError: a package that the figures need is not installed.
    """
    check_not_empty(dataset)
    predictor = Predictor(detector, dataset.names, protocol)
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
    numbers = coco_numbers(curves) if protocol.metric == "coco" else lvis_numbers(curves, frequency)
    counts = {"pictures": truth.pictures, "objects": int((~truth.crowd_N).sum()), "boxes": len(boxes)}
    return Measured(numbers, counts, _by_category(truth, curves, frequency), curves, truth.categories)


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


def _by_category(truth: Truth, curves: PrecisionRecall, frequency: tuple[str, ...]) -> tuple[CategoryResult, ...]:
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
                )
            )
    return tuple(rows)
