"""AP on data sets whose scores are known by hand, and against the other library and a naive version."""

import math
import sys

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from evaluate.hand_made import Counted, Federated, HandMade, WithIds, found, record
from groundling.errors import MissingExtraError
from groundling.evaluate import PROTOCOLS, measure
from groundling.evaluate.average_precision import best_of_each_category
from groundling.evaluate.tables import FoundTable
from reference.average_precision import average_precision, best_overall

COCO_PROTOCOL = PROTOCOLS["coco"]
NUMBERS = ["AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl"]
BOX = (0, 0, 100, 100)
SHIFTED = (25, 0, 125, 100)  # IoU 75 / 125 = 0.6
AWAY = (200, 150, 300, 250)


def score(records, results, *, names=("cat", "dog"), protocol=COCO_PROTOCOL, dataset=HandMade):
    made = dataset(records, names)
    return measure(made, zip(records, results, strict=True), protocol).numbers


def test_no_objects():
    numbers = score([record([])], [found(0, [(0, 0.9, BOX)])])
    assert list(numbers) == NUMBERS
    assert all(math.isnan(value) for value in numbers.values())


def test_nothing_found():
    numbers = score([record([("cat", BOX)])], [found(0, [])])
    assert numbers["AP"] == numbers["AP50"] == numbers["AR100"] == 0


def test_perfect_boxes():
    records = [record([("cat", BOX), ("dog", AWAY)]), record([("cat", AWAY)])]
    numbers = score(records, [found(0, [(0, 0.9, BOX), (1, 0.2, AWAY)]), found(1, [(0, 0.4, AWAY)])])
    assert numbers["AP"] == numbers["AP50"] == numbers["AP75"] == pytest.approx(1)
    assert numbers["APl"] == pytest.approx(1)
    assert math.isnan(numbers["APs"])


def test_boxes_shifted_to_an_iou_of_six_tenths():
    # right at 0.5, 0.55 and 0.6, wrong at the seven higher thresholds
    numbers = score([record([("cat", BOX)])] * 2, [found(0, [(0, 0.9, SHIFTED)]), found(1, [(0, 0.8, SHIFTED)])])
    assert (numbers["AP50"], numbers["AP75"]) == (pytest.approx(1), 0)
    assert numbers["AP"] == pytest.approx(3 / 10)


def test_half_missed():
    # precision 1 up to recall 0.5: 51 of the 101 levels
    numbers = score([record([("cat", BOX)]), record([("cat", AWAY)])], [found(0, [(0, 0.9, BOX)]), found(1, [])])
    assert numbers["AP"] == pytest.approx(51 / 101)
    assert numbers["AR100"] == pytest.approx(1 / 2)


def test_duplicates_below_every_right_box_cost_nothing():
    results = [found(0, [(0, 0.9, BOX), (0, 0.3, BOX)]), found(1, [(0, 0.8, BOX), (0, 0.2, BOX)])]
    assert score([record([("cat", BOX)])] * 2, results)["AP"] == pytest.approx(1)


def test_duplicates_between_right_boxes_cost_precision():
    # right, wrong, right: precision 1 up to recall 1/2, then 2/3
    results = [found(0, [(0, 0.9, BOX), (0, 0.85, BOX)]), found(1, [(0, 0.8, BOX)])]
    assert score([record([("cat", BOX)])] * 2, results)["AP"] == pytest.approx((51 + 50 * 2 / 3) / 101)


def test_a_poorer_duplicate_with_a_higher_score():
    # up to 0.6 the duplicate is the right one; above, it is a mistake before the right one
    result = found(0, [(0, 0.9, SHIFTED), (0, 0.8, BOX)])
    assert score([record([("cat", BOX)])], [result])["AP"] == pytest.approx((3 * 1 + 7 * 1 / 2) / 10)


def test_a_group_is_neither_right_nor_wrong():
    crowded = record([("cat", BOX), ("cat", (100, 100, 400, 300))], crowd=[1])
    inside = [(0, 0.9 + 0.01 * step, (110 + 50 * step, 120, 150 + 50 * step, 180)) for step in range(4)]
    assert score([crowded], [found(0, [*inside, (0, 0.5, BOX)])])["AP"] == pytest.approx(1)


def test_a_wrong_label_is_wrong():
    numbers = score([record([("cat", BOX), ("dog", AWAY)])], [found(0, [(1, 0.9, BOX), (1, 0.5, AWAY)])])
    assert numbers["AP50"] == pytest.approx((0 + 1 / 2) / 2)


def test_areas_come_from_the_annotations_where_they_have_some():
    numbers = score([record([("cat", BOX)])], [found(0, [(0, 0.9, BOX)])], dataset=WithIds)
    assert numbers["APs"] == pytest.approx(1)
    assert math.isnan(numbers["APl"])


