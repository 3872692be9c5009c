"""Outlines of YOLO data sets as masks: what is filled, what is refused, and what the writer wrote comes back."""

import sys

import numpy as np
import pytest
from pycocotools import mask as oracle

from data.small_sets import picture, text
from data.writers.test_masks import EMPTY, MASKS, SIZE, SOME, iou, one_without_masks, record, write
from groundling.data.check import check_dataset
from groundling.data.convert import convert_dataset
from groundling.data.open import open_dataset
from groundling.data.problems import Collected, Kind
from groundling.data.readers import rows
from groundling.data.readers.yolo import YoloRecords
from groundling.errors import DatasetError, MissingExtraError

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of pycocotools

WIDTH, HEIGHT = 40, 30
TRIANGLE = "0 0.25 0.1 0.5 0.2 0.25 0.4"
SQUARE = "1 0.5 0.5 0.75 0.5 0.75 0.8 0.5 0.8"


def folder(root, *lines, data="names: [dog, cat]\ntrain: images\nval: images\n"):
    text(root / "data.yaml", data)
    picture(root / "images" / "a.jpg", (WIDTH, HEIGHT))
    picture(root / "images" / "b.png", (32, 32))
    text(root / "labels" / "a.txt", "".join(f"{line}\n" for line in lines))
    return root


def filled(line):
    points = np.array(line.split()[1:], np.float64).reshape(-1, 2) * (WIDTH, HEIGHT)
    return oracle.decode(oracle.frPyObjects([points.ravel().tolist()], HEIGHT, WIDTH)[0]).astype(bool)


def test_a_line_is_a_mask_filled_as_the_other_library_fills_it(tmp_path):
    one, other = open_dataset(folder(tmp_path, TRIANGLE, SQUARE), masks=True)
    assert one.labels == ("dog", "cat")
    np.testing.assert_array_equal(one.masks.to_array(), [filled(TRIANGLE), filled(SQUARE)])
    assert (len(other.masks), other.masks.image_wh) == (0, (32, 32))


def test_boxes_are_the_same_with_masks_and_without(tmp_path):
    folder(tmp_path, TRIANGLE, SQUARE)
    (plain, _), (masked, _) = open_dataset(tmp_path), open_dataset(tmp_path, masks=True)
    assert plain.masks is None
    np.testing.assert_array_equal(plain.boxes_xyxy, masked.boxes_xyxy)
    np.testing.assert_array_equal(plain.positive_NL, masked.positive_NL)


@pytest.mark.parametrize(
    ("line", "same"),
    [
        pytest.param(f"{SQUARE} 0.87", SQUARE, id="score"),
        pytest.param("0 -0.5 -0.5 0.5 -0.5 0.5 0.5 -0.5 0.5", "0 0 0 0.5 0 0.5 0.5 0 0.5", id="reaches outside"),
    ],
)
def test_outlines_that_are_taken(tmp_path, line, same):
    (found,) = open_dataset(folder(tmp_path, line), masks=True)[0].masks
    np.testing.assert_array_equal(found, filled(same))


def test_what_is_left_out_as_a_box_has_no_mask(tmp_path):
    """Without area, and beside the picture: the masks of the others keep their places."""
    flat, beside = "0 0.1 0.1 0.2 0.1 0.3 0.1", "0 -0.3 0.1 -0.2 0.1 -0.2 0.4"
    one = open_dataset(folder(tmp_path, flat, TRIANGLE, beside, SQUARE), masks=True)[0]
    np.testing.assert_array_equal(one.masks.to_array(), [filled(TRIANGLE), filled(SQUARE)])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        pytest.param(
            "0 0.5 0.5 0.25 0.2", r"is a box without an outline, so it has no mask\. Write the outline", id="box"
        ),
        pytest.param(
            "0 0.5 0.5 0.25 0.2 0.9", r"or read boxes only: leave masks \(--masks\) out", id="box with a score"
        ),
        pytest.param("0 0.5 0.5 0.6 0.5 0.6 9", "is an outline that lies far outside the picture", id="far outside"),
        pytest.param("0 0.5 0.5 0.6 0.5 0.6 0.7 nan 0.5", "holds a number that is not finite", id="nan"),
    ],
)
def test_a_line_without_a_usable_mask_is_named(tmp_path, line, message):
    path = folder(tmp_path, TRIANGLE, line)
    with pytest.raises(DatasetError, match=rf"labels/a\.txt, line 2: .*{message}.*`groundling data check --masks`"):
        open_dataset(path, masks=True)
    problems = Collected()
    assert len(open_dataset(path, problems=problems, masks=True)[0].masks) == 1
    assert [(problem.kind, problem.spot) for problem in problems] == [(Kind.MASK, "line 2")]
    assert len(open_dataset(path)[0].boxes_xyxy) == 2  # who wants boxes only is not troubled


