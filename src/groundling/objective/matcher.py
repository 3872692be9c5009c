"""Bipartite matching of queries and labelled objects (DETR, Carion et al. 2020).

Shapes: B picture, Q query, G labelled object, T text token, N matched pair.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from groundling.objective.targets import Targets
from groundling.ops.boxes import cxcywh_to_xyxy, generalized_iou
from groundling.structures.features import Prediction

MATCHING_ALPHA = 0.25
MATCHING_GAMMA = 2.0
MATCHING_EPS = 1e-8


class Matches(NamedTuple):
    """Which query answers for which object, pair by pair.

    Attributes:
        image_N: index of the picture in the batch, ascending.
        query_N: index of the query, ascending within a picture.
        object_N: index of the object in the picture.
    """

    image_N: Tensor
    query_N: Tensor
    object_N: Tensor


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
    def __call__(self, prediction: Prediction, targets: Targets) -> Matches:
        """Match each picture of a batch; of one with G objects and Q queries min(Q, G) pairs are made."""
        from scipy.optimize import linear_sum_assignment  # slow to import, and only training needs it

        # One copy to the host for the whole batch.
        cost_BQG = self.cost(prediction, targets).cpu().numpy()
        images, queries, objects = [], [], []
        for image, count in enumerate(targets.valid_BG.sum(dim=1).tolist()):
            query, target = linear_sum_assignment(cost_BQG[image, :, :count])
            images.append(torch.full((len(query),), image))
            queries.append(torch.as_tensor(query))
            objects.append(torch.as_tensor(target))
        device = prediction.box_BQ4.device
        return Matches(*(torch.cat(parts).to(device) for parts in (images, queries, objects)))

    def cost(self, prediction: Prediction, targets: Targets) -> Tensor:
        """Return what each object costs each query, [B, Q, G]; huge where a prediction is not a number."""
        box_BQ4, box_BG4 = prediction.box_BQ4, targets.box_BG4.to(prediction.box_BQ4.dtype)
        overlap_BQG = generalized_iou(cxcywh_to_xyxy(box_BQ4)[:, :, None], cxcywh_to_xyxy(box_BG4)[:, None])
        cost_BQG = (
            self.bbox_cost * torch.cdist(box_BQ4, box_BG4, p=1)
            + self.class_cost * classification_cost(prediction.logit_BQT, targets.positive_BGT)
            - self.giou_cost * overlap_BQG
        )
        worst = torch.finfo(cost_BQG.dtype).max
        return torch.nan_to_num(cost_BQG, nan=worst, posinf=worst, neginf=worst)


def classification_cost(logit_BQT: Tensor, positive_BGT: Tensor) -> Tensor:
    """Return the focal cost of giving each query each object's words, [B, Q, G], averaged over their tokens."""
    probability_BQT = logit_BQT.sigmoid()
    negative_BQT = (1 - MATCHING_ALPHA) * probability_BQT**MATCHING_GAMMA * -(1 - probability_BQT + MATCHING_EPS).log()
    positive_BQT = MATCHING_ALPHA * (1 - probability_BQT) ** MATCHING_GAMMA * -(probability_BQT + MATCHING_EPS).log()
    share_BGT = positive_BGT / positive_BGT.sum(dim=-1, keepdim=True).clamp(min=1.0)
    return (positive_BQT - negative_BQT) @ share_BGT.to(logit_BQT.dtype).transpose(1, 2)
