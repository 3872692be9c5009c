"""Which boxes are right, which are wrong, and which pictures count."""

import numpy as np
import pytest

from evaluate.hand_made import SIZE, HandMade, record
from groundling.errors import DatasetError
from groundling.evaluate.average_precision import precision_recall
from groundling.evaluate.calibration.choice import Targets, choose, count_above, draw_curve
from groundling.evaluate.calibration.marks import Marker, right_boxes
from groundling.evaluate.tables import FoundTable, Truth
from groundling.structures.detections import Detections
from groundling.structures.vocabulary import Vocabulary
from reference.calibration import count, lowest_threshold

BOX, NEAR, AWAY = (0, 0, 100, 100), (0, 0, 100, 60), (200, 150, 300, 250)
CAT_DOG = Vocabulary(("cat", "dog"))


def detections(boxes, labels=("cat", "dog")):
    """From (label, score, corners) triples in any order."""
    boxes = sorted(boxes, key=lambda one: -one[1])
    return Detections(
        boxes_xyxy=np.array([corners for *_, corners in boxes], np.float32).reshape(-1, 4),
        scores=np.array([score for _, score, _ in boxes], np.float32),
        label_ids=np.array([labels.index(label) for label, *_ in boxes], np.int64),
        labels=labels,
        image_wh=SIZE,
    )


def judged(records, boxes, vocabulary=CAT_DOG, names=("cat", "dog")):
    """Marks of each label from records and (label, score, corners) triples of each."""
    dataset = HandMade(records, names)
    marker = Marker(vocabulary, dataset)
    for picture, (one, found) in enumerate(zip(records, boxes, strict=True)):
        marker.add(picture, one, detections(found, vocabulary.labels))
    return dict(zip(vocabulary.labels, marker.build(), strict=True))


def rights(marks):
    return [(round(float(score), 3), bool(right)) for score, right in zip(marks.score_N, marks.right_N, strict=True)]


@pytest.mark.parametrize(
    ("objects", "boxes", "expected"),
    [
        pytest.param([], [], [], id="empty"),
        pytest.param([BOX], [], [], id="nothing found"),
        pytest.param([], [BOX], [False], id="nothing there"),
        pytest.param([BOX], [BOX, BOX], [True, False], id="a second box on the same object"),
        pytest.param([BOX], [NEAR, BOX], [True, False], id="the better score, not the better place"),
        pytest.param([BOX], [(0, 0, 100, 49), BOX], [False, True], id="too far off"),
        pytest.param([BOX, NEAR], [BOX, BOX], [True, True], id="what is free comes second"),
        pytest.param([BOX, AWAY], [AWAY, BOX], [True, True], id="two objects"),
        pytest.param([BOX], [(50, 50, 50, 50)], [False], id="a box without area"),
    ],
)
def test_right_boxes(objects, boxes, expected):
    arrays = [np.array(corners, np.float32).reshape(-1, 4) for corners in (boxes, objects)]
    assert right_boxes(*arrays).tolist() == expected


def test_labels_are_judged_apart():
    marks = judged([record([("cat", BOX), ("dog", AWAY)])], [[("cat", 0.9, AWAY), ("dog", 0.8, AWAY)]])
    assert rights(marks["cat"]) == [(0.9, False)]
    assert rights(marks["dog"]) == [(0.8, True)]
    assert [marks[label].objects_P.tolist() for label in ("cat", "dog")] == [[1], [1]]


def test_pictures_with_and_without():
    records = [record([("cat", BOX)], key="a"), record([], key="b"), record([], key="c", labels=("dog",))]
    marks = judged(records, [[], [("cat", 0.5, BOX)], [("cat", 0.7, BOX), ("cat", 0.6, AWAY)]])
    assert marks["cat"].with_P.tolist() == [True, False, False]
    assert marks["cat"].without_P.tolist() == [False, True, True]
    assert marks["dog"].without_P.tolist() == [True, True, False]
    assert rights(marks["cat"]) == [(0.7, False), (0.6, False), (0.5, False)]
    assert marks["cat"].picture_N.tolist() == [2, 2, 1]


def test_groups_are_neither_right_nor_wrong():
    shown = record([("cat", (150, 100, 400, 300)), ("dog", BOX)], crowd=[0])
    boxes = [("cat", 0.9, AWAY), ("cat", 0.8, BOX), ("dog", 0.7, AWAY)]
    marks = judged([shown], [boxes])
    assert rights(marks["cat"]) == [(0.8, False)]
    assert rights(marks["dog"]) == [(0.7, False)]  # the group is one of cats
    assert marks["cat"].objects_P.tolist() == [0]
    assert not marks["cat"].without_P.any()