def test_labels_beyond_the_names_are_categories_too():
    protocol = PROTOCOLS["scenes"]
    shown = record([("red cat", BOX)], absent=("blue cat",))
    numbers = measure(HandMade([shown]), [(shown, found(0, [(0, 0.5, BOX), (1, 0.9, BOX)]))], protocol)
    assert numbers.numbers["AP"] == pytest.approx(1)  # "blue cat" has no object anywhere
    assert [category.name for category in numbers.categories] == ["red cat"]


def test_an_object_may_have_several_labels():
    shown = record([(("cat", "pet"), BOX)], absent=())
    result = measure(HandMade([shown]), [(shown, found(0, [(0, 0.5, BOX)]))], PROTOCOLS["scenes"])
    assert {category.name: category.ap for category in result.categories} == {"cat": pytest.approx(1), "pet": 0}


@pytest.mark.parametrize("name", ["coco", "scenes"])
def test_names_that_do_not_count_are_asked_for_but_make_no_figure(name):
    shown = record([("cat", BOX), ("dog", AWAY)], absent=())
    answers = found(0, [(0, 0.5, BOX), (1, 0.9, BOX)])
    whole, part = (measure(made([shown]), [(shown, answers)], PROTOCOLS[name]) for made in (HandMade, Counted))
    assert whole.numbers["AP"] == pytest.approx(1 / 2)
    assert part.numbers["AP"] == pytest.approx(1)
    assert [category.name for category in part.categories] == ["cat"]
    assert (whole.counts["objects"], part.counts["objects"], part.counts["boxes"]) == (2, 1, 1)


def random_box(rng):
    low = rng.uniform(0, 250, 2)
    return tuple(np.round([*low, *(low + rng.uniform(3, 150, 2))]).tolist())


def jittered(rng, box):
    return tuple(np.round(np.array(box) + rng.normal(0, 8, 4)).tolist())


def random_set(seed, *, count=6, names=3):
    """Pictures with objects, groups among them, and boxes near the objects and elsewhere."""
    rng = np.random.default_rng(seed)
    vocabulary = tuple(f"n{number}" for number in range(names))
    records, results = [], []
    for index in range(count):
        objects = [(int(rng.integers(names)), random_box(rng)) for _ in range(rng.integers(0, 6))]
        crowd = [number for number in range(len(objects)) if rng.random() < 0.15]
        boxes = [(label, rng.random(), jittered(rng, box)) for label, box in objects if rng.random() < 0.8]
        boxes += [(int(rng.integers(names)), rng.random(), random_box(rng)) for _ in range(rng.integers(0, 5))]
        boxes = [(label, score, (x, y, max(x2, x + 1), max(y2, y + 1))) for label, score, (x, y, x2, y2) in boxes]
        records.append(record([(vocabulary[label], box) for label, box in objects], crowd=crowd))
        results.append(found(index, boxes))
    return vocabulary, records, results


