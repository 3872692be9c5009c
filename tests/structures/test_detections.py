"""The result object: what it accepts, how it is indexed, and that it survives every trip unchanged."""

import copy
import pickle
import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from groundling.errors import ConfigError, DatasetError, PromptError
from groundling.structures.detections import Detection, Detections


def build(**changes):
    values = {
        "boxes_xyxy": [[1.5, 2, 30, 40], [5, 6, 7, 8], [0, 0, 64, 48]],
        "scores": [0.25, 0.9, 0.5],
        "label_ids": [1, 0, 1],
        "labels": ["a cat", "a remote control"],
        "image_wh": (64, 48),
        "label_scores": [[0.1, 0.25], [0.9, 0.2], [0.0, 0.5]],
        "source": "desk.jpg",
    }
    return Detections(**{**values, **changes})


def build_empty(**changes):
    values = {
        "boxes_xyxy": np.zeros((0, 4)),
        "scores": [],
        "label_ids": [],
        "labels": ["a cat", "a remote control"],
        "image_wh": (64, 48),
    }
    return Detections(**{**values, **changes})


def test_nothing_found():
    empty = build_empty()
    assert len(empty) == 0
    assert list(empty) == []
    assert not empty
    assert empty.boxes_xyxy.shape == (0, 4)
    assert (empty.boxes_xyxy.dtype, empty.scores.dtype, empty.label_ids.dtype) == (np.float32, np.float32, np.int64)
    assert repr(empty) == "Detections(0 in 64x48)"
    assert empty.above(0.5) == empty.best() == empty.only("a cat") == empty[[]] == empty[:] == empty


def test_fields_are_typed_read_only_copies():
    boxes = np.array([[1.0, 2, 3, 4]])
    found = build(boxes_xyxy=boxes, scores=[1], label_ids=np.array([0], np.uint8), label_scores=None)
    boxes[:] = 9
    assert found.boxes_xyxy.tolist() == [[1, 2, 3, 4]]
    assert found.labels == ("a cat", "a remote control")
    for array in (found.boxes_xyxy, found.scores, found.label_ids):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0
    with pytest.raises(AttributeError):
        found.scores = None  # type: ignore[misc]


def test_torch_tensors_are_accepted():
    found = build(
        boxes_xyxy=torch.tensor([[1, 2, 3, 4.0]]),
        scores=torch.tensor([0.5]),
        label_ids=torch.tensor([1]),
        label_scores=torch.tensor([[0.1, 0.5]]),
    )
    assert found[0] == Detection((1.0, 2.0, 3.0, 4.0), "a remote control", 1, 0.5)


def test_items_in_order():
    found = build()
    assert [item.label for item in found] == ["a remote control", "a cat", "a remote control"]
    assert found[0].box_xyxy == (1.5, 2.0, 30.0, 40.0)
    assert found[-1] == found[2] == found[np.int64(2)] == list(found)[2]


@pytest.mark.parametrize(
    ("index", "kept"),
    [
        pytest.param([], [], id="empty"),
        pytest.param(slice(0, 0), [], id="empty slice"),
        pytest.param(np.zeros(3, bool), [], id="nothing in mask"),
        pytest.param(slice(1, None), [1, 2], id="slice"),
        pytest.param([2, 0], [2, 0], id="list"),
        pytest.param(np.array([-1, -1], np.int32), [2, 2], id="array"),
        pytest.param([True, False, True], [0, 2], id="list of bools"),
        pytest.param(np.array([False, True, True]), [1, 2], id="mask"),
    ],
)
def test_many_indices_give_detections(index, kept):
    found = build()
    chosen = found[index]
    assert isinstance(chosen, Detections)
    assert list(chosen) == [found[row] for row in kept]
    assert chosen.label_scores.shape == (len(kept), 2)
    assert (chosen.labels, chosen.image_wh, chosen.source) == (found.labels, found.image_wh, found.source)


