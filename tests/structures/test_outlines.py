"""Outlines: what COCO's tools, and others that fill polygons, make of them is the mask they were traced from."""

import cv2
import numpy as np
import PIL.Image
import PIL.ImageDraw
import pytest
import supervision
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from matplotlib.path import Path
from pycocotools import mask as coco

from groundling.data.scenes.generator import make_scene
from groundling.errors import ConfigError, DatasetError
from groundling.structures.outlines import joined_outline, outlines

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools, numpy 2


def filled(polygons, shape):
    """Return the mask that COCO's tools make of polygons."""
    flat = [polygon.ravel().tolist() for polygon in polygons]
    return coco.decode(coco.merge(coco.frPyObjects(flat, *shape))).astype(bool)


def iou(first, second):
    return (first & second).sum() / (first | second).sum()


def text_mask(*rows):
    return np.array([[letter == "#" for letter in row] for row in rows])


def disc(radius, size=90, hole=0):
    mask = np.zeros((size, size), np.uint8)
    cv2.circle(mask, (size // 2, size // 2), radius, 1, -1)
    if hole:
        cv2.circle(mask, (size // 2, size // 2), hole, 0, -1)
    return mask > 0


def moon(radius, size=90):
    mask = disc(radius, size).astype(np.uint8)
    cv2.circle(mask, (size // 2 + radius // 2, size // 2), radius, 0, -1)
    return mask > 0


def star(size, turn):
    angles = turn + np.arange(10) * np.pi / 5
    reach = np.where(np.arange(10) % 2, 0.2, 0.5) * size
    points = np.stack([np.cos(angles), np.sin(angles)], axis=1) * reach[:, None] + size / 2
    mask = np.zeros((size + 2, size + 2), np.uint8)
    cv2.fillPoly(mask, [np.rint(points).astype(np.int32)], 1)
    return mask > 0


DRAWN = [
    pytest.param(text_mask("#"), id="one pixel is all"),
    pytest.param(text_mask("...", ".#.", "..."), id="one pixel"),
    pytest.param(text_mask("#..", "...", "..#"), id="two corners"),
    pytest.param(text_mask("###", "###"), id="everything"),
    pytest.param(text_mask("###", "#.#", "###"), id="smallest ring"),
    pytest.param(text_mask(".#.", "#.#", ".#."), id="ring of corners"),
    pytest.param(text_mask("#..", ".#.", "..#"), id="diagonal"),
    pytest.param(text_mask("#####", "#.#.#", "#####", "#.#.#", "#####"), id="window"),
    pytest.param(text_mask("#####", "#...#", "#.#.#", "#...#", "#####"), id="a part in a hole"),
    pytest.param(text_mask("##.##", "##.##", "..#..", "##.##", "##.##"), id="parts that touch at corners"),
    pytest.param(text_mask("....#", "....#", "#####"), id="hook"),
    *(pytest.param(disc(radius), id=f"disc {radius}") for radius in (2, 3, 5, 10, 40)),
    *(pytest.param(disc(radius, hole=radius // 2), id=f"ring {radius}") for radius in (3, 5, 10, 40)),
    *(pytest.param(moon(radius), id=f"moon {radius}") for radius in (3, 5, 10, 40)),
    *(pytest.param(star(size, turn), id=f"star {size} {turn}") for size in (8, 20, 80) for turn in (0, 0.3)),
    pytest.param(disc(40, hole=32) | disc(24, hole=16) | disc(8), id="rings in rings"),
    pytest.param(np.roll(disc(20), 40, axis=1), id="cut by the picture's edges"),
]


@pytest.mark.parametrize("mask", DRAWN)
def test_coco_gives_the_mask_back(mask):
    np.testing.assert_array_equal(filled(outlines(mask), mask.shape), mask)
    np.testing.assert_array_equal(filled([joined_outline(mask)], mask.shape), mask)


@settings(max_examples=60, deadline=None)
@given(arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, max_side=14)), st.sampled_from([1, 2, 5]))
def test_coco_gives_any_mask_back(mask, scale):
    mask = mask.repeat(scale, axis=0).repeat(scale, axis=1)
    if not mask.any():
        assert outlines(mask) == []
        assert joined_outline(mask) is None
        return
    np.testing.assert_array_equal(filled(outlines(mask), mask.shape), mask)
    np.testing.assert_array_equal(filled([joined_outline(mask)], mask.shape), mask)


@pytest.mark.parametrize("size", [64, 224])
def test_coco_gives_scenes_back(size):
    masks = [mask for number in range(4) for mask in make_scene(0, number, size=size).masks]
    assert len(masks) > 5
    for mask in masks:
        np.testing.assert_array_equal(filled(outlines(mask), mask.shape), mask)


def test_nothing_has_no_outline():
    assert outlines(np.zeros((4, 5), bool)) == []
    assert outlines(np.zeros((0, 5), bool)) == []
    assert joined_outline(np.zeros((4, 5), bool)) is None


def test_a_polygon_for_each_part():
    (one,) = outlines(text_mask("....", ".##.", ".##."))
    assert one.dtype == np.float32
    assert sorted(one.tolist()) == [[1, 1], [1, 3], [3, 1], [3, 3]]  # the edges of the pixels, nothing in between
    assert len(outlines(text_mask("#.#", "...", "#.#"))) == 4
    assert len(outlines(text_mask("#.#", ".#.", "#.#"))) == 1
    assert len(outlines(disc(40, hole=32) | disc(24, hole=16) | disc(8))) == 3
    reach = np.concatenate(outlines(np.ones((3, 7), bool)))
    assert (reach.min(axis=0).tolist(), reach.max(axis=0).tolist()) == ([0, 0], [7, 3])


@pytest.mark.parametrize("mask", DRAWN)
def test_centres_of_pixels_lie_inside(mask):
    centres = np.argwhere(np.ones_like(mask))[:, ::-1] + 0.5
    inside = np.zeros(mask.size, bool)
    for polygon in outlines(mask):
        inside |= Path(np.concatenate([polygon, polygon[:1]])).contains_points(centres)
    np.testing.assert_array_equal(inside.reshape(mask.shape), mask)


def filled_by_opencv(polygons, shape):
    mask = np.zeros(shape, np.uint8)
    for polygon in polygons:
        cv2.fillPoly(mask, [np.rint(polygon).astype(np.int32)], 1)
    return mask > 0


def filled_by_pillow(polygons, shape):
    mask = PIL.Image.new("1", shape[::-1])
    for polygon in polygons:
        PIL.ImageDraw.Draw(mask).polygon([tuple(point) for point in polygon.tolist()], fill=1)
    return np.asarray(mask)


def filled_by_supervision(polygons, shape):
    masks = [supervision.polygon_to_mask(polygon.astype(int), shape[::-1]) for polygon in polygons]
    return np.any(masks, axis=0)


@pytest.mark.parametrize("fill", [filled_by_opencv, filled_by_pillow, filled_by_supervision])
@pytest.mark.parametrize("mask", DRAWN)
def test_others_add_a_line_on_the_right_and_at_the_bottom(mask, fill):
    grown = cv2.dilate(np.pad(mask.astype(np.uint8), 1), np.ones((2, 2), np.uint8), anchor=(1, 1))[1:-1, 1:-1] > 0
    got = fill(outlines(mask), mask.shape)
    assert not (mask & ~got).any()
    assert not (got & ~grown).any()


@pytest.mark.parametrize("tolerance", [0.5, 1, 2, 5])
def test_tolerance_saves_points(tolerance):
    mask = disc(100, size=240, hole=50)
    (exact,), (rough,) = outlines(mask), outlines(mask, tolerance=tolerance)
    assert len(rough) < len(exact)
    assert iou(filled([rough], mask.shape), mask) >= 0.94


@pytest.mark.parametrize("tolerance", [1, 50])
def test_tolerance_leaves_something_of_small_things(tolerance):
    mask = text_mask("#....", ".....", "...##", "...##", ".....")
    polygons = outlines(mask, tolerance=tolerance)
    assert [polygon.shape[1] for polygon in polygons] == [2, 2]
    assert all(len(polygon) >= 3 for polygon in polygons)
    assert len(joined_outline(mask, tolerance=tolerance)) >= 6


def test_a_mask_like_noise_is_exact_too():
    mask = np.random.default_rng(0).random((48, 48)) < 0.4
    assert len(outlines(mask)) > 20
    np.testing.assert_array_equal(filled(outlines(mask), mask.shape), mask)
    np.testing.assert_array_equal(filled([joined_outline(mask)], mask.shape), mask)


@pytest.mark.parametrize(
    ("mask", "tolerance", "error", "message"),
    [
        pytest.param([], 0, DatasetError, r"shape \[H, W\], but has \(0,\)", id="empty"),
        pytest.param(np.zeros((1, 2, 3), bool), 0, DatasetError, r"but has \(1, 2, 3\)", id="several"),
        pytest.param(np.ones((2, 2), bool), -1, ConfigError, "0 pixels or more, got -1", id="negative"),
        pytest.param(np.ones((2, 2), bool), "1", ConfigError, "0 pixels or more, got '1'", id="text"),
        pytest.param(np.ones((2, 2), bool), float("nan"), ConfigError, "got nan", id="no number"),
    ],
)
def test_bad_input(mask, tolerance, error, message):
    for trace in (outlines, joined_outline):
        with pytest.raises(error, match=message):
            trace(mask, tolerance=tolerance)
