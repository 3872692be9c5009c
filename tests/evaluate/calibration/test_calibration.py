"""Calibration from a data set to a vocabulary: with what a stand-in finds, and with the bundled model."""

from dataclasses import replace

import numpy as np
import PIL.Image
import pytest

from evaluate.hand_made import HandMade, record
from groundling import Detector, ImageError, PromptError
from groundling.data.record import Record, one_label_each
from groundling.data.scenes import SHAPES, make_scene
from groundling.errors import ConfigError, DatasetError
from groundling.evaluate.calibration import Counts, calibrate
from groundling.evaluate.calibration.calibration import GENERAL_THRESHOLD
from groundling.evaluate.calibration.choice import FLOOR, wilson_interval
from groundling.structures.detections import Detections
from groundling.structures.vocabulary import Vocabulary
from reference.calibration import count

BOX, AWAY, SIDE = (0, 0, 20, 20), (30, 30, 60, 60), 64
LABELS = ("moon", "drop", "ring", "heart")
PRECISION = 0.7


class Stand:
    """Finds what it is told, picture by picture, and remembers how it was asked."""

    def __init__(self, found):
        self.found, self.asked = found, []

    def detect_many(self, images, labels, **options):
        self.asked.append((labels, options))
        for image, found in zip(images, self.found, strict=True):
            rows = sorted(found, key=lambda one: -one[1])
            yield Detections(
                boxes_xyxy=np.array([box for *_, box in rows], np.float32).reshape(-1, 4),
                scores=np.array([score for _, score, _ in rows], np.float32),
                label_ids=np.array([labels.labels.index(label) for label, *_ in rows], np.int64),
                labels=labels.labels,
                image_wh=image.size,
            )


def shown(objects, **options):
    return record(objects, picture=PIL.Image.new("RGB", (SIDE, SIDE)), image_wh=(SIDE, SIDE), **options)


def two_pictures():
    return HandMade([shown([("cat", BOX)]), shown([("dog", AWAY)])])


FOUND = [[("cat", 0.9, BOX), ("cat", 0.5, AWAY)], [("cat", 0.6, AWAY), ("dog", 0.2, AWAY)]]


def test_from_findings_to_a_vocabulary():
    steps = []
    result = calibrate(
        Stand(FOUND), two_pictures(), ["cat", "dog"], progress=lambda done, total: steps.append((done, total))
    )
    assert result.vocabulary == Vocabulary(("cat", "dog"), thresholds={"cat": 0.75, "dog": 0.105})
    cat, dog = result.labels
    assert (cat.label, cat.threshold, cat.is_chosen, cat.status) == ("cat", 0.75, True, "met")
    assert cat.counts == Counts(1, 0, 1, 1, 0, 1)
    assert dog.counts == Counts(1, 0, 1, 1, 0, 1)
    assert cat.held_out is None  # one picture has a cat
    assert result.pictures == 2
    assert steps == [(1, 2), (2, 2)]


def test_everything_of_the_vocabulary_is_asked_but_its_thresholds():
    stand = Stand(FOUND)
    given = Vocabulary(
        ("cat", "dog"), {"cat": ("kitten",)}, negatives=("toy",), thresholds={"cat": 0.9}, packing="sorted"
    )
    result = calibrate(stand, two_pictures(), given, nms_iou=0.7, batch_size=2)
    ((asked, options),) = stand.asked
    assert asked == replace(given, thresholds={})
    assert options == {"threshold": FLOOR, "nms_iou": 0.7, "batch_size": 2}
    assert result.vocabulary == replace(given, thresholds={"cat": 0.75, "dog": 0.105})


def test_a_label_without_examples_keeps_its_threshold():
    dataset = HandMade([shown([("cat", BOX)]), shown([])], names=("cat", "dog", "bird"))
    found = [[("cat", 0.9, BOX)], [("dog", 0.45, AWAY), ("bird", 0.45, AWAY)]]
    given = Vocabulary(("cat", "dog", "bird"), thresholds={"bird": 0.4})
    result = calibrate(Stand(found), dataset, given)
    _, dog, bird = result.labels
    assert (dog.threshold, dog.is_chosen, dog.status) == (GENERAL_THRESHOLD, False, "no examples")
    assert (bird.threshold, bird.is_chosen) == (0.4, False)
    assert dog.counts.fp_rate == 0.5
    assert dict(result.vocabulary.thresholds) == {"cat": 0.455, "bird": 0.4}
    quiet = calibrate(Stand(found), dataset, given, max_fp_rate=0.0)
    assert dict(quiet.vocabulary.thresholds) == {"cat": 0.455, "dog": 0.46, "bird": 0.46}


def test_as_plain_values():
    value = calibrate(Stand(FOUND), two_pictures(), ["cat", "dog"]).to_dict()
    assert value["targets"] == {"precision": 0.9, "max_fp_rate": None}
    cat, _ = value["labels"]
    assert cat["counts"]["precision"] == 1.0
    assert cat["counts"]["precision_interval"] == list(wilson_interval(1, 1))
    empty = calibrate(Stand([[], []]), two_pictures(), ["cat"]).to_dict()["labels"][0]
    assert empty["counts"]["precision"] is None
    assert empty["held_out"] is None


