"""Detections and followed things are paired by their masks."""

import numpy as np
import pytest

from groundling.pipeline.video.mask_matching import LEAST_OVERLAP, match_masks
from groundling.structures.masks import Masks

WH = (40, 20)
Span = tuple[int, int, int]
"""Label, first and last column of a mask."""


def masks(spans: list[Span]) -> Masks:
    array = np.zeros((len(spans), WH[1], WH[0]), np.bool_)
    for row, (_, first, last) in enumerate(spans):
        array[row, :, first:last] = True
    return Masks.from_array(array, WH)


def labels(spans: list[Span]) -> np.ndarray:
    return np.array([span[0] for span in spans], np.int64)


@pytest.mark.parametrize(
    ("found", "followed", "pairs"),
    [
        pytest.param([], [], [], id="empty"),
        pytest.param([(0, 0, 10)], [], [], id="nothing followed"),
        pytest.param([], [(0, 0, 10)], [], id="nothing found"),
        pytest.param([(0, 0, 10)], [(0, 0, 10)], [(0, 0, 1.0)], id="the same"),
        pytest.param([(0, 0, 10)], [(1, 0, 10)], [], id="another label"),
        pytest.param([(0, 0, 10)], [(0, 20, 30)], [], id="elsewhere"),
        pytest.param([(0, 5, 5)], [(0, 5, 5)], [], id="empty masks"),
        pytest.param([(0, 0, 10), (0, 20, 30)], [(0, 21, 31), (0, 0, 8)], [(0, 1, 0.8), (1, 0, 9 / 11)], id="crossed"),
        pytest.param([(0, 0, 10)], [(0, 0, 6), (0, 0, 9)], [(0, 1, 0.9)], id="the better one"),
        pytest.param([(0, 0, 10), (0, 2, 12)], [(0, 0, 10)], [(0, 0, 1.0)], id="one thing is not two"),
        pytest.param([(0, 0, 10)], [(0, 7, 10)], [(0, 0, 0.3)], id="just enough"),
        pytest.param([(0, 0, 10)], [(0, 8, 10)], [], id="too little"),
        pytest.param([(0, 0, 10), (1, 0, 10)], [(1, 0, 9), (0, 0, 9)], [(0, 1, 0.9), (1, 0, 0.9)], id="two labels"),
    ],
)
def test_pairs(found: list[Span], followed: list[Span], pairs: list[tuple[int, int, float]]) -> None:
    given = match_masks(masks(found), labels(found), masks(followed), labels(followed))
    assert [match[:2] for match in given] == [pair[:2] for pair in pairs]
    assert [match.overlap for match in given] == pytest.approx([pair[2] for pair in pairs])
    assert all(match.overlap >= LEAST_OVERLAP for match in given)


def test_a_pair_that_hardly_overlaps_costs_no_other_its_partner() -> None:
    found, followed = [(0, 0, 20), (0, 10, 30)], [(0, 4, 24), (0, 0, 4)]
    # Both pairs of the first kind have the greater sum (0.2 + 0.54), but 0.2 is none.
    pairs = match_masks(masks(found), labels(found), masks(followed), labels(followed))
    assert [match[:2] for match in pairs] == [(0, 0)]