def by_pycocotools(vocabulary, records, results):
    """The twelve numbers from the other library, from files' dictionaries."""
    truth = COCO()
    objects = []
    for index, one in enumerate(records):
        for box, own, crowd in zip(one.boxes_xyxy.tolist(), one.positive_NL, one.crowd_N, strict=True):
            left, top, right, bottom = box
            label = vocabulary.index(one.labels[int(own.argmax())])
            bbox = [left, top, right - left, bottom - top]
            objects.append(
                {
                    "id": len(objects) + 1,
                    "image_id": index,
                    "category_id": label,
                    "bbox": bbox,
                    "area": bbox[2] * bbox[3],
                    "iscrowd": int(crowd),
                }
            )
    truth.dataset = {
        "images": [{"id": index} for index in range(len(records))],
        "categories": [{"id": number, "name": name} for number, name in enumerate(vocabulary)],
        "annotations": objects,
    }
    truth.createIndex()
    boxes = [
        {"image_id": one.index, "category_id": int(label), "bbox": [x, y, x2 - x, y2 - y], "score": float(score)}
        for one in results
        for (x, y, x2, y2), score, label in zip(one.boxes_xyxy.tolist(), one.scores, one.label_ids, strict=True)
    ]
    evaluation = COCOeval(truth, truth.loadRes(boxes), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return evaluation.stats


@pytest.mark.parametrize("seed", range(6))
def test_both_libraries_agree(seed):
    vocabulary, records, results = random_set(seed)
    ours = score(records, results, names=vocabulary)
    expected = by_pycocotools(vocabulary, records, results)
    expected[expected < 0] = np.nan
    assert list(ours) == NUMBERS
    assert list(ours.values()) == pytest.approx(list(expected), nan_ok=True, abs=1e-12)


def naive_lvis(vocabulary, records, results, *, most=None, threshold=0.5):
    """AP of each name at one threshold, with what nobody looked for left out."""
    aps = {}
    for number, name in enumerate(vocabulary):
        boxes = [
            (float(score), one.index, tuple(box))
            for one in results
            for box, score, label in zip(one.boxes_xyxy.tolist(), one.scores, one.label_ids, strict=True)
            if label == number
        ]
        boxes = boxes if most is None else best_overall(boxes, most)
        judged = [(*box, name in records[box[1]].partial) for box in boxes]
        judged = [box for box in judged if name in {*records[box[1]].labels, *records[box[1]].absent}]
        objects = {
            index: one.boxes_xyxy[one.positive_NL[:, one.labels.index(name)]].tolist()
            for index, one in enumerate(records)
            if name in one.labels
        }
        aps[name] = average_precision(objects, judged, threshold)
    return aps


def random_federated(seed):
    rng = np.random.default_rng(seed)
    vocabulary, records, results = random_set(seed, count=8)
    labelled = []
    for one in records:
        own_N = one.positive_NL.argmax(axis=1) if len(one.labels) else []
        objects = [(one.labels[own], box) for own, box in zip(own_N, one.boxes_xyxy, strict=True)]
        absent = tuple(name for name in vocabulary if name not in one.labels and rng.random() < 0.5)
        partial = tuple(name for name in one.labels if rng.random() < 0.3)
        labelled.append(record(objects, absent=absent, partial=partial))
    return vocabulary, labelled, results


FREQUENCIES = {"n0": "rare", "n1": "common", "n2": "frequent"}


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("most", [None, 4])
def test_lvis_and_fixed_ap_are_those_of_the_naive_version(seed, most, monkeypatch):
    vocabulary, records, results = random_federated(seed)
    dataset = Federated(records, vocabulary, FREQUENCIES)
    protocol = PROTOCOLS["lvis" if most is None else "lvis_fixed"]
    if most is not None:
        monkeypatch.setattr("groundling.evaluate.figures.FIXED_AP_LIMIT", most)
    measured = measure(dataset, zip(records, results, strict=True), protocol)
    expected = naive_lvis(vocabulary, records, results, most=most)
    known = {name: value for name, value in expected.items() if value is not None}
    assert {one.name: one.ap50 for one in measured.categories} == pytest.approx(known)
    assert {one.name: one.frequency for one in measured.categories} == {name: FREQUENCIES[name] for name in known}
    assert measured.numbers["AP50"] == pytest.approx(np.mean(list(known.values())))
    by_name = {one.name: one.ap for one in measured.categories}
    for name, key in (("n0", "APr"), ("n1", "APc"), ("n2", "APf")):
        assert measured.numbers[key] == pytest.approx(by_name.get(name, math.nan), nan_ok=True)


def test_boxes_of_a_partly_annotated_name_are_not_wrong():
    boxes = found(0, [(0, 0.9, AWAY), (0, 0.5, BOX), (1, 0.9, AWAY)])
    for partial, expected in (((), 1 / 2), (("cat",), 1)):
        shown = record([("cat", BOX)], absent=("dog",), partial=partial)
        measured = measure(HandMade([shown]), [(shown, boxes)], PROTOCOLS["lvis"])
        assert measured.numbers["AP"] == pytest.approx(expected)


def test_what_nobody_looked_for_is_not_wrong():
    elsewhere = record([("cat", BOX)], absent=())
    looked = record([("dog", BOX)], absent=("cat",))
    results = [found(0, [(0, 0.9, BOX), (1, 0.95, AWAY)]), found(1, [(1, 0.9, BOX)])]
    numbers = measure(
        HandMade([elsewhere, looked]), zip([elsewhere, looked], results, strict=True), PROTOCOLS["lvis"]
    ).numbers
    assert numbers["AP"] == pytest.approx(1)


def test_many_categories_are_evaluated_in_parts(monkeypatch):
    vocabulary, records, results = random_set(3, names=5)
    whole = score(records, results, names=vocabulary)
    monkeypatch.setattr("groundling.evaluate.average_precision.CATEGORIES_AT_A_TIME", 2)
    assert score(records, results, names=vocabulary) == pytest.approx(whole, nan_ok=True)


@pytest.mark.parametrize(
    ("scores", "categories", "kept"),
    [
        pytest.param([], [], [], id="empty"),
        pytest.param([0.1, 0.9, 0.5], [0, 0, 0], [1, 2], id="the best"),
        pytest.param([0.5, 0.5, 0.5], [0, 0, 0], [0, 1], id="equal scores in order"),
        pytest.param([0.1, 0.9, 0.5, 0.2], [1, 0, 0, 1], [0, 1, 2, 3], id="each category by itself"),
    ],
)
def test_best_of_each_category(scores, categories, kept):
    table = FoundTable(
        picture_N=np.arange(len(scores)),
        category_N=np.array(categories, np.int64),
        boxes_xyxy=np.zeros((len(scores), 4), np.float32),
        score_N=np.array(scores, np.float32),
    )
    assert best_of_each_category(table, 2).picture_N.tolist() == kept


def test_a_missing_library_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "faster_coco_eval", None)
    with pytest.raises(MissingExtraError, match=r"needs the package 'faster-coco-eval'.*groundling\[eval\]"):
        score([record([("cat", BOX)])], [found(0, [])])
