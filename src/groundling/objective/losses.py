"""The losses of the paper (section 3.5), each summed over a batch.

Shapes: B picture, N matched pair, Q query, T text token.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from groundling.ops.boxes import cxcywh_to_xyxy, generalized_iou

FOCAL_GAMMA = 2.0


def contrastive_focal_loss(logit_BQT: Tensor, positive_BQT: Tensor, weight_BQT: Tensor, alpha: float) -> Tensor:
    """Return the focal loss (Lin et al. 2017) of each query with each token, summed.

    Args:
        logit_BQT: similarities.
        positive_BQT: 1 where a query should answer to a token.
        weight_BQT: how much each pair counts; 0 for padding, whose logit may be anything. It broadcasts.
        alpha: weight of positives; negatives have 1 - alpha.
    """
    logit_BQT = logit_BQT.masked_fill(weight_BQT == 0, 0.0)
    probability_BQT = logit_BQT.sigmoid()
    cross_entropy_BQT = F.binary_cross_entropy_with_logits(logit_BQT, positive_BQT, reduction="none")
    right_BQT = probability_BQT * positive_BQT + (1 - probability_BQT) * (1 - positive_BQT)
    alpha_BQT = alpha * positive_BQT + (1 - alpha) * (1 - positive_BQT)
    return (alpha_BQT * (1 - right_BQT) ** FOCAL_GAMMA * cross_entropy_BQT * weight_BQT).sum()


def l1_loss(box_N4: Tensor, target_N4: Tensor, weight_N: Tensor) -> Tensor:
    """Return the weighted sum of the absolute differences of boxes (cx, cy, w, h)."""
    return ((box_N4 - target_N4).abs().sum(dim=-1) * weight_N).sum()


def giou_loss(box_N4: Tensor, target_N4: Tensor, weight_N: Tensor) -> Tensor:
    """Return the weighted sum of 1 - generalised IoU of boxes (cx, cy, w, h)."""
    return ((1 - generalized_iou(cxcywh_to_xyxy(box_N4), cxcywh_to_xyxy(target_N4))) * weight_N).sum()


@torch.no_grad()
def cardinality_error(logit_BQT: Tensor, count_B: Tensor) -> Tensor:
    """Return how far the number of confident queries is from the number of objects, averaged over pictures."""
    found_B = (logit_BQT.amax(dim=-1).sigmoid() > 0.5).sum(dim=1)
    return (found_B - count_B).float().abs().mean()
