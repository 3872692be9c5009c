"""How good masks are, and whose fault it is where they are not: the detector's or the segmenter's.

Shapes: P picture, N object, or what was found.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from groundling.evaluate.average_precision import PrecisionRecall, coco_mask, precision_recall
from groundling.evaluate.tables import FoundTable, TrueMasks, Truth

PREFIX = "mask_"
TRUE_BOXES_AP, TRUE_BOXES_IOU = f"{PREFIX}AP_true_boxes", f"{PREFIX}IoU_true_boxes"
LOST_BY_SEGMENTER, LOST_BY_DETECTOR = "lost_by_segmenter", "lost_by_detector"
SHARES = (TRUE_BOXES_IOU, TRUE_BOXES_AP, LOST_BY_SEGMENTER, LOST_BY_DETECTOR)
"""The figures that say where masks are lost."""


def mask_numbers(
    truth: Truth,
    masks: TrueMasks,
    curves: PrecisionRecall,
    limits: Sequence[int],
    numbers_of: Callable[[PrecisionRecall], dict[str, float]],
) -> dict[str, float]:
    """Return the figures of masks, 0..1; NaN where there is nothing to find.

    Average precision gets the names of the boxes' with "mask_" before them. "mask_AP_true_boxes" is that of the masks
    that the segmenter makes of the true boxes, each with its label and a score of 1: what it would be with a detector
    without fault. What lacks to 1 there, the segmenter has lost alone; what lacks from there, the detector has.

    Args:
        truth: what is there.
        masks: the masks of `truth`.
        curves: of the masks of what was found, from `precision_recall`.
        limits: most detections of a category in a picture.
        numbers_of: names the figures.
    """
    numbers = {f"{PREFIX}{name}": value for name, value in numbers_of(curves).items() if name.startswith("AP")}
    best = numbers_of(precision_recall(truth, from_true_boxes(truth, masks), limits, "segm"))["AP"]
    shares = mean_iou(truth, masks), best, 1 - best, best - numbers[f"{PREFIX}AP"]
    return numbers | dict(zip(SHARES, shares, strict=True))


def split_numbers(numbers: Mapping[str, float]) -> tuple[dict[str, float], dict[str, float], dict[str, float]]:
    """Return the figures of boxes, or of phrases; those of masks; and those that say where masks are lost."""
    shares = {name: value for name, value in numbers.items() if name in SHARES}
    masks = {name: value for name, value in numbers.items() if name.startswith(PREFIX) and name not in SHARES}
    return {name: value for name, value in numbers.items() if name not in {**masks, **shares}}, masks, shares


def from_true_boxes(truth: Truth, masks: TrueMasks) -> FoundTable:
    """Return what a detector without fault would have found: every object that is no group, with a score of 1."""
    whole = FoundTable(
        picture_N=truth.picture_N,
        category_N=truth.category_N,
        boxes_xyxy=truth.boxes_xyxy,
        score_N=np.ones(len(truth.picture_N), np.float32),
        mask_N=masks.segmented_N,
    )
    return whole.take(~truth.crowd_N)


def mean_iou(truth: Truth, masks: TrueMasks) -> float:
    """Return the mean IoU of the objects' masks with those made of their true boxes; NaN where there are none."""
    from faster_coco_eval.core import mask

    rows: NDArray[np.int64] = np.flatnonzero(~truth.crowd_N)
    overlaps = []
    for row in rows:
        size = masks.image_wh_P2[truth.picture_N[row]]
        pair = coco_mask(masks.segmented_N[row], size), coco_mask(masks.mask_N[row], size)
        overlaps.append(float(np.asarray(mask.iou(*([one] for one in pair), [0])).item()))
    return float(np.mean(overlaps)) if overlaps else float("nan")
