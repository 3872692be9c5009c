"""Match, then add up the losses of the last decoder layer, the earlier layers and the proposals.

Shapes: B image, Q query, T text token.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from groundling.configuration import DetectorConfig
from groundling.objective.losses import cardinality_error, contrastive_focal_loss, giou_loss, l1_loss
from groundling.objective.matcher import HungarianMatcher
from groundling.objective.positive_map import phrase_maps
from groundling.objective.targets import Targets, read_targets
from groundling.structures.features import Prediction

CONTRASTIVE_COEFFICIENT = 2.0
"""Weight of the contrastive loss in the total, as in the paper's training."""


class Criterion:
    """The training objective.

    Args:
        config: gives the costs of matching, the weights of the losses and the focal alpha.
    """

    def __init__(self, config: DetectorConfig) -> None:
        self.matcher = HungarianMatcher(config.class_cost, config.bbox_cost, config.giou_cost)
        self.alpha = config.focal_alpha
        self.weights = {
            "loss_ce": CONTRASTIVE_COEFFICIENT,
            "loss_bbox": config.bbox_loss_coefficient,
            "loss_giou": config.giou_loss_coefficient,
        }

    def __call__(
        self,
        predictions: Mapping[str, Prediction],
        token_BT: Tensor,
        valid_BT: Tensor,
        labels: Sequence[Mapping[str, Tensor]],
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute the losses.

        Args:
            predictions: what is compared with the labels, by the suffix of its losses: "" for the last layer, "_0"
                and so on for earlier layers, "_enc" for the proposals. Each is matched on its own.
            token_BT: token ids of the prompts.
            valid_BT: True for real tokens.
            labels: see `groundling.objective.targets.read_targets`.

        Returns:
            The weighted total and each loss by name, such as "loss_giou_enc". Losses are sums over the batch divided
            by its number of objects (at least 1).

        Raises:
            DatasetError: the labels do not fit the prompts.
        """
        targets = read_targets(labels, phrase_maps(token_BT))
        losses: dict[str, Tensor] = {}
        with torch.autocast(token_BT.device.type, enabled=False):  # matching must not depend on mixed precision
            for suffix, prediction in predictions.items():
                for name, loss in self._losses(prediction, valid_BT, targets).items():
                    losses[name + suffix] = loss
        total = sum(weight * losses[name + suffix] for suffix in predictions for name, weight in self.weights.items())
        assert isinstance(total, Tensor)
        return total, losses

    def _losses(self, prediction: Prediction, valid_BT: Tensor, targets: Sequence[Targets]) -> dict[str, Tensor]:
        counts = [target.box_G4.shape[0] for target in targets]
        contrastive, matched_boxes, target_boxes = [], [], []
        for logit_QT, box_Q4, valid_T, target in zip(*prediction, valid_BT, targets, strict=True):
            box_Q4 = box_Q4.float()
            query_N, object_N = self.matcher(logit_QT, box_Q4, target)
            positive_QT = torch.zeros_like(logit_QT)
            positive_QT[query_N] = target.positive_GT[object_N]
            contrastive.append(contrastive_focal_loss(logit_QT, positive_QT, valid_T, self.alpha))
            matched_boxes.append(box_Q4[query_N])
            target_boxes.append(target.box_G4[object_N])
        box_N4, target_N4 = torch.cat(matched_boxes), torch.cat(target_boxes)
        num_objects = max(sum(counts), 1)
        return {
            "loss_ce": torch.stack(contrastive).sum() / num_objects,
            "loss_bbox": l1_loss(box_N4, target_N4) / num_objects,
            "loss_giou": giou_loss(box_N4, target_N4) / num_objects,
            "cardinality_error": cardinality_error(prediction.logit_BQT, counts),
        }