@pytest.mark.parametrize(
    ("index", "error", "message"),
    [
        pytest.param("boxes", TypeError, "slice, a boolean mask or a list of indices, got 'boxes'", id="word"),
        pytest.param(1.5, TypeError, "whole number", id="float"),
        pytest.param(True, TypeError, "whole number", id="bool"),
        pytest.param(None, TypeError, "whole number", id="none"),
        pytest.param([[0]], TypeError, "whole number", id="two axes"),
        pytest.param(3, IndexError, "no detection 3: there are 3", id="past the end"),
        pytest.param(-4, IndexError, "no detection -4", id="before the start"),
        pytest.param([0, 3], IndexError, "reach from 0 to 3, but there are 3", id="list past the end"),
        pytest.param([True], IndexError, "mask has 1 values, but there are 3", id="short mask"),
    ],
)
def test_bad_indices(index, error, message):
    with pytest.raises(error, match=message):
        build()[index]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param({"boxes_xyxy": []}, r"boxes_xyxy must have the shape \(N, 4\), but has \(0,\)", id="empty list"),
        pytest.param({"boxes_xyxy": [1, 2, 3, 4]}, r"boxes_xyxy .* \(N, 4\), but has \(4,\)", id="one flat box"),
        pytest.param({"boxes_xyxy": [[1, 2, 3]]}, r"but has \(1, 3\)", id="three numbers"),
        pytest.param({"boxes_xyxy": [[1, 2, 3, 4], [1]]}, "boxes_xyxy cannot be read as an array", id="ragged"),
        pytest.param({"scores": [0.5]}, r"scores must have the shape \(3,\), but has \(1,\)", id="few scores"),
        pytest.param(
            {"scores": [[0.5]] * 3}, r"scores must have the shape \(3,\), but has \(3, 1\)", id="score column"
        ),
        pytest.param({"scores": ["a"] * 3}, "scores must hold numbers", id="text scores"),
        pytest.param({"scores": [0.5, 1.5, 0]}, "between 0 and 1, but they reach from 0 to 1.5", id="logits"),
        pytest.param({"scores": [0.5, -0.5, 0]}, "between 0 and 1", id="negative score"),
        pytest.param({"scores": [0.5, float("nan"), 0]}, "scores holds NaN", id="nan score"),
        pytest.param({"boxes_xyxy": [[0, 0, float("inf"), 1]] * 3}, "boxes_xyxy holds NaN or inf", id="infinite box"),
        pytest.param(
            {"boxes_xyxy": [[0, 0, 1, 1], [5, 0, 4, 1], [0, 0, 1, 1]]}, r"boxes_xyxy\[1\] is \[5", id="inverted"
        ),
        pytest.param({"label_ids": [0, 2, 0]}, "holds 2, but there are 2 labels.*0 to 1", id="label past the end"),
        pytest.param({"label_ids": [0, -1, 0]}, "holds -1", id="negative label"),
        pytest.param({"label_ids": [0, 0.5, 0]}, "label_ids must hold integers", id="fraction"),
        pytest.param({"labels": "a cat"}, "labels must be a list of strings, got 'a cat'", id="labels as text"),
        pytest.param({"labels": [1, 2]}, "labels must be a list of strings", id="labels as numbers"),
        pytest.param({"image_wh": (0, 48)}, "at least 1 x 1", id="no width"),
        pytest.param({"image_wh": (64,)}, "two whole numbers", id="one side"),
        pytest.param({"image_wh": (64.5, 48)}, "two whole numbers", id="half a pixel"),
        pytest.param({"image_wh": None}, "two whole numbers", id="no size"),
        pytest.param({"label_scores": [[0.1]] * 3}, r"label_scores .* \(3, 2\), but has \(3, 1\)", id="one column"),
        pytest.param({"label_scores": [[0.1, 2]] * 3}, "label_scores must be between", id="label logits"),
        pytest.param({"track_ids": []}, r"track_ids must have the shape \(3,\)", id="no tracks"),
        pytest.param({"track_ids": [0, 1, -1]}, "track_ids holds -1, but track ids are 0 or more", id="lost track"),
        pytest.param({"track_ids": [0, 1, 0.5]}, "track_ids must hold integers", id="half a track"),
    ],
)
def test_bad_fields(changes, message):
    with pytest.raises(DatasetError, match=message):
        build(**changes)


def test_tracks_go_with_their_boxes():
    found = build(track_ids=[7, 3, 9])
    assert found.track_ids.dtype == np.int64
    assert not found.track_ids.flags.writeable
    assert [item.track_id for item in found] == [7, 3, 9]
    assert found[1:].track_ids.tolist() == [3, 9]
    assert found.sorted().track_ids.tolist() == [3, 9, 7]
    assert found.above(0.4).track_ids.tolist() == [3, 9]
    assert found.only("a cat").track_ids.tolist() == [3]
    assert found[[]].track_ids.tolist() == []
    assert found != build()
    assert build()[0].track_id is None
    assert found.to_supervision().tracker_id.tolist() == [7, 3, 9]
    assert build().to_supervision().tracker_id is None


def test_choosing():
    found = build()
    assert found.above(0.25).scores.tolist() == pytest.approx([0.9, 0.5])
    assert found.above(np.float32(0.25)) == found.above(np.float64(0.25)) == found.above(0.25)
    assert found.only("a cat").label_ids.tolist() == [0]
    assert found.only() == build_empty(label_scores=np.zeros((0, 2)), source="desk.jpg")
    assert found.only("a cat", "a remote control") == found
    assert found.sorted().scores.tolist() == pytest.approx([0.9, 0.5, 0.25])
    assert found.best()[0] == found[1]
    assert len(found.best(0)) == 0
    assert len(found.best(10)) == 3


def test_equal_scores_keep_their_order():
    found = build(scores=[0.5, 0.5, 0.5], label_scores=None)
    assert found.sorted() == found


