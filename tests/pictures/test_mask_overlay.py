"""Masks on a picture: only their pixels change, the picture shows through, each has its box's colour."""

import dataclasses
import tracemalloc

import numpy as np
import PIL.Image
import pytest

from groundling.pictures import drawing
from groundling.structures.detections import Detections
from groundling.structures.masks import Masks

SIZE = (320, 240)


def build(masks, label_ids=None, size=SIZE):
    """Detections whose boxes are far from their masks, in the bottom right corner."""
    masks = np.asarray(masks, bool).reshape(-1, size[1], size[0])
    count = len(masks)
    boxes = np.tile([size[0] - 12.0, size[1] - 12, size[0] - 2, size[1] - 2], (count, 1))
    ids = [0] * count if label_ids is None else label_ids
    return Detections(boxes, [0.5] * count, ids, ["a", "b", "c"], size, masks=Masks.from_array(masks, size))


def block(left, top, right, bottom, size=SIZE):
    mask = np.zeros((size[1], size[0]), bool)
    mask[top:bottom, left:right] = True
    return mask


def painted(found, picture):
    """Return where masks changed the picture."""
    bare = dataclasses.replace(found, masks=None, mask_scores=None)
    return (np.asarray(found.draw(picture)) != np.asarray(bare.draw(picture))).any(axis=2)


def test_no_masks_and_empty_masks_change_nothing():
    picture = PIL.Image.new("RGB", SIZE, "gray")
    assert build([]).draw(picture).tobytes() == picture.tobytes()
    assert not painted(build([block(0, 0, 0, 0)]), picture).any()


@pytest.mark.parametrize(
    "mask",
    [
        pytest.param(block(7, 9, 8, 10), id="one pixel"),
        pytest.param(block(5, 5, 6, 60), id="a line"),
        pytest.param(block(50, 30, 120, 90), id="block"),
        pytest.param(block(50, 30, 120, 90) & ~block(70, 50, 90, 70), id="hole"),
        pytest.param(block(0, 0, 60, 60) | block(100, 0, 160, 60), id="two parts at the edge"),
    ],
)
@pytest.mark.parametrize("color", ["black", "gray", "white"])
def test_the_pixels_of_the_mask_are_painted(mask, color):
    changed = painted(build([mask]), PIL.Image.new("RGB", SIZE, color))
    np.testing.assert_array_equal(changed, mask)


def test_the_picture_shows_through():
    stripes = np.zeros((240, 320, 3), np.uint8)
    stripes[:, ::2] = 255
    drawn = np.asarray(build([block(50, 50, 150, 150)]).draw(PIL.Image.fromarray(stripes))).astype(int)
    assert np.abs(drawn[100, 100] - drawn[100, 101]).min() > 100


def test_mask_line_and_box_have_one_colour():
    found = build([block(20, 20, 60, 60), block(100, 20, 140, 60)], label_ids=[1, 2])
    drawn = found.draw(PIL.Image.new("RGB", SIZE))
    for label_id, left in ((1, 20), (2, 100)):
        color = np.frombuffer(bytes.fromhex(drawing.color_hex(label_id)[1:]), np.uint8)
        assert np.array_equal(drawn.getpixel((left, 40)), color)  # the line around
        assert np.array_equal(drawn.getpixel((left + 20, 40)), np.rint(color * 0.35).astype(int))
    tracked = dataclasses.replace(found, track_ids=[7, 7]).draw(PIL.Image.new("RGB", SIZE))
    assert tracked.getpixel((40, 40)) == tracked.getpixel((120, 40))


def test_a_small_mask_is_seen_on_a_large_one():
    small, large = block(40, 40, 60, 60), block(10, 10, 200, 200)
    both = build([small, large], label_ids=[0, 1]).draw(PIL.Image.new("RGB", SIZE))
    other = build([large, small], label_ids=[1, 0]).draw(PIL.Image.new("RGB", SIZE))
    assert both.getpixel((50, 50)) == other.getpixel((50, 50)) != both.getpixel((100, 100))


def test_many_masks_are_not_held_at_once():
    size, count = (1000, 800), 100
    one = Masks.from_array(block(10, 10, 60, 60, size)[None])
    boxes = np.tile([10.0, 10, 60, 60], (count, 1))
    masks = Masks.joined([one] * count, size)
    found = Detections(boxes, [0.5] * count, [0] * count, ["a"], size, masks=masks)
    picture = PIL.Image.new("RGB", size)
    tracemalloc.start()
    found.draw(picture)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 0.5 * count * size[0] * size[1]  # bytes that the masks would take together
