"""What was found in overlapping views is put together: each thing once."""

import tracemalloc

import numpy as np
import pytest

from groundling.pipeline import tile_merging
from groundling.pipeline.tile_merging import ViewBoxes, merge_views

WINDOWS = np.array([[0, 0, 100, 100], [60, 0, 160, 100], [0, 0, 160, 100]], float)  # two tiles, and the whole
LEFT, RIGHT, WHOLE = range(3)


def merged(*found: tuple[list[float], float, int], labels: list[int] | None = None) -> list[tuple[list[float], float]]:
    boxes = ViewBoxes(
        np.array([box for box, _, _ in found], float).reshape(-1, 4),
        np.array([score for _, score, _ in found], float),
        np.array(labels if labels is not None else [0] * len(found), np.int64),
        np.array([view for _, _, view in found], np.int64),
    )
    left = merge_views(boxes, WINDOWS, (160, 100))
    return [(box.tolist(), float(score)) for box, score in zip(left.box_N4, left.score_N, strict=True)]


THING = [65.0, 20.0, 95.0, 60.0]  # complete in both tiles
NEXT = [73.5, 20.0, 103.5, 60.0]  # complete in the right one
LONG, LONG_LEFT, LONG_RIGHT = [20.0, 20, 140, 60], [20.0, 20, 100, 60], [60.0, 20, 140, 60]
LOWER, LOWER_LEFT, LOWER_RIGHT = [20.0, 32, 140, 72], [20.0, 32, 100, 72], [60.0, 32, 140, 72]


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        pytest.param([], [], id="empty"),
        pytest.param([(THING, 0.5, LEFT)], [(THING, 0.5)], id="one"),
        pytest.param(
            [(THING, 0.4, LEFT), ([66, 20, 96, 61], 0.6, RIGHT), ([62, 18, 97, 62], 0.9, WHOLE)],
            [([66, 20, 96, 61], 0.9)],
            id="complete three times: the best of the tiles, with the best score",
        ),
        pytest.param(
            [(THING, 0.4, LEFT), ([66, 20, 96, 61], 0.6, LEFT)],
            [([66, 20, 96, 61], 0.6), (THING, 0.4)],
            id="boxes of one view are left to the caller's rules",
        ),
        pytest.param(
            [([70, 20, 100, 50], 0.9, LEFT), ([70, 20, 120, 50], 0.5, RIGHT)],
            [([70, 20, 120, 50], 0.5)],
            id="cut, and complete in the next tile",
        ),
        pytest.param([([70, 20, 99.5, 50], 0.9, LEFT)], [], id="cut, and the next tile sees nothing there"),
        pytest.param(
            [([20, 20, 100, 50], 0.9, LEFT), ([60, 21, 140, 49], 0.5, RIGHT)],
            [([20, 20, 140, 50], 0.9)],
            id="larger than the overlap: both parts are joined",
        ),
        pytest.param(
            [([20, 20, 100, 50], 0.9, LEFT), ([60, 21, 140, 49], 0.5, RIGHT), ([20, 20, 140, 50], 0.4, WHOLE)],
            [([20, 20, 140, 50], 0.4)],
            id="larger than the overlap: the whole picture shows it complete",
        ),
        pytest.param(
            [([20, 20, 100, 50], 0.9, LEFT), ([60, 60, 140, 90], 0.5, RIGHT)],
            [([20, 20, 100, 50], 0.9), ([60, 60, 140, 90], 0.5)],
            id="two things that are cut",
        ),
        pytest.param(
            [([20, 20, 100, 50], 0.9, LEFT), ([0, 0, 160, 100], 0.5, WHOLE)],
            [([20, 20, 100, 50], 0.9), ([0, 0, 160, 100], 0.5)],
            id="a box around everything does not swallow what is cut",
        ),
        pytest.param(
            [([0, 0, 30, 30], 0.9, LEFT), ([130, 70, 160, 100], 0.8, RIGHT)],
            [([0, 0, 30, 30], 0.9), ([130, 70, 160, 100], 0.8)],
            id="the picture's own edges cut nothing",
        ),
        pytest.param(
            [(THING, 0.9, LEFT), ([73.5, 20, 100, 60], 0.7, LEFT), (THING, 0.8, RIGHT), (NEXT, 0.6, RIGHT)],
            [(THING, 0.9), (NEXT, 0.6)],
            id="things that overlap by 0.56: one is cut in a tile where the other is complete",
        ),
        pytest.param(
            [(THING, 0.4, LEFT), (THING, 0.5, RIGHT), (NEXT, 0.9, RIGHT)],
            [(NEXT, 0.9), (THING, 0.5)],
            id="things that overlap by 0.56: the better one takes no partner of the other",
        ),
        pytest.param(
            [(THING, 0.9, LEFT), (THING, 0.8, WHOLE), ([71, 20, 101, 60], 0.5, WHOLE)],
            [(THING, 0.9), ([71, 20, 101, 60], 0.5)],
            id="things that overlap by 0.67 in the whole picture",
        ),
        pytest.param(
            [(LONG, 0.9, WHOLE), (LONG_LEFT, 0.8, LEFT), (LOWER_LEFT, 0.7, LEFT)],
            [(LONG, 0.9), (LOWER_LEFT, 0.7)],
            id="larger than the overlap and overlapping: the whole picture shows one of them complete",
        ),
        pytest.param(
            [(LONG_LEFT, 0.8, LEFT), (LOWER_LEFT, 0.7, LEFT), (LONG_RIGHT, 0.6, RIGHT), (LOWER_RIGHT, 0.5, RIGHT)],
            [(LONG, 0.8), (LOWER, 0.7)],
            id="larger than the overlap and overlapping: parts are joined with their own",
        ),
    ],
)
def test_merging(found: list, expected: list) -> None:
    assert merged(*found) == expected


