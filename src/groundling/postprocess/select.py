"""From one picture's predictions to the boxes worth showing, best first."""

# Shapes: Q query, T text token, W word of a prompt, L label, N kept box

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import NamedTuple

import torch
from torch import Tensor

from groundling.errors import ConfigError
from groundling.postprocess.boxes import pixel_corners
from groundling.postprocess.label_scores import Aggregation, check_aggregation, label_scores
from groundling.postprocess.nms import class_wise_nms, without_groups
from groundling.structures.prompt import NEGATIVE

THRESHOLD = 0.3
"""Score that boxes must exceed unless a caller or a label says otherwise; chosen by hand, see docs/calibration.md."""

NMS_IOU = 0.7
"""Overlap from which two boxes of one label are taken for the same thing.

Chosen by hand, not measured; `nms_iou` sets another.
"""


@dataclass(frozen=True, slots=True)
class SelectionRules:
    """Which boxes are worth showing.

    Attributes:
        threshold: 0..1; a box is kept when its score is greater, unless its label has a threshold of its own.
        top_k: at most so many boxes, the best; None keeps all.
        nms_iou: 0..1; drop a box that overlaps a better one of the same label by more; None keeps all.
        nms_across_labels: a better box of another label suppresses too, so that each thing has one label.
        drop_groups: drop boxes around several others of their label; see `without_groups`.
        aggregate: how the scores of a label's tokens become its score; see `label_scores`.

    Raises:
        ConfigError: a number is outside its range, or the aggregation does not exist.
    """

    threshold: float = THRESHOLD
    top_k: int | None = None
    nms_iou: float | None = NMS_IOU
    nms_across_labels: bool = False
    drop_groups: bool = False
    aggregate: Aggregation = "mean"

    def __post_init__(self) -> None:
        _check_share("threshold", self.threshold)
        if self.nms_iou is not None:
            _check_share("nms_iou", self.nms_iou)
        if self.top_k is not None and (
            isinstance(self.top_k, bool) or not isinstance(self.top_k, int) or self.top_k < 1
        ):
            raise ConfigError(f"top_k must be at least 1, or None for all boxes; got {self.top_k!r}.")
        if self.nms_across_labels and self.nms_iou is None:
            raise ConfigError("nms_across_labels needs an overlap to suppress from. Give nms_iou too, such as 0.7.")
        check_aggregation(self.aggregate)


class Selection(NamedTuple):
    """Kept boxes of one picture, best first.

    Attributes:
        boxes_xyxy: [N, 4] float32 corners in pixels, clipped to the picture.
        scores: [N] float32, the best label's score.
        label_ids: [N] int64, the best label: an index into the caller's list.
        label_scores: [N, L] float32, every label's score; None where the labels were asked in several prompts.
        query_ids: [N] int64, which query of the model each box is, in the run of its prompt.
    """

    boxes_xyxy: Tensor
    scores: Tensor
    label_ids: Tensor
    label_scores: Tensor | None
    query_ids: Tensor


class Words(NamedTuple):
    """The words of one prompt and what they stand for.

    Attributes:
        tokens: for each word the positions of its tokens, as in `Prompt.label_tokens`.
        label_ids: for each word the label that it stands for, or NEGATIVE, as in `PromptSet.label_ids`.
        thresholds: for each label of the caller the score that its boxes must exceed; None is the general one.
    """

    tokens: Sequence[Sequence[int]]
    label_ids: Sequence[int]
    thresholds: Sequence[float | None]


def score_boxes(
    logit_QT: Tensor, box_Q4: Tensor, words: Words, *, image_hw: tuple[int, int], rules: SelectionRules
) -> Selection:
    """Score each query by its best label and keep those above the threshold, in the order of the queries.

    A label's score is that of its best word. A query that a negative describes better than any label is dropped.

    Args:
        logit_QT: token logits; -inf where there is no token.
        box_Q4: centre x, centre y, width, height as fractions of the picture.
        words: the prompt.
        image_hw: height and width of the original picture, pixels.
        rules: which boxes are kept.

    Returns:
        The kept boxes, with scores for the labels of this prompt only, in ascending order of the labels.

    Raises:
        ConfigError: the picture has no size.
        PromptError: there are no words, or their tokens do not fit the logits.
    """
    if min(image_hw) < 1:
        raise ConfigError(f"image_hw must be the height and width of a picture in pixels, got {image_hw!r}.")
    score_QW = label_scores(logit_QT, words.tokens, aggregate=rules.aggregate)
    # Of labels with equal scores the first in the prompt is taken, so that the order of the prompt alone decides.
    label_L = [label for label in dict.fromkeys(words.label_ids) if label != NEGATIVE]
    score_QL = score_QW if list(words.label_ids) == label_L else _best_words(score_QW, words.label_ids, label_L)
    score_Q, column_Q = score_QL.max(dim=1)
    limits = [words.thresholds[label] for label in label_L]
    limit_L = score_Q.new_tensor([rules.threshold if limit is None else limit for limit in limits])
    keep_Q = score_Q > limit_L[column_Q]
    rivals = [place for place, label in enumerate(words.label_ids) if label == NEGATIVE]
    if rivals:
        keep_Q &= score_Q >= score_QW[:, rivals].amax(dim=1)
    query_N = keep_Q.nonzero().flatten()
    label_N = torch.tensor(label_L, device=column_Q.device)[column_Q[query_N]]
    box_xyxy_N4 = pixel_corners(box_Q4[query_N], image_hw)
    ascending = torch.tensor(label_L, device=column_Q.device).argsort()
    return Selection(box_xyxy_N4, score_Q[query_N], label_N, score_QL[query_N][:, ascending], query_N)


def choose_boxes(parts: Sequence[Selection], rules: SelectionRules) -> Selection:
    """Put the boxes of a picture's prompts into one order, suppress what is there twice, and keep the best.

    Equal scores stand in the order of the prompts and queries. Suppression comes before `top_k`.

    Args:
        parts: from `score_boxes`, one for each prompt.
        rules: which boxes are kept.
    """
    scores = parts[0].label_scores if len(parts) == 1 else None
    found = Selection(
        boxes_xyxy=torch.cat([part.boxes_xyxy for part in parts]),
        scores=torch.cat([part.scores for part in parts]),
        label_ids=torch.cat([part.label_ids for part in parts]),
        label_scores=scores,
        query_ids=torch.cat([part.query_ids for part in parts]),
    )
    found = _take(found, torch.argsort(found.scores, descending=True, stable=True))
    if rules.nms_iou is not None:
        same_N = torch.zeros_like(found.label_ids) if rules.nms_across_labels else found.label_ids
        found = _take(found, class_wise_nms(found.boxes_xyxy, same_N, rules.nms_iou))
    if rules.drop_groups:
        found = _take(found, without_groups(found.boxes_xyxy, found.label_ids))
    return _take(found, slice(rules.top_k))


def _best_words(score_QW: Tensor, label_ids: Sequence[int], label_L: Sequence[int]) -> Tensor:
    """Return for each label the score of its best word, [Q, L]."""
    columns = [[place for place, label in enumerate(label_ids) if label == wanted] for wanted in label_L]
    return torch.stack([score_QW[:, places].amax(dim=1) for places in columns], dim=1)


def _take(found: Selection, rows: Tensor | slice) -> Selection:
    boxes, scores, label_ids, every_score, queries = found
    label_scores = None if every_score is None else every_score[rows]
    return Selection(boxes[rows], scores[rows], label_ids[rows], label_scores, queries[rows])


def _check_share(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 <= float(value) <= 1:
        raise ConfigError(f"{name} must be within 0..1, got {value!r}.")