def test_what_nobody_looked_for_does_not_count():
    boxes = [("cat", 0.9, AWAY)]
    for absent, expected in (((), []), (("dog",), []), (("cat",), [(0.9, False)]), (None, [(0.9, False)])):
        marks = judged([record([], absent=absent)], [boxes])
        assert rights(marks["cat"]) == expected
        assert marks["cat"].without_P.tolist() == [bool(expected)]


def test_beside_a_partly_annotated_name():
    marks = judged([record([("cat", BOX)], partial=("cat",))], [[("cat", 0.9, BOX), ("cat", 0.8, AWAY)]])
    assert rights(marks["cat"]) == [(0.9, True)]
    marks = judged([record([], partial=("cat",))], [[("cat", 0.8, AWAY)]])
    assert rights(marks["cat"]) == []
    assert not marks["cat"].without_P.any()


def test_a_label_means_its_synonyms_too():
    vocabulary = Vocabulary(("pet", "dog"), synonyms={"pet": ("cat", "kitten")})
    records = [record([("cat", BOX), ("kitten", AWAY)]), record([("dog", BOX)])]
    boxes = [[("pet", 0.9, BOX), ("pet", 0.8, AWAY)], [("pet", 0.7, BOX)]]
    marks = judged(records, boxes, vocabulary, names=("cat", "kitten", "dog"))
    assert rights(marks["pet"]) == [(0.9, True), (0.8, True), (0.7, False)]
    assert marks["pet"].objects_P.tolist() == [2, 0]
    assert marks["pet"].without_P.tolist() == [False, True]


def test_a_synonym_that_nobody_looked_for_leaves_it_open():
    vocabulary = Vocabulary(("pet",), synonyms={"pet": ("cat", "kitten")})
    for absent, expected in ((("cat",), []), (("cat", "kitten"), [(0.9, False)])):
        marks = judged([record([], absent=absent)], [[("pet", 0.9, AWAY)]], vocabulary, names=("cat", "kitten"))
        assert rights(marks["pet"]) == expected


def test_an_object_with_two_names_is_one_object():
    vocabulary = Vocabulary(("pet",), synonyms={"pet": ("cat", "kitten")})
    marks = judged([record([(("cat", "kitten"), BOX)])], [[("pet", 0.9, BOX), ("pet", 0.8, BOX)]], vocabulary)
    assert rights(marks["pet"]) == [(0.9, True), (0.8, False)]
    assert marks["pet"].objects_P.tolist() == [1]


def test_labels_that_stand_in_records_only():
    vocabulary = Vocabulary(("the left cat",))
    records = [record([("the left cat", BOX)], absent=()), record([("dog", BOX)], absent=("the left cat",))]
    marks = judged(records, [[("the left cat", 0.9, BOX)], [("the left cat", 0.8, BOX)]], vocabulary, names=())
    assert rights(marks["the left cat"]) == [(0.9, True), (0.8, False)]


@pytest.mark.parametrize(
    ("labels", "names", "message"),
    [
        pytest.param(("cat",), (), "The data set has no name 'cat', .* no names at all", id="empty"),
        pytest.param(("cats",), ("cat", "dog"), r"no name 'cats'.*Did you mean 'cat'\?.*'cat', 'dog'", id="near"),
        pytest.param(("cat", "airplane"), ("cat",), "no name 'airplane'.*It has 'cat'. A name of", id="nothing near"),
        pytest.param(("x",), tuple(f"n{n:02}" for n in range(20)), "'n00', .*'n09', ...", id="many"),
    ],
)
def test_labels_that_the_data_set_does_not_know(labels, names, message):
    with pytest.raises(DatasetError, match=message):
        Marker(Vocabulary(labels), HandMade([record([])], names))


def test_only_some_pictures():
    records = [record([("cat", BOX)]), record([]), record([("cat", BOX)])]
    marks = judged(records, [[("cat", 0.9, BOX)], [("cat", 0.8, BOX)], [("cat", 0.7, BOX)]])["cat"]
    some = marks.only(np.array([True, True, False]))
    assert rights(some) == [(0.9, True), (0.8, False)]
    assert (some.objects_P.sum(), some.with_P.sum(), some.without_P.sum()) == (1, 1, 1)


