"""Which detection is which thing that is followed, by how much their masks overlap."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from groundling.structures.masks import Masks

LEAST_OVERLAP = 0.3
"""A detection is a followed thing if the IoU of their masks is at least this. Masks of different things hardly overlap,
so it can be low: a mask that has lost half of its thing should be mended, not doubled."""


class Match(NamedTuple):
    """One detection that is one followed thing.

    Attributes:
        found: row of the detection.
        followed: row of the thing.
        overlap: IoU of their masks, LEAST_OVERLAP to 1.
    """

    found: int
    followed: int
    overlap: float


def match_masks(
    found: Masks, found_labels: NDArray[np.int64], followed: Masks, followed_labels: NDArray[np.int64]
) -> list[Match]:
    """Pair detections with followed things of the same label so that the sum of the overlaps is greatest.

    Args:
        found: masks of the detections.
        found_labels: label of each, int64 [N].
        followed: masks of the things, in the same picture.
        followed_labels: label of each, int64 [M].

    Returns:
        The pairs, each detection and each thing once at most, in the order of the detections.
    """
    from scipy.optimize import linear_sum_assignment  # slow to import

    overlaps = found.iou(followed)
    overlaps[found_labels[:, None] != followed_labels[None]] = 0
    overlaps[overlaps < LEAST_OVERLAP] = 0  # such a pair must not cost another one its partner
    rows, columns = linear_sum_assignment(overlaps, maximize=True)
    pairs = zip(rows.tolist(), columns.tolist(), overlaps[rows, columns].tolist(), strict=True)
    return [Match(row, column, overlap) for row, column, overlap in pairs if overlap > 0]