def test_labels_do_not_know_each_other() -> None:
    boxes = [(THING, 0.4, LEFT), (THING, 0.6, RIGHT), (THING, 0.9, WHOLE)]
    assert merged(*boxes, labels=[0, 1, 2]) == [(THING, 0.9), (THING, 0.6), (THING, 0.4)]


def test_many_boxes_take_little_memory() -> None:
    """What numpy allocates; torch's share is as bounded, and `benchmarks/tiles.py` measures all of it."""
    starts = np.arange(0, 3200, 80.0)
    window_V4 = np.array([[x, y, x + 100, y + 100] for y in starts for x in starts])
    view_N = np.repeat(np.arange(len(window_V4)), 4)
    part_44 = [[70, 30, 100, 60], [0, 30, 30, 60], [30, 70, 50, 90], [50, 5, 70, 25]]  # right, left, and two complete
    box_N4 = np.tile(window_V4[view_N, :2], 2) + np.tile(part_44, (len(window_V4), 1))
    boxes = ViewBoxes(box_N4, np.full(len(box_N4), 0.5), np.zeros(len(box_N4), np.int64), view_N)
    tracemalloc.start()
    try:
        left = merge_views(boxes, window_V4, (3220, 3220))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(left) == 40 * (39 + 2 + 80)
    assert peak < 20_000_000


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    view_N = rng.integers(0, 3, 200)
    corner_N2 = rng.uniform(0, 1, (200, 2)) * (WINDOWS[view_N, 2:] - WINDOWS[view_N, :2]) + WINDOWS[view_N, :2]
    box_N4 = np.concatenate([corner_N2, np.minimum(corner_N2 + rng.uniform(5, 90, (200, 2)), WINDOWS[view_N, 2:])], 1)
    boxes = ViewBoxes(box_N4, rng.uniform(0, 1, 200), rng.integers(0, 2, 200), view_N)
    expected = merge_views(boxes, WINDOWS, (160, 100))
    monkeypatch.setattr(tile_merging, "_AT_A_TIME", 3)
    result = merge_views(boxes, WINDOWS, (160, 100))
    np.testing.assert_array_equal(result.box_N4, expected.box_N4)
    np.testing.assert_array_equal(result.score_N, expected.score_N)
