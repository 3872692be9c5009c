"""Masks as run lengths: what COCO's tools say of them, rows that stay themselves, and damage that is named."""

import copy
import pickle
import tracemalloc
from unittest import mock

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from pycocotools import mask as coco

import groundling.structures.masks
from groundling.errors import DatasetError
from groundling.structures.masks import Masks

SIZE = (5, 3)

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools, numpy 2


def three():
    """A block, nothing, everything."""
    array = np.zeros((3, 3, 5), bool)
    array[0, 1:3, 1:4] = True
    array[2] = True
    return array


def coco_counts(mask):
    return coco.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()


def test_no_masks():
    empty = Masks.from_array([], SIZE)
    assert (len(empty), list(empty), empty.image_wh) == (0, [], SIZE)
    assert empty.to_array().shape == (0, 3, 5)
    assert empty.to_coco() == []
    assert (empty.areas.shape, empty.boxes_xyxy.shape) == ((0,), (0, 4))
    assert empty.iou(empty).shape == (0, 0)
    assert empty.iou(Masks.from_array(three())).shape == (0, 3)
    assert Masks.from_array(three()).iou(empty).shape == (3, 0)
    assert empty == Masks.joined([], SIZE) == Masks.from_coco([], SIZE) == Masks.from_array(np.zeros((0, 3, 5)))
    assert empty.resized((10, 6)) == Masks((), (10, 6))
    assert repr(empty) == "Masks(0 in 5x3)"


@settings(max_examples=30, deadline=None)
@given(arrays(np.bool_, array_shapes(min_dims=3, max_dims=3, max_side=9)))
def test_run_lengths_are_those_of_coco(array):
    masks = Masks.from_array(array)
    np.testing.assert_array_equal(masks.to_array(), array)
    assert [item["counts"] for item in masks.to_coco()] == [coco_counts(mask) for mask in array]
    np.testing.assert_array_equal(coco.decode(masks.to_coco()).transpose(2, 0, 1), array)
    np.testing.assert_array_equal(masks.areas, coco.area(masks.to_coco()))
    left, top, width, height = coco.toBbox(masks.to_coco()).T
    some = array.any(axis=(1, 2))
    np.testing.assert_array_equal(masks.boxes_xyxy[some], np.stack([left, top, left + width, top + height], 1)[some])
    assert Masks.from_coco(masks.to_coco(), masks.image_wh) == masks


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(1, 5), st.integers(1, 100))
def test_iou_is_that_of_coco(seed, count, other_count, at_once):
    rng = np.random.default_rng(seed)
    first, second = (rng.random((n, 7, 6)) < rng.random((n, 1, 1)) ** 2 for n in (count, other_count))
    masks, others = Masks.from_array(first), Masks.from_array(second)
    expected = coco.iou(masks.to_coco(), others.to_coco(), [0] * other_count)
    both_empty = (masks.areas[:, None] + others.areas[None]) == 0
    with mock.patch.object(groundling.structures.masks, "MOST_PIXELS", at_once):
        np.testing.assert_allclose(masks.iou(others), np.where(both_empty, 0, expected), atol=1e-12)


@pytest.mark.parametrize("size", [8, 499])
def test_comparing_many_masks_holds_a_few_of_them_at_a_time(monkeypatch, size):
    monkeypatch.setattr(groundling.structures.masks, "MOST_PIXELS", 2 * 500 * 500)
    drawn = np.zeros((60, 500, 500), bool)
    for row, mask in enumerate(drawn):
        mask[row : row + size, :size] = True
    masks = Masks.from_array(drawn)
    del drawn, mask
    tracemalloc.start()
    masks.iou(masks)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 10 * 500 * 500  # of 60


@pytest.mark.parametrize("kind", [bool, np.uint8, np.int64, np.float32, list])
def test_what_is_above_0_is_inside(kind):
    array = three().tolist() if kind is list else three().astype(kind) * 200
    assert Masks.from_array(array) == Masks.from_array(three())
    assert Masks.from_array(np.array([[[-1.0, 0.0, 0.5]]])).to_array().tolist() == [[[False, False, True]]]


def test_the_first_mask_says_how_large_the_picture_is():
    masks = Masks.from_array(three())
    assert Masks.from_coco(masks.to_coco()) == masks
    with pytest.raises(DatasetError, match=r"how large the picture is\. Give image_wh"):
        Masks.from_coco([])
    with pytest.raises(DatasetError, match="two"):
        Masks.from_coco([{"size": [3], "counts": "0"}])


def test_run_lengths_as_lists_and_bytes():
    lists = [{"size": [3, 5], "counts": [4, 2, 1, 2, 1, 2, 3]}]
    packed = [{"size": [3, 5], "counts": coco_counts(three()[0]).encode()}]
    assert Masks.from_coco(lists, SIZE) == Masks.from_coco(packed, SIZE) == Masks.from_array(three()[:1])


