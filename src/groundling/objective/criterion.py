"""Match, then add up the losses of the decoder layers, the proposals and the denoising queries.

Shapes: B picture, Q query, T text token, N matched pair.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from groundling.configuration import DetectorConfig
from groundling.objective.denoising import DenoisingQueries
from groundling.objective.losses import cardinality_error, contrastive_focal_loss, giou_loss, l1_loss
from groundling.objective.matcher import HungarianMatcher, Matches
from groundling.objective.targets import Targets
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
        targets: Targets,
        valid_BT: Tensor,
        *,
        denoised: Mapping[str, Prediction] | None = None,
        denoising: DenoisingQueries | None = None,
        num_objects: float | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute the losses.

        Args:
            predictions: what is compared with the labels, by the suffix of its losses: "" for the last layer, "_0"
                and so on for earlier layers, "_enc" for the proposals. Each is matched on its own.
            targets: the labelled objects.
            valid_BT: True for real tokens.
            denoised: likewise, what became of the denoising queries; they need no matching.
            denoising: the denoising queries.
            num_objects: what the sums over the batch are divided by; None is the batch's number of objects, and at
                least 1. Where several batches make one step and their gradients are added up, it is the number of the
                whole step; where the gradients of processes are averaged, that divided by the processes.

        Returns:
            The weighted total and each loss by name, such as "loss_giou_enc".
        """
        losses: dict[str, Tensor] = {}
        divisor = max(targets.num_objects, 1) if num_objects is None else num_objects
        with torch.autocast(valid_BT.device.type, enabled=False):  # matching must not depend on mixed precision
            for suffix, prediction in predictions.items():
                found = self._losses(prediction, targets, valid_BT[:, None].float())
                losses |= {name + suffix: loss / divisor for name, loss in found.items()}
                count_B = targets.valid_BG.sum(dim=1)
                losses["cardinality_error" + suffix] = cardinality_error(prediction.logit_BQT, count_B)
            if denoising is not None:
                weight_BNT = denoising.weight_BN[..., None] * valid_BT[:, None]
                for suffix, prediction in (denoised or {}).items():
                    found = self._losses(prediction, targets, weight_BNT, denoising)
                    losses |= {name + suffix: loss / divisor for name, loss in found.items()}
        parts = [
            weight * losses[name + suffix] for suffix in _suffixes(losses) for name, weight in self.weights.items()
        ]
        return torch.stack(parts).sum(), losses

    def _losses(
        self,
        prediction: Prediction,
        targets: Targets,
        weight_BQT: Tensor,
        denoising: DenoisingQueries | None = None,
    ) -> dict[str, Tensor]:
        """Return the three losses, summed over the batch."""
        matches = self.matcher(prediction, targets) if denoising is None else denoising.matches
        image_N, query_N, object_N = matches
        positive_BQT = torch.zeros_like(prediction.logit_BQT)
        positive_BQT[image_N, query_N] = targets.positive_BGT[image_N, object_N].to(positive_BQT.dtype)
        box_N4 = prediction.box_BQ4[image_N, query_N]
        target_N4 = targets.box_BG4[image_N, object_N]
        weight_N = self._weights(matches, box_N4, denoising)
        return {
            "loss_ce": contrastive_focal_loss(prediction.logit_BQT, positive_BQT, weight_BQT, self.alpha),
            "loss_bbox": l1_loss(box_N4, target_N4, weight_N),
            "loss_giou": giou_loss(box_N4, target_N4, weight_N),
        }

    @staticmethod
    def _weights(matches: Matches, box_N4: Tensor, denoising: DenoisingQueries | None) -> Tensor:
        if denoising is None:
            return torch.ones_like(box_N4[:, 0])
        return denoising.weight_BN[matches.image_N, matches.query_N]


def _suffixes(losses: Mapping[str, Tensor]) -> list[str]:
    return [name.removeprefix("loss_ce") for name in losses if name.startswith("loss_ce")]
