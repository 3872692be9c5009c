"""From one picture's predictions to its best pairs of box and label."""

# Shapes: Q query, L label, N pair

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from groundling.evaluate.protocol import EvaluationProtocol
from groundling.postprocess.boxes import pixel_corners
from groundling.postprocess.label_scores import label_scores
from groundling.postprocess.nms import class_wise_nms


class Pairs(NamedTuple):
    """Pairs of a box and a label, best first: scores [N], label indices [N] int64, corners in pixels [N, 4]."""

    scores: Tensor
    label_ids: Tensor
    boxes_xyxy: Tensor


def rank_pairs(
    logit_QT: Tensor,
    box_Q4: Tensor,
    label_tokens: Sequence[Sequence[int]],
    label_ids: Sequence[int],
    *,
    image_hw: tuple[int, int],
    protocol: EvaluationProtocol,
) -> Pairs:
    """Score every query with every label of one prompt and keep the best pairs.

    A query may be kept with several labels. Equal scores stand in the order of the queries, then of the labels.

    Args:
        logit_QT: token logits; -inf where there is no token.
        box_Q4: centre x, centre y, width, height as fractions of the picture.
        label_tokens: for each label of the prompt the positions of its tokens.
        label_ids: for each label of the prompt its index among all that the picture is asked for.
        image_hw: height and width of the original picture, pixels.
        protocol: how scores are made and cut.
    """
    score_QL = label_scores(logit_QT, label_tokens, aggregate=protocol.aggregate)
    score_N = score_QL.flatten()
    order_N = torch.argsort(score_N, descending=True, stable=True)
    if protocol.threshold is not None:
        order_N = order_N[score_N[order_N] > protocol.threshold]
    num_labels = score_QL.shape[1]
    own_N = torch.tensor(label_ids, device=score_N.device)[order_N % num_labels]
    pairs = Pairs(score_N[order_N], own_N, pixel_corners(box_Q4, image_hw)[order_N // num_labels])
    if protocol.nms_iou is not None:
        pairs = _take(pairs, class_wise_nms(pairs.boxes_xyxy, pairs.label_ids, protocol.nms_iou))
    return _cut(pairs, protocol)


def merge_pairs(parts: Sequence[Pairs], protocol: EvaluationProtocol) -> Pairs:
    """Join the pairs of a picture's prompts, which have no label in common, and keep the best.

    Equal scores stand in the order of the prompts.
    """
    joined = Pairs(*(torch.cat(columns) for columns in zip(*parts, strict=True)))
    return _cut(_take(joined, torch.argsort(joined.scores, descending=True, stable=True)), protocol)


def _cut(pairs: Pairs, protocol: EvaluationProtocol) -> Pairs:
    if not protocol.is_per_label:
        return _take(pairs, slice(protocol.top_k))
    best = [
        (pairs.label_ids == label).nonzero().flatten()[: protocol.top_k]
        for label in sorted(set(pairs.label_ids.tolist()))
    ]
    return _take(pairs, torch.cat(best).sort().values) if best else pairs


def _take(pairs: Pairs, rows: Tensor | slice) -> Pairs:
    return Pairs(*(column[rows] for column in pairs))
