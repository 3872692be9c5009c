"""Which mistakes are shown, and how."""

from dataclasses import replace

import numpy as np
import PIL.Image
import pytest

from evaluate.hand_made import SIZE, HandMade, found, record
from groundling.evaluate import PROTOCOLS
from groundling.evaluate.average_precision import PrecisionRecall
from groundling.evaluate.curves import draw_curves
from groundling.evaluate.mistakes import find_mistakes
from groundling.evaluate.report import draw_mistake, html_table, percent
from groundling.structures.masks import Masks

BOX, NEAR, AWAY = (0, 0, 100, 100), (0, 0, 100, 40), (200, 150, 300, 250)
COCO = PROTOCOLS["coco"]


def mistakes(shown, boxes, protocol=COCO, dataset=HandMade):
    made = dataset([shown])
    return [(one.kind, one.label, one.truth_label) for one in find_mistakes(made, [(shown, found(0, boxes))], protocol)]


@pytest.mark.parametrize(
    ("boxes", "expected"),
    [
        pytest.param([], [("missed", "cat", "cat")], id="empty"),
        pytest.param([(0, 0.9, BOX)], [("missed", "cat", "cat")], id="right, so the least sure object"),
        pytest.param([(0, 0.9, BOX), (0, 0.8, BOX)], [("missed", "cat", "cat")], id="a second box is no picture"),
        pytest.param([(0, 0.9, AWAY)], [("invented", "cat", ""), ("missed", "cat", "cat")], id="invented"),
        pytest.param([(1, 0.9, BOX)], [("misnamed", "dog", "cat"), ("missed", "cat", "cat")], id="misnamed"),
        pytest.param([(0, 0.9, NEAR)], [("misplaced", "cat", "cat"), ("missed", "cat", "cat")], id="misplaced"),
    ],
)
def test_kinds(boxes, expected):
    assert mistakes(record([("cat", BOX)]), boxes) == expected


def test_nothing_to_show():
    assert find_mistakes(HandMade([]), [], COCO) == []
    assert mistakes(record([]), []) == []


def test_a_box_in_a_group_is_no_mistake():
    assert mistakes(record([("cat", (150, 100, 400, 300))], crowd=[0]), [(0, 0.9, AWAY)]) == []


def test_what_nobody_looked_for_is_no_mistake():
    assert mistakes(record([], absent=()), [(0, 0.9, AWAY)]) == []
    assert mistakes(record([], absent=("cat",)), [(0, 0.9, AWAY)]) == [("invented", "cat", "")]


def test_beside_a_partly_annotated_name():
    shown = record([("cat", BOX)], partial=("cat",))
    kinds = [one.kind for one in find_mistakes(HandMade([shown]), [(shown, found(0, [(0, 0.9, AWAY)]))], COCO)]
    assert kinds == ["missed"]


def test_the_worst_of_many():
    shown = record([("cat", BOX)])
    results = [(shown, found(index, [(0, 0.1 * index, AWAY), (0, 0.05 * index, BOX)])) for index in range(1, 8)]
    worst = find_mistakes(HandMade([shown] * 8), results, COCO)
    assert [(one.kind, one.index) for one in worst] == [
        ("invented", 7), ("invented", 6), ("invented", 5), ("missed", 1), ("missed", 2), ("missed", 3),
    ]  # fmt: skip


def test_phrases():
    shown = record([("left", BOX), ("right", AWAY), ("nothing", AWAY)], labels=("left", "right", "nothing"))
    boxes = [(0, 0.9, AWAY), (0, 0.8, BOX), (1, 0.7, AWAY), (1, 0.6, BOX)]
    assert mistakes(shown, boxes, PROTOCOLS["refcoco"]) == [("wrong", "left", "left")]


def blocks(boxes):
    array = np.zeros((len(boxes), SIZE[1], SIZE[0]), bool)
    for mask, (left, top, right, bottom) in zip(array, boxes, strict=True):
        mask[top:bottom, left:right] = True
    return Masks.from_array(array, SIZE)


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        pytest.param([BOX, NEAR], [], id="both right"),
        pytest.param([(60, 0, 100, 100), NEAR], [("cat", 0.4)], id="one"),
        pytest.param([(60, 0, 100, 100), (0, 0, 10, 40)], [("dog", 0.1)], id="the worse of two"),
        pytest.param([BOX, (9, 9, 9, 9)], [("dog", 0.0)], id="empty"),
    ],
)
def test_rough_masks(made, expected):
    """Of two objects, and a group that nobody segments well."""
    picture = PIL.Image.new("RGB", SIZE)
    things = record([("cat", BOX), ("dog", NEAR), ("dog", AWAY)], crowd=[2], picture=picture)
    shown = replace(things, masks=blocks([BOX, NEAR, AWAY]))
    segmented = replace(found(0, []), masks=blocks([]), true_box_masks=blocks([*made, BOX]))
    rough = [one for one in find_mistakes(HandMade([shown]), [(shown, segmented)], COCO) if one.kind == "rough"]
    assert [(one.label, pytest.approx(one.score)) for one in rough] == expected
    for one in rough:
        with_mask, without = (np.asarray(draw_mistake(shown.open(), each)) for each in (one, replace(one, mask=None)))
        assert (with_mask != without).any() == one.mask.to_array().any()


def test_small_pictures_are_enlarged():
    shown = record([("cat", (10, 10, 30, 30))], picture=PIL.Image.new("RGB", (64, 48)), image_wh=(64, 48))
    (mistake, *_) = find_mistakes(HandMade([shown]), [(shown, found(0, [(0, 0.9, (40, 5, 60, 25))]))], COCO)
    drawn = draw_mistake(shown.open(), mistake)
    assert drawn.size == (512, 384)
    assert len(np.unique(np.asarray(drawn).reshape(-1, 3), axis=0)) > 2


def test_texts_are_no_html():
    assert html_table(["<b>"], [["a & b"]]) == (
        '<table><tr><th class="number">&lt;b&gt;</th></tr><tr><td class="number">a &amp; b</td></tr></table>'
    )


@pytest.mark.parametrize(("value", "text"), [(float("nan"), "-"), (0.0, "0.0"), (0.4837, "48.4"), (1.0, "100.0")])
def test_percent(value, text):
    assert percent(value) == text


@pytest.mark.parametrize("categories", [0, 3, 12])
def test_curves(tmp_path, categories):
    rng = np.random.default_rng(0)
    precision = np.sort(rng.random((10, 101, categories, 4)), axis=1)[:, ::-1]
    curves = PrecisionRecall(precision, rng.random((10, categories, 4, 1)), (100,))
    draw_curves(tmp_path / "curves.png", curves, tuple(f"name {k}" for k in range(categories)))
    with PIL.Image.open(tmp_path / "curves.png") as image:
        assert image.width > 1000