def test_reading():
    masks = Masks.from_array(three())
    assert masks[0].dtype == bool
    np.testing.assert_array_equal(masks[-1], np.ones((3, 5)))
    np.testing.assert_array_equal(list(masks), three())
    assert masks.areas.tolist() == [6, 0, 15]
    assert masks.boxes_xyxy.tolist() == [[1, 1, 4, 3], [0, 0, 0, 0], [0, 0, 5, 3]]
    left, top, part = masks.crop(0)
    assert (left, top, part.tolist()) == (1, 1, [[True] * 3] * 2)
    assert masks.crop(1)[2].shape == (0, 0)
    with pytest.raises(ValueError, match="read-only"):
        masks.areas[0] = 1


@pytest.mark.parametrize(
    ("index", "kept"),
    [
        pytest.param([], [], id="empty"),
        pytest.param(slice(None), [0, 1, 2], id="all"),
        pytest.param(slice(None, None, -1), [2, 1, 0], id="backwards"),
        pytest.param([2, 0, 2], [2, 0, 2], id="list"),
        pytest.param([-1], [2], id="from the end"),
        pytest.param([True, False, True], [0, 2], id="truth values"),
        pytest.param(np.array([1]), [1], id="array"),
    ],
)
def test_rows(index, kept):
    chosen = Masks.from_array(three())[index]
    assert chosen.image_wh == SIZE
    np.testing.assert_array_equal(chosen.to_array(), three()[kept])


@pytest.mark.parametrize(
    ("index", "error", "message"),
    [
        pytest.param(3, IndexError, "There is no mask 3: there are 3", id="number"),
        pytest.param(-4, IndexError, "There is no mask -4", id="negative"),
        pytest.param([3], IndexError, "reach from 3 to 3", id="list"),
        pytest.param([True], IndexError, "has 1 values", id="truth values"),
        pytest.param("0", TypeError, "indexed by a whole number", id="text"),
    ],
)
def test_bad_rows(index, error, message):
    with pytest.raises(error, match=message):
        Masks.from_array(three())[index]


@pytest.mark.parametrize("trip", [copy.deepcopy, lambda masks: pickle.loads(pickle.dumps(masks))])
def test_copies_are_equal(trip):
    masks = Masks.from_array(three())
    assert masks.areas.sum() == 21
    assert trip(masks) == masks
    assert hash(trip(masks)) == hash(masks)
    np.testing.assert_array_equal(trip(masks).boxes_xyxy, masks.boxes_xyxy)
    assert masks != masks[:2]
    assert masks[:1] != Masks.from_array(three()[:1].transpose(0, 2, 1))
    assert Masks((), SIZE) != Masks((), (3, 5))


def test_joining():
    masks = Masks.from_array(three())
    assert Masks.joined([masks[:1], masks[:0], masks[1:]], SIZE) == masks
    with pytest.raises(DatasetError, match=r"Masks of \(5, 3\) and \(3, 5\) pixels cannot stand together"):
        Masks.joined([masks], (3, 5))
    with pytest.raises(DatasetError, match=r"Masks of \(5, 3\) and \(9, 9\) pixels cannot be compared"):
        masks.iou(Masks((), (9, 9)))


@pytest.mark.parametrize("size", [(80, 60), (320, 240), (100, 61), (33, 200)])
def test_another_size_has_the_same_shapes(size):
    drawn = np.zeros((2, 120, 160), np.uint8)
    cv2.circle(drawn[0], (60, 60), 40, 1, -1)
    cv2.ellipse(drawn[1], (120, 50), (30, 45), 20, 0, 360, 1, -1)
    masks = Masks.from_array(drawn).resized(size)
    assert masks.image_wh == size
    scale = np.array(size) / (160, 120)
    again = Masks.from_array([cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST) for mask in drawn])
    assert np.diag(masks.iou(again)).min() > 0.93
    expected = Masks.from_array(drawn).boxes_xyxy * np.tile(scale, 2)
    np.testing.assert_allclose(masks.boxes_xyxy, expected, atol=1 + scale.max())


