"""The model's answers do not depend on how the work is divided."""

from dataclasses import replace

import numpy as np
import PIL.Image
import pytest

from evaluate.hand_made import HandMade, pictures, record
from groundling import Detector
from groundling.errors import ConfigError, DatasetError, GroundlingError, ImageError
from groundling.evaluate import PROTOCOLS
from groundling.evaluate.predict import Predictor

COCO = replace(PROTOCOLS["coco"], top_k=20)


@pytest.fixture(scope="module")
def detector(tiny_detector, processor):
    return Detector(tiny_detector, processor)


def predict(detector, dataset, protocol=COCO, batch_size=1):
    predictor = Predictor(detector, dataset.names, protocol)
    found = predictor.predict(dataset, range(len(dataset)), batch_size)
    return sorted(found, key=lambda one: one.index)


def check_same(first, second):
    assert [one.index for one in first] == [one.index for one in second]
    for one, other in zip(first, second, strict=True):
        assert one.label_ids.tolist() == other.label_ids.tolist()
        np.testing.assert_allclose(one.scores, other.scores, atol=1e-5)
        np.testing.assert_allclose(one.boxes_xyxy, other.boxes_xyxy, atol=1e-3)


def test_no_pictures(detector):
    assert predict(detector, HandMade([])) == []


def test_boxes_are_those_of_the_detector(detector):
    dataset = pictures(2)
    for one in predict(detector, dataset):
        record = dataset[one.index]
        expected = detector(record.picture, dataset.names, threshold=0.0)
        best = np.sort(expected.label_scores.flatten())[::-1][: len(one)]
        np.testing.assert_allclose(one.scores, best, atol=1e-6)
        assert one.boxes_xyxy.dtype == np.float32
        assert (one.boxes_xyxy >= 0).all()
        assert (one.boxes_xyxy[:, 2] <= record.image_wh[0]).all()


@pytest.mark.parametrize("name", ["coco", "scenes", "refcoco"])
@pytest.mark.parametrize("batch_size", [2, 4])
def test_the_batch_size_does_not_matter(detector, name, batch_size):
    dataset = pictures(7)
    protocol = replace(PROTOCOLS[name], top_k=20)
    alone, together = predict(detector, dataset, protocol), predict(detector, dataset, protocol, batch_size)
    check_same(alone, together)
    assert sum(map(len, alone)) >= 7 * 20


def test_a_picture_that_is_asked_nothing(detector):
    shown = record([], picture=PIL.Image.new("RGB", (64, 64)), image_wh=(64, 64), absent=())
    (found,) = predict(detector, HandMade([shown]), PROTOCOLS["scenes"])
    assert (len(found), found.boxes_xyxy.shape, found.label_ids.dtype) == (0, (0, 4), np.int64)


def test_chunks_ask_for_every_name(detector):
    dataset = HandMade(pictures(1).records, names=tuple(f"thing {number}" for number in range(9)))
    found = predict(detector, dataset, replace(COCO, chunk=4, top_k=10_000))
    queries = detector.model.config.num_queries
    assert np.bincount(found[0].label_ids).tolist() == [queries] * 9
    assert (np.diff(found[0].scores) <= 0).all()


def test_the_picture_and_the_names_are_encoded_once(detector, monkeypatch):
    detector = Detector(detector.model, detector.processor)  # which remembers no prompt yet
    calls = {"encode_image": 0, "encode_text": 0, "ground": 0}
    for name in calls:
        original = getattr(detector.model, name)

        def counted(*arguments, _name=name, _original=original, **options):
            calls[_name] += 1
            return _original(*arguments, **options)

        monkeypatch.setattr(detector.model, name, counted)
    dataset = HandMade(pictures(3).records, names=("cat", "dog", "bird"))
    predict(detector, dataset, replace(COCO, chunk=1))
    assert calls == {"encode_image": 3, "encode_text": 3, "ground": 9}


@pytest.mark.parametrize("batch_size", [1, 3])
def test_a_file_with_several_records_is_read_once(detector, tmp_path, monkeypatch, batch_size):
    path = tmp_path / "a.png"
    PIL.Image.new("RGB", (64, 64), "red").save(path)
    labels = ["the left cat", "the right cat", "a dog"]
    records = [record([(label, (0, 0, 9, 9))], key=label, picture=path, image_wh=(64, 64)) for label in labels]
    expected = predict(detector, HandMade(records), PROTOCOLS["refcoco"], batch_size)
    original, calls = detector.model.encode_image, []
    monkeypatch.setattr(detector.model, "encode_image", lambda *given: calls.append(1) or original(*given))
    check_same(predict(detector, HandMade(records), PROTOCOLS["refcoco"], batch_size), expected)
    assert len(calls) == 1


def test_a_wrong_batch_size(detector):
    with pytest.raises(ConfigError, match="batch_size must be a number of at least 1, got 0"):
        predict(detector, pictures(1), batch_size=0)


def test_a_missing_picture(detector):
    with pytest.raises(ImageError, match=r"p\.png"):
        predict(detector, HandMade([record([])]))


def test_a_picture_of_another_size(detector):
    shown = record([], picture=PIL.Image.new("RGB", (64, 48)), image_wh=(64, 64))
    with pytest.raises(DatasetError, match=r"p: the annotations say 64 x 64 pixels, but the picture has 64 x 48"):
        predict(detector, HandMade([shown]))


def test_an_output_that_is_no_number(detector, monkeypatch):
    original = detector.model.ground
    monkeypatch.setattr(
        detector.model, "ground", lambda *given: original(*given)._replace(logit_BQT=original(*given)[0] * float("nan"))
    )
    with pytest.raises(GroundlingError, match="output is not a number"):
        predict(detector, pictures(1))
