"""How far results are apart, said honestly.

Query selection takes the best 900 image tokens, and the content of a query belongs to its rank. Two tokens whose scores
differ by less than rounding may come in either order, and both answers are right. So float32 is compared by decoding
from the reference's own choice; half precision, where most ranks change, by matching boxes.
"""

import math
from collections.abc import Mapping
from typing import Any

import torch
from benchmarks.speed.contenders import Agreement
from scipy.optimize import linear_sum_assignment
from torch import Tensor

LIMIT = 1e-4
"""Largest difference of a box coordinate (0..1) or a probability in float32."""

SWAPPED = 1e-5


def largest_difference(expected: Tensor, actual: Tensor) -> float:
    """Return the largest absolute difference; -inf in both is none."""
    same = expected == actual
    return float((expected.float() - actual.float()).abs().masked_fill(same, 0.0).max())


def relative_difference(expected: Tensor, actual: Tensor) -> float:
    """Return the norm of the difference over the norm of what is expected."""
    expected, actual = expected.float(), actual.float()
    return float((expected - actual).norm() / expected.norm())


def matched_differences(expected: Any, actual: Any) -> tuple[float, float]:
    """Return the mean absolute difference of box coordinates and of probabilities over one-to-one matched queries.

    Both are NaN where a box is.
    """
    if not actual.pred_boxes.isfinite().all():
        return math.nan, math.nan
    boxes, probabilities = [], []
    for picture in range(expected.pred_boxes.shape[0]):
        expected_N4, actual_N4 = expected.pred_boxes[picture].float(), actual.pred_boxes[picture].float()
        rows, columns = linear_sum_assignment(torch.cdist(expected_N4, actual_N4, p=1).cpu().numpy())
        expected_NT, actual_NT = expected.logits[picture].float().sigmoid(), actual.logits[picture].float().sigmoid()
        used = expected_NT.amax(0) > 0  # columns of tokens, not of padding
        boxes.append((expected_N4[rows] - actual_N4[columns]).abs().mean())
        probabilities.append((expected_NT[rows] - actual_NT[columns])[:, used].abs().mean())
    return torch.stack(boxes).mean().item(), torch.stack(probabilities).mean().item()


def same_proposals(name: str, expected: Any, model: Any, inputs: Mapping[str, Tensor]) -> list[Agreement]:
    """Decode from the reference's proposals and compare boxes and probabilities."""
    from random_models import predict_from

    limit = None if torch.backends.cuda.matmul.allow_tf32 else LIMIT
    with torch.inference_mode():
        decoded = predict_from(model, dict(inputs), expected.init_reference_points)
    logits = expected.logits[..., : decoded.logit_BQT.shape[-1]]
    return [
        Agreement(name, "boxes, max |Δ|", largest_difference(expected.pred_boxes, decoded.box_BQ4), limit),
        Agreement(
            name, "probabilities, max |Δ|", largest_difference(logits.sigmoid(), decoded.logit_BQT.sigmoid()), limit
        ),
    ]


def whole_results(name: str, expected: Any, actual: Any) -> list[Agreement]:
    """Compare what came out of a whole forward, whatever the number format."""
    places = (actual.init_reference_points.float() - expected.init_reference_points).abs().amax(-1)
    boxes, probabilities = matched_differences(expected, actual)
    return [
        Agreement(name, "proposals in another rank, share", (~(places <= SWAPPED)).float().mean().item()),
        Agreement(
            name,
            "enhanced image tokens, relative",
            relative_difference(expected.encoder_last_hidden_state_vision, actual.encoder_last_hidden_state_vision),
        ),
        Agreement(name, "matched boxes, mean |Δ|", boxes),
        Agreement(name, "matched probabilities, mean |Δ|", probabilities),
    ]
