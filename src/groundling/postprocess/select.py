"""From one picture's predictions to the boxes worth showing, best first."""

# Shapes: Q query, T text token, L label, N kept box

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from groundling.errors import ConfigError
from groundling.postprocess.boxes import pixel_corners
from groundling.postprocess.label_scores import Aggregation, check_aggregation, label_scores
from groundling.postprocess.nms import class_wise_nms


class Selection(NamedTuple):
    """Kept boxes of one picture, best first.

    Attributes:
        boxes_xyxy: [N, 4] float32 corners in pixels, clipped to the picture.
        scores: [N] float32, the best label's score.
        label_ids: [N] int64, the best label: an index into the caller's list.
        label_scores: [N, L] float32, every label's score.
        query_ids: [N] int64, which query of the model each box is.
    """

    boxes_xyxy: Tensor
    scores: Tensor
    label_ids: Tensor
    label_scores: Tensor
    query_ids: Tensor


def select_detections(
    logit_QT: Tensor,
    box_Q4: Tensor,
    label_tokens: Sequence[Sequence[int]],
    *,
    image_hw: tuple[int, int],
    threshold: float,
    top_k: int | None = None,
    nms_iou: float | None = None,
    aggregate: Aggregation = "mean",
) -> Selection:
    """Score each query by its best label, keep those above the threshold, and sort them.

    Equal scores stand in the order of the queries. Suppression comes before `top_k`.

    Args:
        logit_QT: token logits; -inf where there is no token.
        box_Q4: centre x, centre y, width, height as fractions of the picture.
        label_tokens: for each label the positions of its tokens, as in `Prompt.label_tokens`.
        image_hw: height and width of the original picture, pixels.
        threshold: 0..1; a box is kept when its score is greater.
        top_k: at most so many boxes; None keeps all.
        nms_iou: 0..1; drop a box that overlaps a better one of the same label by more; None keeps all.
        aggregate: see `label_scores`.

    Raises:
        ConfigError: a number is outside its range, or the aggregation does not exist.
        PromptError: there are no labels, or their tokens do not fit the logits.
    """
    check_selection(threshold=threshold, top_k=top_k, nms_iou=nms_iou, aggregate=aggregate)
    if min(image_hw) < 1:
        raise ConfigError(f"image_hw must be the height and width of a picture in pixels, got {image_hw!r}.")
    score_QL = label_scores(logit_QT, label_tokens, aggregate=aggregate)
    score_Q, label_Q = score_QL.max(dim=1)
    query_N = (score_Q > threshold).nonzero().flatten()
    query_N = query_N[torch.argsort(score_Q[query_N], descending=True, stable=True)]
    box_xyxy_N4 = pixel_corners(box_Q4[query_N], image_hw)
    if nms_iou is not None:
        kept = class_wise_nms(box_xyxy_N4, label_Q[query_N], nms_iou)
        query_N, box_xyxy_N4 = query_N[kept], box_xyxy_N4[kept]
    query_N, box_xyxy_N4 = query_N[:top_k], box_xyxy_N4[:top_k]
    return Selection(box_xyxy_N4, score_Q[query_N], label_Q[query_N], score_QL[query_N], query_N)


def check_selection(*, threshold: float, top_k: int | None, nms_iou: float | None, aggregate: str) -> None:
    """Check the options of `select_detections`, so that a mistake is told before anything is computed.

    Raises:
        ConfigError: a number is outside its range, or the aggregation does not exist.
    """
    for name, value in (("threshold", threshold), ("nms_iou", nms_iou)):
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if value is not None and not (is_number and 0 <= value <= 1):
            raise ConfigError(f"{name} must be within 0..1, got {value!r}.")
    if threshold is None:
        raise ConfigError("threshold must be within 0..1, got None.")
    if top_k is not None and (isinstance(top_k, bool) or not isinstance(top_k, int) or top_k < 1):
        raise ConfigError(f"top_k must be at least 1, or None for all boxes; got {top_k!r}.")
    check_aggregation(aggregate)
