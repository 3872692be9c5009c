"""Bipartite matching of queries and labelled objects (DETR, Carion et al. 2020).

Shapes: Q query, G labelled object, T text token, P phrase.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from groundling.objective.targets import Targets
from groundling.ops.boxes import cxcywh_to_xyxy, generalized_iou

MATCHING_ALPHA = 0.25
MATCHING_GAMMA = 2.0
MATCHING_EPS = 1e-8


@dataclass(frozen=True, slots=True)
class HungarianMatcher:
    """Pair queries and objects so that the sum of their costs is smallest.

    Attributes:
        class_cost: weight of the classification cost.
        bbox_cost: weight of the L1 distance of the boxes.
        giou_cost: weight of the negative generalised IoU.
    """

    class_cost: float
    bbox_cost: float
    giou_cost: float

    @torch.no_grad()
    def __call__(self, logit_QT: Tensor, box_Q4: Tensor, targets: Targets) -> tuple[Tensor, Tensor]:
        """Match one image.

        Args:
            logit_QT: similarity with each token.
            box_Q4: predicted boxes (cx, cy, w, h).
            targets: the labelled objects.

        Returns:
            Indices of queries and of objects, pair by pair; min(Q, G) of each, queries ascending.
        """
        from scipy.optimize import linear_sum_assignment  # slow to import, and only training needs it

        cost_QG = (
            self.bbox_cost * torch.cdist(box_Q4, targets.box_G4, p=1)
            + self.class_cost * classification_cost(logit_QT, targets.positive_GT)
            - self.giou_cost * generalized_iou(cxcywh_to_xyxy(box_Q4)[:, None], cxcywh_to_xyxy(targets.box_G4)[None])
        )
        worst = torch.finfo(cost_QG.dtype).max
        cost_QG = torch.nan_to_num(cost_QG, nan=worst, posinf=worst, neginf=worst)
        query, target = linear_sum_assignment(cost_QG.cpu().numpy())
        device = logit_QT.device
        return torch.as_tensor(query, device=device), torch.as_tensor(target, device=device)


def classification_cost(logit_QT: Tensor, positive_GT: Tensor) -> Tensor:
    """Return the focal cost of giving each query each object's phrase, [Q, G], averaged over the phrase's tokens."""
    probability_QT = logit_QT.sigmoid()
    negative_QT = (1 - MATCHING_ALPHA) * probability_QT**MATCHING_GAMMA * -(1 - probability_QT + MATCHING_EPS).log()
    positive_QT = MATCHING_ALPHA * (1 - probability_QT) ** MATCHING_GAMMA * -(probability_QT + MATCHING_EPS).log()
    return (positive_QT - negative_QT) @ (positive_GT / positive_GT.sum(dim=1, keepdim=True)).T
