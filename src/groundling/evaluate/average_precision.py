"""Average precision by the COCO and LVIS rules, computed by faster-coco-eval.

Shapes: T IoU threshold, R recall level, K category, A range of area, M limit of detections, N box.
"""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from groundling.data.readers.lvis import FREQUENCIES
from groundling.errors import missing_extra
from groundling.evaluate.tables import FoundTable, Truth

IOU_THRESHOLDS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))
RECALL_LEVELS = tuple(step / 100 for step in range(101))
AREAS = ("all", "small", "medium", "large")
"""Ranges of an object's area: all, under 32², 32² to 96², over 96² pixels."""

COCO_LIMITS = (1, 10, 100)
LVIS_LIMITS = (300,)

Overlap = Literal["bbox", "segm"]
"""What the IoU of is taken: boxes or masks; the library's words."""

CATEGORIES_AT_A_TIME = 100
"""Categories do not depend on each other; the library keeps every pair of picture and category in memory."""


class PrecisionRecall(NamedTuple):
    """Precision and recall of each category; -1 where there is nothing to find.

    Attributes:
        precision_TRKA: with the largest limit of detections.
        recall_TKAM: with each limit.
        limits: most detections of a category in a picture, M of them, ascending.
    """

    precision_TRKA: NDArray[np.float64]
    recall_TKAM: NDArray[np.float64]
    limits: tuple[int, ...]


def precision_recall(
    truth: Truth, found: FoundTable, limits: Sequence[int], overlap: Overlap = "bbox"
) -> PrecisionRecall:
    """Match what was found with what is there.

    What is found of a category that nobody looked for in a picture is left out; what is found beside the objects of a
    category that is annotated in part is neither right nor wrong.

    Args:
        truth: what is there.
        found: what was found.
        limits: most detections of a category in a picture that are judged, ascending; precision takes the last.
        overlap: by what they are matched; masks must be in both tables then.

    Raises:
        MissingExtraError: faster-coco-eval is not installed.
    """
    found = found.take(truth.judged_PK[found.picture_N, found.category_N])
    shape = (len(IOU_THRESHOLDS), len(RECALL_LEVELS), len(truth.categories), len(AREAS))
    precision_TRKA = np.full(shape, -1.0)
    recall_TKAM = np.full((shape[0], shape[2], shape[3], len(limits)), -1.0)
    used = np.unique(truth.category_N)
    for start in range(0, len(used), CATEGORIES_AT_A_TIME):
        categories = used[start : start + CATEGORIES_AT_A_TIME]
        result = _run(truth, found, categories, limits, overlap)
        precision_TRKA[:, :, categories] = result["precision"][..., -1]
        recall_TKAM[:, categories] = result["recall"]
    return PrecisionRecall(precision_TRKA, recall_TKAM, tuple(limits))


def best_of_each_category(found: FoundTable, most: int) -> FoundTable:
    """Keep the best boxes of each category in the whole data set, as fixed AP wants; equal scores in order."""
    order = np.lexsort((np.arange(len(found)), -found.score_N.astype(np.float64), found.category_N))
    category = found.category_N[order]
    first = np.searchsorted(category, category, side="left")
    return found.take(np.sort(order[np.arange(len(order)) - first < most]))


def mean_precision(result: PrecisionRecall, *, iou: float | None = None, area: str = "all") -> NDArray[np.float64]:
    """Return each category's average precision [K]; NaN where there is nothing to find.

    Args:
        result: from `precision_recall`.
        iou: one of IOU_THRESHOLDS; None is the mean over all of them.
        area: one of AREAS.
    """
    return _mean_known(_at(result.precision_TRKA[..., AREAS.index(area)], iou), axis=(0, 1))


def mean_recall(result: PrecisionRecall, *, limit: int, area: str = "all") -> NDArray[np.float64]:
    """Return each category's highest recall [K], the mean over IoU thresholds; NaN where there is nothing to find.

    Args:
        result: from `precision_recall`.
        limit: one of the limits of detections.
        area: one of AREAS.
    """
    return _mean_known(result.recall_TKAM[:, :, AREAS.index(area), result.limits.index(limit)], axis=(0,))


def mean_of(value_K: NDArray[np.float64]) -> float:
    """Return the mean over categories that have something to find; NaN where none has."""
    known = value_K[~np.isnan(value_K)]
    return float(known.mean()) if len(known) else float("nan")


def coco_numbers(result: PrecisionRecall) -> dict[str, float]:
    """Return the twelve numbers of COCO, 0..1, by their usual names; NaN where there is nothing to find."""
    numbers = _precisions(result)
    numbers |= {f"AR{limit}": mean_of(mean_recall(result, limit=limit)) for limit in result.limits}
    return numbers | _recalls_by_area(result)


def lvis_numbers(result: PrecisionRecall, frequency_K: Sequence[str]) -> dict[str, float]:
    """Return the numbers of LVIS, 0..1; APr, APc and APf are those of rare, common and frequent categories.

    Args:
        result: from `precision_recall`.
        frequency_K: for each category a value of the LVIS reader's FREQUENCIES; anything else belongs to none of them.
    """
    numbers = _precisions(result)
    ap_K, frequency = mean_precision(result), np.array(frequency_K)
    numbers |= {f"AP{group[0]}": mean_of(ap_K[frequency == group]) for group in FREQUENCIES.values()}
    return numbers | {"AR": mean_of(mean_recall(result, limit=result.limits[-1]))} | _recalls_by_area(result)