def random_pictures(seed, pictures=12):
    """Random objects and boxes on a coarse grid, so that boxes are often near objects, and scores often equal."""
    rng = np.random.default_rng(seed)
    records, boxes = [], []
    for picture in range(pictures):

        def corners():
            left, top = rng.integers(0, 5, 2) * 10
            return (left, top, left + 10 * rng.integers(2, 5), top + 10 * rng.integers(2, 5))

        objects = [(str(rng.choice(["cat", "dog"])), corners()) for _ in range(rng.integers(0, 5))]
        absent = None if rng.random() < 0.7 else ("cat",)
        partial = ("cat",) if rng.random() < 0.2 else ()
        if absent is not None and any(label == "cat" for label, _ in objects):
            absent = ()
        records.append(record(objects, key=str(picture), absent=absent, partial=partial))
        scores = rng.integers(2, 60, 8) / 61
        boxes.append([(str(rng.choice(["cat", "dog"])), float(score), corners()) for score in scores])
    return records, boxes


def as_plain(records, boxes, label):
    """What the naive version takes."""
    pictures = []
    for one, found in zip(records, boxes, strict=True):
        has = label in one.labels
        looked = one.absent is None or has or label in one.absent
        known = looked and label not in one.partial
        objects = one.boxes_xyxy[one.positive_NL[:, one.labels.index(label)]].tolist() if has else []
        own = [(float(np.float32(score)), corners) for name, score, corners in found if name == label]
        pictures.append((objects, own, known and not has, known))
    return pictures


@pytest.mark.parametrize("seed", range(20))
def test_against_trying_every_threshold(seed):
    records, boxes = random_pictures(seed)
    for label, marks in judged(records, boxes).items():
        pictures = as_plain(records, boxes, label)
        for threshold in (0.01, 0.2, 0.5, 0.8):
            counts = count_above(marks, threshold)
            assert (counts.right, counts.wrong, counts.false_pictures) == count(pictures, threshold)
        for precision, max_fp_rate in ((0.3, None), (0.5, 0.5), (0.2, 0.0), (1.0, None)):
            expected = lowest_threshold(pictures, precision, 1.0 if max_fp_rate is None else max_fp_rate, 0.01)
            threshold, status = choose(marks, Targets(precision, max_fp_rate), 0.3)
            assert (status in ("met", "no pictures without it")) == (expected is not None)
            if expected is not None:
                assert count(pictures, threshold) == count(pictures, expected)


@pytest.mark.parametrize("seed", range(5))
def test_as_average_precision_judges(seed):
    """The rights and wrongs give the average precision at IoU 0.5 of the library that evaluations use."""
    records, boxes = random_pictures(100 + seed)
    whole = [record([(label, box) for label, box in _objects(one)], key=one.key) for one in records]
    marks = judged(whole, boxes)["cat"]
    rows = [(picture, one) for picture, found in enumerate(boxes) for one in _best_first(found) if one[0] == "cat"]
    objects = [(picture, box) for picture, one in enumerate(whole) for label, box in _objects(one) if label == "cat"]
    size = len(whole), 1
    truth = Truth(
        categories=("cat",),
        pictures=len(whole),
        picture_N=np.array([picture for picture, _ in objects]),
        category_N=np.zeros(len(objects), np.int64),
        boxes_xyxy=np.array([box for _, box in objects], np.float32),
        area_N=np.full(len(objects), 400.0),
        crowd_N=np.zeros(len(objects), np.bool_),
        judged_PK=np.ones(size, np.bool_),
        partial_PK=np.zeros(size, np.bool_),
    )
    table = FoundTable(
        picture_N=np.array([picture for picture, _ in rows]),
        category_N=np.zeros(len(rows), np.int64),
        boxes_xyxy=np.array([corners for _, (_, _, corners) in rows], np.float32),
        score_N=np.array([score for _, (_, score, _) in rows], np.float32),
    )
    curves = precision_recall(truth, table, (100,))
    curve = draw_curve(marks)
    assert curves.recall_TKAM[0, 0, 0, 0] == pytest.approx(curve.right_C[-1] / len(objects))
    hits = np.cumsum(marks.right_N)
    precision, recall = hits / np.arange(1, len(hits) + 1), hits / len(objects)
    levels = [precision[recall >= level - 1e-9].max(initial=0) for level in np.linspace(0, 1, 101)]
    assert curves.precision_TRKA[0, :, 0, 0].mean() == pytest.approx(np.mean(levels), abs=1e-6)


def _objects(one):
    return [(one.labels[column], one.boxes_xyxy[row].tolist()) for row, column in np.argwhere(one.positive_NL).tolist()]


def _best_first(found):
    return sorted(found, key=lambda one: -one[1])