def test_key_points_are_no_outline(tmp_path):
    data = "names: [dog]\ntrain: images\nkpt_shape: [2, 2]\n"
    with pytest.raises(DatasetError, match="is a box without an outline"):
        open_dataset(folder(tmp_path, "0 0.5 0.5 0.25 0.2 0.1 0.1 0.9 0.9", data=data), masks=True)


def test_opening_fills_nothing_and_opens_no_picture(tmp_path, monkeypatch):
    """So that memory and time grow with the records that are asked for."""
    calls = []
    fill = rows.filled
    monkeypatch.setattr(rows, "filled", lambda *given: calls.append(given) or fill(*given))
    path = folder(tmp_path, TRIANGLE, SQUARE)
    text(path / "labels" / "b.txt", f"{TRIANGLE}\n")
    (path / "images" / "b.png").write_bytes(b"no picture")
    records = open_dataset(path, masks=True)
    assert calls == []
    assert len(records[0].masks) == len(calls) == 2


def test_outlines_need_a_package(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "faster_coco_eval.core", None)
    assert len(open_dataset(folder(tmp_path, TRIANGLE))[0].boxes_xyxy) == 1
    with pytest.raises(MissingExtraError, match=r"Reading masks that are polygons.*groundling\[eval\]"):
        open_dataset(tmp_path, masks=True)
    open_dataset(folder(tmp_path), masks=True)  # nothing is to be filled


def test_there_and_back(tmp_path):
    """What `label --format yolo --sam` and `convert --to yolo` write; a thing without a mask is its box."""
    out, _ = write(tmp_path, "yolo", record(tmp_path / "in" / "a.png"))
    (found,) = open_dataset(out, masks=True)
    assert len(found.masks) == len(MASKS)
    assert found.masks.image_wh == SIZE
    for row in SOME:
        assert iou(found.masks[row], MASKS[row]) > 0.99
    left, top, right, bottom = 10, 20, 40, 60
    assert found.masks[EMPTY][top:bottom, left:right].all()
    assert found.masks.areas[EMPTY] == 30 * 40
    assert check_dataset(out, masks=True) == []


def test_there_and_back_where_boxes_came_first(tmp_path):
    out, _ = write(tmp_path, "yolo", one_without_masks(tmp_path), record(tmp_path / "in" / "a.png", MASKS[:2]))
    masks = {found.key: found.masks for found in open_dataset(out, masks=True)}
    assert (len(masks["b.png"]), len(masks["a.png"])) == (len(MASKS), 2)
    assert iou(masks["a.png"][1], MASKS[1]) > 0.99


def test_convert_carries_them_on(tmp_path):
    out, _ = write(tmp_path, "yolo", record(tmp_path / "in" / "a.png", MASKS[SOME]))
    source = open_dataset(out, masks=True)
    assert convert_dataset(source, tmp_path / "coco", "coco").left_out == {}
    (again,) = open_dataset(tmp_path / "coco", masks=True)
    np.testing.assert_array_equal(again.masks.to_array(), source[0].masks.to_array())
    assert again.crowd_N.tolist() == [False] * len(SOME)
    assert again.partial == ()


def test_the_reader_by_itself(tmp_path):
    folder(tmp_path, TRIANGLE)
    assert YoloRecords(tmp_path)[0].masks is None
    assert YoloRecords(tmp_path, masks=True)[0].masks.areas.tolist() == [filled(TRIANGLE).sum()]
