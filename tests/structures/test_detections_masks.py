"""Masks in detections: they stay with their boxes wherever those go, and damage is named."""

import copy
import json
import pickle

import numpy as np
import pytest

from groundling.errors import DatasetError
from groundling.structures.detections import Detection, Detections
from groundling.structures.masks import Masks

SIZE = (64, 48)


def arrays():
    """A block, nothing, everything."""
    masks = np.zeros((3, 48, 64), bool)
    masks[0, 10:20, 6:26] = True
    masks[2] = True
    return masks


def build(**changes):
    values = {
        "boxes_xyxy": [[1.5, 2, 30, 40], [5, 6, 7, 8], [0, 0, 64, 48]],
        "scores": [0.25, 0.9, 0.5],
        "label_ids": [1, 0, 1],
        "labels": ["a cat", "a remote control"],
        "image_wh": SIZE,
        "masks": Masks.from_array(arrays()),
        "mask_scores": [0.7, 0.1, 0.8],
    }
    return Detections(**{**values, **changes})


EMPTY = {"boxes_xyxy": np.zeros((0, 4)), "scores": [], "label_ids": [], "masks": Masks((), SIZE), "mask_scores": []}


def test_nothing_found():
    empty = build(**EMPTY)
    assert empty == build(**{**EMPTY, "masks": None, "mask_scores": None}) == empty[:] == empty.sorted()
    assert len(empty.masks) == len(empty.mask_scores) == 0
    assert len(empty.tightened()) == len(build(**{**EMPTY, "masks": None, "mask_scores": None}).tightened()) == 0
    assert empty.resized((10, 10)).masks.image_wh == (10, 10)


@pytest.mark.parametrize(
    ("choose", "kept"),
    [
        pytest.param(lambda d: d[[]], [], id="empty"),
        pytest.param(lambda d: d[1:], [1, 2], id="slice"),
        pytest.param(lambda d: d[[2, 0]], [2, 0], id="list"),
        pytest.param(lambda d: d[np.array([False, True, True])], [1, 2], id="truth values"),
        pytest.param(lambda d: d.sorted(), [1, 2, 0], id="sorted"),
        pytest.param(lambda d: d.best(2), [1, 2], id="best"),
        pytest.param(lambda d: d.above(0.4), [1, 2], id="above"),
        pytest.param(lambda d: d.only("a remote control"), [0, 2], id="only"),
        pytest.param(lambda d: d.sorted().only("a remote control")[::-1], [0, 2], id="several"),
    ],
)
def test_masks_go_with_their_boxes(choose, kept):
    chosen = choose(build())
    np.testing.assert_array_equal(chosen.masks.to_array(), arrays()[kept])
    np.testing.assert_array_equal(chosen.mask_scores, np.float32([0.7, 0.1, 0.8])[kept])
    np.testing.assert_array_equal(chosen.boxes_xyxy, build().boxes_xyxy[kept])


def test_one_detection_has_its_mask_score():
    assert build()[0].mask_score == pytest.approx(0.7)
    assert build(mask_scores=None)[0].mask_score is None
    assert Detection._fields[-1] == "mask_score"
    assert not build().mask_scores.flags.writeable


@pytest.mark.parametrize(
    "found",
    [
        pytest.param(build(**EMPTY), id="empty"),
        pytest.param(build(), id="three"),
        pytest.param(build(mask_scores=None), id="masks alone"),
        pytest.param(build(track_ids=[3, 1, 2]), id="tracked"),
    ],
)
@pytest.mark.parametrize(
    "trip",
    [
        pytest.param(lambda d: pickle.loads(pickle.dumps(d)), id="pickle"),
        pytest.param(copy.deepcopy, id="deepcopy"),
        pytest.param(lambda d: Detections.from_dict(d.to_dict()), id="dict"),
        pytest.param(lambda d: Detections.from_json(d.to_json()), id="json"),
    ],
)
def test_round_trips(found, trip):
    back = trip(found)
    assert back == found
    assert len(back) == 0 or np.array_equal(back.masks.to_array(), found.masks.to_array())


def test_dict_holds_run_lengths_of_coco():
    items = json.loads(build().to_json())["detections"]
    assert [item["mask"]["size"] for item in items] == [[48, 64]] * 3
    assert Masks.from_coco([item["mask"] for item in items], SIZE) == build().masks
    assert [round(item["mask_score"], 6) for item in items] == [0.7, 0.1, 0.8]
    assert "mask_score" not in build(mask_scores=None).to_dict()["detections"][0]
    assert "mask" not in build(masks=None, mask_scores=None).to_dict()["detections"][0]


def test_equality():
    assert build() == build()
    assert build() != build(mask_scores=None)
    assert build() != build(masks=None, mask_scores=None)
    assert build() != build(masks=Masks.from_array(arrays()[::-1]))
    assert build() != build(mask_scores=[0.7, 0.1, 0.9])


def test_tightened():
    tight = build().tightened()
    assert tight.boxes_xyxy.tolist() == [[6, 10, 26, 20], [5, 6, 7, 8], [0, 0, 64, 48]]  # the empty one keeps its box
    assert tight.masks == build().masks
    np.testing.assert_array_equal(tight.scores, build().scores)
    assert tight.tightened() == tight


def test_resized():
    half = build().resized((32, 24))
    assert half.masks.image_wh == half.image_wh == (32, 24)
    assert half.masks.areas.tolist() == [50, 0, 32 * 24]
    assert half.masks.boxes_xyxy[0].tolist() == [3, 5, 13, 10]
    assert half.mask_scores.tolist() == build().mask_scores.tolist()


def test_supervision_has_the_masks():
    np.testing.assert_array_equal(build().to_supervision().mask, arrays())
    assert build(masks=None, mask_scores=None).to_supervision().mask is None
    assert build(**EMPTY).to_supervision().mask.shape == (0, 48, 64)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param(
            {**EMPTY, "masks": Masks.from_array(arrays()[:1])}, "There are 1 masks .* for 0 boxes", id="empty"
        ),
        pytest.param({"masks": None}, "There are mask_scores, but no masks", id="scores alone"),
        pytest.param({"masks": arrays()}, "masks must be Masks, got ndarray. Use Masks.from_array", id="array"),
        pytest.param({"masks": Masks.from_array(arrays()[:2])}, "There are 2 masks .* for 3 boxes", id="too few"),
        pytest.param(
            {"masks": Masks.from_array(arrays().transpose(0, 2, 1))},
            "3 masks of 48 x 64 pixels for 3 boxes in a picture of 64 x 48",
            id="turned",
        ),
        pytest.param({"mask_scores": [0.5]}, r"mask_scores must have the shape \(3,\)", id="too few scores"),
        pytest.param({"mask_scores": [0.5, 2, 0]}, "mask_scores must be between 0 and 1", id="no score"),
    ],
)
def test_bad_masks(changes, message):
    with pytest.raises(DatasetError, match=message):
        build(**changes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(lambda items: items[0].update(mask={}), "Mask 0 must have 'size' and 'counts'", id="empty"),
        pytest.param(lambda items: items[1].pop("mask"), "mask", id="one without"),
        pytest.param(lambda items: items[2]["mask"].update(counts="~~"), "run lengths of mask 2 are damaged", id="cut"),
        pytest.param(lambda items: items[2]["mask"].update(size=[64, 48]), "Mask 2 has the size", id="turned"),
        pytest.param(lambda items: items[0].update(mask_score="good"), "mask_score", id="score in words"),
    ],
)
def test_bad_dicts(change, message):
    value = build().to_dict()
    change(value["detections"])
    with pytest.raises(DatasetError, match=message):
        Detections.from_dict(value)