def test_there_and_back():
    masks = Masks.from_array(three())
    assert masks.resized(SIZE) is masks
    assert masks.resized((20, 12)).resized(SIZE) == masks
    with pytest.raises(DatasetError, match="at least 1 x 1"):
        masks.resized((0, 4))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        pytest.param(lambda: Masks.from_array([]), r"shape \[N, H, W\], but are float64 \(0,\)", id="empty"),
        pytest.param(lambda: Masks.from_array(np.zeros((3, 5))), r"but are float64 \(3, 5\)", id="one mask"),
        pytest.param(lambda: Masks.from_array([[["a"]]]), "must be numbers", id="letters"),
        pytest.param(lambda: Masks.from_array(three(), (3, 5)), "have 5 x 3 pixels, but the picture has 3 x 5", id="x"),
        pytest.param(lambda: Masks((), (0, 3)), "at least 1 x 1", id="no width"),
        pytest.param(lambda: Masks.from_array([[[1]], [[1, 2]]]), "cannot be read as an array", id="ragged"),
        pytest.param(lambda: Masks((), (float("inf"), 3)), "must be two whole numbers", id="infinite width"),
        pytest.param(lambda: Masks(None, SIZE), "must be strings", id="no counts"),
        pytest.param(lambda: Masks("04", SIZE), "must be strings", id="one text"),
        pytest.param(lambda: Masks.from_coco(None, SIZE), "must be a list of objects .* got None", id="no items"),
        pytest.param(lambda: Masks.from_coco({"size": [3, 5]}, SIZE), "must be a list of objects", id="one item"),
        pytest.param(lambda: Masks.joined([None], SIZE), "Only Masks can be joined, got NoneType", id="joined"),
        pytest.param(lambda: Masks((), SIZE).iou(None), "with Masks only, got NoneType", id="compared with nothing"),
        pytest.param(lambda: Masks((), SIZE).iou(three()), "with Masks only, got ndarray", id="compared with an array"),
        pytest.param(lambda: Masks((b"04",), SIZE), "must be strings. Use Masks.from_array", id="bytes"),
    ],
)
def test_bad_arrays(make, message):
    with pytest.raises(DatasetError, match=message):
        make()


@pytest.mark.parametrize(
    ("item", "message"),
    [
        pytest.param({}, "Mask 1 must have 'size' and 'counts', got {}", id="empty"),
        pytest.param([[1, 2, 3, 4, 5, 6]], "Mask 1 must have 'size' and 'counts'", id="polygon"),
        pytest.param(None, "Mask 1 must have 'size' and 'counts', got None", id="none"),
        pytest.param({"size": [5, 3], "counts": "0?"}, r"Mask 1 has the size .* \[5, 3\]", id="turned size"),
        pytest.param({"size": "large", "counts": "0?"}, "Mask 1 must have", id="size in words"),
        pytest.param({"size": [float("inf"), 5], "counts": "0?"}, r"two whole numbers.* got \[inf, 5\]", id="infinite"),
        pytest.param({"size": ["3", "5"], "counts": "0?"}, "two whole numbers", id="size as text"),
        pytest.param({"size": [3.9, 5.2], "counts": "0?"}, "two whole numbers", id="size of fractions"),
        pytest.param({"size": None, "counts": "0?"}, "two whole numbers", id="no size"),
        pytest.param({"size": [3, 5], "counts": [True, 14]}, "run lengths of mask 1 are damaged", id="truth values"),
        pytest.param(
            {"size": [3, 5], "counts": [7, 8.5]}, r"whole numbers, 0 or more, got \[7, 8.5\]", id="a fraction"
        ),
        pytest.param({"size": [3, 5], "counts": [10**30]}, "run lengths of mask 1 are damaged", id="huge"),
        pytest.param({"size": [3, 5], "counts": ""}, "run lengths of mask 1 are damaged", id="no counts"),
        pytest.param({"size": [3, 5], "counts": [4, 2]}, "run lengths of mask 1 are damaged", id="too short"),
        pytest.param({"size": [3, 5], "counts": [4, 200]}, "run lengths of mask 1 are damaged", id="too long"),
        pytest.param({"size": [3, 5], "counts": [20, -5]}, "run lengths of mask 1 are damaged", id="negative"),
        pytest.param({"size": [3, 5], "counts": [0, 7.5, 7.5]}, "run lengths of mask 1 are damaged", id="fractions"),
        pytest.param({"size": [3, 5], "counts": "~~~~~~"}, "run lengths of mask 1 are damaged", id="no such letters"),
        pytest.param({"size": [3, 5], "counts": "é"}, "run lengths of mask 1 are damaged", id="no ASCII"),
        pytest.param({"size": [3, 5], "counts": None}, "run lengths of mask 1 are damaged", id="no run lengths"),
        pytest.param({"size": [3, 5], "counts": 15}, "run lengths of mask 1 are damaged", id="a number"),
    ],
)
def test_damaged_run_lengths(item, message):
    good = {"size": [3, 5], "counts": coco_counts(three()[0])}
    with pytest.raises(DatasetError, match=message):
        Masks.from_coco([good, item], SIZE)


def test_a_damaged_mask_is_named_when_it_is_read():
    masks = Masks((coco_counts(three()[0]), "PPYo1", coco_counts(three()[2])), SIZE)
    assert masks[0].sum() == 6
    with pytest.raises(DatasetError, match="mask 1 are damaged or belong to another picture than one of 5 x 3"):
        masks[1]