@pytest.mark.parametrize(
    ("records", "labels", "options", "error", "message"),
    [
        pytest.param([], ["cat"], {}, DatasetError, "The data set has no pictures", id="empty"),
        pytest.param(None, [], {}, PromptError, "There are no labels", id="no label"),
        pytest.param(None, ["cats"], {}, DatasetError, "Did you mean 'cat'", id="unknown label"),
        pytest.param(None, ["cat", "cat"], {}, PromptError, "stands twice", id="a label twice"),
        pytest.param(None, ["cat"], {"precision": 0}, ConfigError, "precision must be more than 0", id="precision"),
        pytest.param(None, ["cat"], {"precision": 1.1}, ConfigError, "got 1.1", id="precision over one"),
        pytest.param(None, ["cat"], {"max_fp_rate": 2}, ConfigError, "max_fp_rate must be", id="rate"),
        pytest.param(
            [record([], picture=PIL.Image.new("RGB", (9, 9)), image_wh=(9, 8))],
            ["cat"],
            {},
            DatasetError,
            "the annotations say 9 x 8 pixels, but the picture has 9 x 9",
            id="another size",
        ),
        pytest.param([record([], key="not-there")], ["cat"], {}, ImageError, "not-there.png", id="no picture"),
    ],
)
def test_mistakes(records, labels, options, error, message):
    dataset = two_pictures() if records is None else HandMade(records)
    with pytest.raises(error, match=message):
        calibrate(Stand([[]] * len(dataset)), dataset, labels, **options)


# The bundled model


class ShapeRecords:
    """Scenes in which every thing is labelled with its shape."""

    names = SHAPES

    def __init__(self, first, count):
        self.first, self.count = first, count

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        scene = make_scene(3, self.first + index, split="seen", size=192)
        labels = tuple(dict.fromkeys(thing.shape for thing in scene.things))
        return Record(
            key=str(index),
            picture=scene.image,
            image_wh=scene.image.size,
            labels=labels,
            boxes_xyxy=scene.boxes_xyxy,
            positive_NL=one_label_each([labels.index(thing.shape) for thing in scene.things], len(labels)),
        )


@pytest.fixture(scope="module")
def nano():
    return Detector.from_pretrained("groundling/nano", device="cpu")


def recount(detector, vocabulary, records):
    """Count by hand what the detector gives with the thresholds of a vocabulary."""
    records = [records[index] for index in range(len(records))]
    pictures = {label: [] for label in vocabulary.labels}
    images = [one.open() for one in records]
    for one, found in zip(records, detector.detect_many(images, vocabulary, batch_size=4), strict=True):
        for label in vocabulary.labels:
            has = label in one.labels
            objects = one.boxes_xyxy[one.positive_NL[:, one.labels.index(label)]].tolist() if has else []
            own = [(item.score, item.box_xyxy) for item in found if item.label == label]
            pictures[label].append((objects, own, not has, True))
    return {label: count(own, 0.0) for label, own in pictures.items()}


def test_the_detector_gives_what_was_measured(nano):
    records = ShapeRecords(0, 20)
    vocabulary = Vocabulary(LABELS, synonyms={"ring": ("circle",)}, negatives=("star",))
    result = calibrate(nano, records, vocabulary, precision=PRECISION, batch_size=4)
    again = recount(nano, replace(result.vocabulary, synonyms={"ring": ("circle",)}), records)
    assert any(one.is_chosen for one in result.labels)
    for one in result.labels:
        if one.label != "ring":  # it means two shapes here
            assert again[one.label] == (one.counts.right, one.counts.wrong, one.counts.false_pictures)
        assert one.counts.pictures_with + one.counts.pictures_without == 20


@pytest.mark.slow
def test_on_other_scenes(nano):
    """With a hundred pictures what is promised is found in others, as cross-validation says; 0.3 is much worse."""
    result = calibrate(nano, ShapeRecords(0, 100), LABELS, precision=PRECISION, batch_size=4)
    assert {one.status for one in result.labels} == {"met"}
    others = ShapeRecords(1000, 100)
    right, wrong, false_pictures = np.sum(list(recount(nano, result.vocabulary, others).values()), axis=0).tolist()
    low, high = wilson_interval(right, right + wrong)
    held_out = [one.held_out for one in result.labels]
    pooled = sum(one.right for one in held_out) / sum(one.right + one.wrong for one in held_out)
    assert right > 30
    assert low < PRECISION < high
    assert low < pooled < high
    usual_right, usual_wrong, usual_false = np.sum(
        list(recount(nano, Vocabulary(LABELS), others).values()), axis=0
    ).tolist()
    assert usual_right / (usual_right + usual_wrong) < low
    assert usual_false > 2 * false_pictures