def _precisions(result: PrecisionRecall) -> dict[str, float]:
    numbers = {"AP": mean_of(mean_precision(result))}
    numbers |= {f"AP{round(100 * iou)}": mean_of(mean_precision(result, iou=iou)) for iou in (0.5, 0.75)}
    return numbers | {f"AP{area[0]}": mean_of(mean_precision(result, area=area)) for area in AREAS[1:]}


def _recalls_by_area(result: PrecisionRecall) -> dict[str, float]:
    last = result.limits[-1]
    return {f"AR{area[0]}": mean_of(mean_recall(result, limit=last, area=area)) for area in AREAS[1:]}


def _at(precision_TRK: NDArray[np.float64], iou: float | None) -> NDArray[np.float64]:
    if iou is None:
        return precision_TRK
    place = IOU_THRESHOLDS.index(iou)
    return precision_TRK[place : place + 1]


def _mean_known(values: NDArray[np.float64], axis: tuple[int, ...]) -> NDArray[np.float64]:
    """Average over some axes; -1 in one place of a category is -1 in all of them."""
    mean = values.mean(axis=axis)
    return np.where((values > -1).all(axis=axis), mean, np.nan)


def _run(
    truth: Truth, found: FoundTable, categories: NDArray[np.int64], limits: Sequence[int], overlap: Overlap
) -> dict[str, Any]:
    """Let the library evaluate some categories."""
    try:
        from faster_coco_eval import COCO, COCOeval_faster
    except ImportError as error:
        raise missing_extra("faster-coco-eval", "eval", "Average precision") from error
    rows = np.flatnonzero(np.isin(truth.category_N, categories))
    found = found.take(np.isin(found.category_N, categories))
    pictures = np.union1d(truth.picture_N[rows], found.picture_N)
    is_partial = bool(truth.partial_PK[np.ix_(pictures, categories)].any())
    images = [_image(int(picture), truth.partial_PK[picture], categories) for picture in pictures]
    common = {
        "images": images,
        "categories": [{"id": int(k) + 1, "name": truth.categories[k], "frequency": "f"} for k in categories],
    }
    objects = [
        _annotation(number + 1, truth.picture_N[row], truth.category_N[row], truth.boxes_xyxy[row])
        | {"area": float(truth.area_N[row]), "iscrowd": int(truth.crowd_N[row])}
        for number, row in enumerate(rows)
    ]
    boxes = [
        _annotation(row + 1, found.picture_N[row], found.category_N[row], found.boxes_xyxy[row])
        | {"score": float(found.score_N[row]), "iscrowd": 0}
        for row in range(len(found))
    ]
    if overlap == "segm":
        _add_masks(truth, rows, found, images, objects, boxes)
    evaluation = COCOeval_faster(
        COCO(common | {"annotations": objects}), COCO(common | {"annotations": boxes}), overlap, lvis_style=is_partial
    )
    evaluation.params.maxDets = list(limits)
    evaluation.evaluate()
    evaluation.accumulate()
    result: dict[str, Any] = evaluation.eval
    return result


def _add_masks(
    truth: Truth,
    rows: NDArray[np.int64],
    found: FoundTable,
    images: Sequence[dict[str, Any]],
    objects: Sequence[dict[str, Any]],
    boxes: Sequence[dict[str, Any]],
) -> None:
    """Give the library's entries their masks, and the areas of these in place of those of boxes."""
    from faster_coco_eval.core import mask

    assert truth.masks is not None
    assert found.mask_N is not None
    sizes = truth.masks.image_wh_P2
    for image in images:
        image["width"], image["height"] = sizes[image["id"] - 1].tolist()
    for row, entry in zip(rows, objects, strict=True):
        entry["segmentation"] = coco_mask(truth.masks.mask_N[row], sizes[truth.picture_N[row]])
        entry["area"] = float(truth.masks.area_N[row])
    for row, entry in enumerate(boxes):
        entry["segmentation"] = coco_mask(found.mask_N[row], sizes[found.picture_N[row]])
        entry["area"] = float(mask.area(entry["segmentation"]))


def coco_mask(counts: str, image_wh: NDArray[np.int64]) -> dict[str, Any]:
    """Return a mask as COCO's tools take it."""
    width, height = image_wh.tolist()
    return {"size": [height, width], "counts": counts}


def _image(picture: int, partial_K: NDArray[np.bool_], categories: NDArray[np.int64]) -> dict[str, Any]:
    # Findings of categories that nobody looked for are gone already, so all that are left may be counted.
    return {
        "id": picture + 1,
        "neg_category_ids": [int(k) + 1 for k in categories],
        "not_exhaustive_category_ids": [int(k) + 1 for k in categories if partial_K[k]],
    }


def _annotation(number: int, picture: int, category: int, box_xyxy: NDArray[np.float32]) -> dict[str, Any]:
    left, top, right, bottom = (float(edge) for edge in box_xyxy)
    width, height = right - left, bottom - top
    return {
        "id": number,
        "image_id": int(picture) + 1,
        "category_id": int(category) + 1,
        "bbox": [left, top, width, height],
        "area": width * height,
    }
