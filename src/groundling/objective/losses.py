"""The three losses of the paper (section 3.5), each summed over a batch.

Shapes: N matched pair, Q query, T text token.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from groundling.ops.boxes import cxcywh_to_xyxy, generalized_iou

FOCAL_GAMMA = 2.0


def contrastive_focal_loss(logit_QT: Tensor, positive_QT: Tensor, valid_T: Tensor, alpha: float) -> Tensor:
    """Return the focal loss (Lin et al. 2017) of each query with each token, summed.

    Args:
        logit_QT: similarities.
        positive_QT: 1 where a query should answer to a token.
        valid_T: tokens that count; padding does not.
        alpha: weight of positives; negatives have 1 - alpha.
    """
    logit_QT = logit_QT.masked_fill(~valid_T, 0.0)
    probability_QT = logit_QT.sigmoid()
    cross_entropy_QT = F.binary_cross_entropy_with_logits(logit_QT, positive_QT, reduction="none")
    right_QT = probability_QT * positive_QT + (1 - probability_QT) * (1 - positive_QT)
    weight_QT = alpha * positive_QT + (1 - alpha) * (1 - positive_QT)
    loss_QT = weight_QT * (1 - right_QT) ** FOCAL_GAMMA * cross_entropy_QT
    return (loss_QT * valid_T).sum()


def l1_loss(box_N4: Tensor, target_N4: Tensor) -> Tensor:
    """Return the summed absolute difference of boxes (cx, cy, w, h)."""
    return (box_N4 - target_N4).abs().sum()


def giou_loss(box_N4: Tensor, target_N4: Tensor) -> Tensor:
    """Return the sum of 1 - generalised IoU of boxes (cx, cy, w, h)."""
    return (1 - generalized_iou(cxcywh_to_xyxy(box_N4), cxcywh_to_xyxy(target_N4))).sum()


@torch.no_grad()
def cardinality_error(logit_BQT: Tensor, counts: list[int]) -> Tensor:
    """Return how far the number of confident queries is from the number of objects, averaged over pictures."""
    found_B = (logit_BQT.amax(dim=-1).sigmoid() > 0.5).sum(dim=1).float()
    return (found_B - torch.tensor(counts, device=logit_BQT.device)).abs().mean()