def test_one_name_given_twice_means_both():
    found = build(labels=["cat", "cat"])
    assert found.only("cat") == found


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        pytest.param(lambda d: d.above(1.5), ConfigError, "threshold must be between 0 and 1, got 1.5", id="threshold"),
        pytest.param(lambda d: d.above(float("nan")), ConfigError, "got nan", id="nan"),
        pytest.param(lambda d: d.above("0.3"), ConfigError, "threshold must be .* got '0.3'", id="text"),
        pytest.param(lambda d: d.above(None), ConfigError, "threshold must be .* got None", id="none"),
        pytest.param(lambda d: d.only("Cat"), PromptError, "'Cat' is not one of the labels: 'a cat', ", id="label"),
        pytest.param(lambda d: d.best(-1), ConfigError, "count must be 0 or more, got -1", id="count"),
    ],
)
def test_bad_choices(call, error, message):
    with pytest.raises(error, match=message):
        call(build())


def test_equality_is_by_value():
    assert build() == build()
    assert build() != build(source=None)
    assert build() != build(label_scores=None)
    assert build(label_scores=None) != build()
    assert build() != build(image_wh=(64, 49))
    assert build() != "detections"
    with pytest.raises(TypeError, match="unhashable"):
        hash(build())


@pytest.mark.parametrize(
    "found",
    [
        pytest.param(build_empty(), id="empty"),
        pytest.param(build_empty(track_ids=[]), id="empty and tracked"),
        pytest.param(build(), id="three"),
        pytest.param(build(track_ids=[2**40, 0, 5]), id="tracked"),
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
    assert not back.boxes_xyxy.flags.writeable


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0, 1, width=32), min_size=4, max_size=4), st.text(min_size=1), st.none() | st.text())
def test_json_is_exact(values, label, source):
    left, top, width, height = values
    found = Detections(
        [[left, top, left + width, top + height]], [values[0]], [0], [label], (3, 5), [[values[1]]], source
    )
    text = found.to_json()
    assert "\n" not in text
    assert Detections.from_json(text) == found


def test_json_of_nothing_found_keeps_the_width_of_label_scores():
    empty = build_empty(label_scores=np.zeros((0, 2)))
    assert Detections.from_json(empty.to_json()).label_scores.shape == (0, 2)


def test_dict_is_for_people():
    value = build().to_dict()
    assert value["labels"] == ["a cat", "a remote control"]
    assert (value["width"], value["height"], value["source"]) == (64, 48, "desk.jpg")
    assert value["detections"][1] == {"label": "a cat", "label_id": 0, "score": 0.9, "box_xyxy": [5.0, 6.0, 7.0, 8.0]}


def test_only_what_was_tracked_has_track_ids_in_its_dict():
    assert [item["track_id"] for item in build(track_ids=[7, 3, 9]).to_dict()["detections"]] == [7, 3, 9]
    assert not any("track_id" in item for item in build().to_dict()["detections"])


def test_repr_names_the_first_three():
    assert repr(build()) == (
        "Detections(3 in 64x48 'desk.jpg': 'a remote control' 0.25 at (2, 2, 30, 40); 'a cat' 0.90 at (5, 6, 7, 8); "
        "'a remote control' 0.50 at (0, 0, 64, 48))"
    )
    assert repr(build()[[0, 1, 2, 0]]).endswith("; 1 more)")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(lambda v: v.clear(), "must be an object with the keys source, .*got \\[\\]", id="empty"),
        pytest.param(lambda v: v.pop("width"), "The dictionary must be an object with the keys", id="missing key"),
        pytest.param(lambda v: v.update(extra=1), "extra", id="unknown key"),
        pytest.param(lambda v: v.update(detections="a"), "'detections' must be a list, got str", id="text"),
        pytest.param(lambda v: v["detections"][1].pop("score"), r"detections\[1\] must be", id="missing item key"),
        pytest.param(lambda v: v["detections"].append(3), r"detections\[3\] must be .* got int", id="number as item"),
        pytest.param(lambda v: v["detections"][0].update(label="dog"), "label_id 1 means 'a remote", id="wrong label"),
        pytest.param(lambda v: v["detections"][0].update(label_id=7), "label_ids holds 7", id="wrong id"),
        pytest.param(lambda v: v.update(labels=None), "labels must be a list", id="no labels"),
        pytest.param(lambda v: v["detections"][0].update(track_id=1), r"\[1\] has no 'track_id'", id="one track id"),
    ],
)
def test_bad_dicts(change, message):
    value = build().to_dict()
    change(value)
    with pytest.raises(DatasetError, match=message):
        Detections.from_dict(value)


@pytest.mark.parametrize("text", [pytest.param("", id="empty"), "{", "not json"])
def test_bad_json(text):
    with pytest.raises(DatasetError, match=re.escape("not valid JSON")):
        Detections.from_json(text)


@pytest.mark.parametrize("found", [pytest.param(build_empty(), id="empty"), pytest.param(build(), id="three")])
def test_supervision(found):
    converted = found.to_supervision()
    assert np.array_equal(converted.xyxy, found.boxes_xyxy)
    assert np.array_equal(converted.confidence, found.scores)
    assert np.array_equal(converted.class_id, found.label_ids)
    assert converted.data["class_name"].tolist() == [item.label for item in found]
    converted.xyxy[:] = 0  # the copy belongs to the caller
