"""The model that comes with the package, on scenes it has never seen: what it finds, and what it does not."""

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
import torch

from groundling import Detections, Detector
from groundling.data.record import Record
from groundling.data.scenes import HELD_OUT
from groundling.data.scenes.records import SceneRecords
from groundling.evaluate import PROTOCOLS, evaluate
from groundling.files import BUNDLED_MODEL, locate

SEED = 2024
"""Training drew its scenes from another seed and another split."""

SIDE = 192


@cache
def nano(dtype: str = "float32") -> Detector:
    return Detector.from_pretrained(BUNDLED_MODEL, dtype=dtype)


def iou(a: np.ndarray, b: np.ndarray) -> float:
    low, high = np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])
    inside = np.prod(np.clip(high - low, 0, None))
    return float(inside / (np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - inside))


def found_share(split: str, scenes: int, wanted: Callable[[str], bool]) -> float:
    """The share of the things with a wanted name that have a box of that name with IoU > 0.7."""
    records, hits = SceneRecords(split=split, seed=SEED, size=SIDE, count=scenes), []
    for record in (records[number] for number in range(scenes)):
        found = nano()(record.open(), [*record.labels, *record.absent])
        for box, positive in zip(record.boxes_xyxy, record.positive_NL, strict=True):
            label = int(positive.argmax())
            if wanted(record.labels[label]):
                hits.append(any(d.label_id == label and iou(d.box_xyxy, box) > 0.7 for d in found))
    assert len(hits) > scenes / 2
    return float(np.mean(hits))


def absent_boxes(record: Record) -> Detections:
    return nano()(record.open(), list(record.absent))


def is_held_out(label: str) -> bool:
    return tuple(label.split()) in HELD_OUT


def test_it_finds_things_of_seen_pairs() -> None:
    assert found_share("seen", 25, lambda label: True) >= 0.8


def test_it_finds_things_of_pairs_that_were_kept_out_of_training() -> None:
    assert found_share("held_out", 25, is_held_out) >= 0.7


def test_the_demo_picture() -> None:
    labels = ["red circle", "blue square", "green star", "yellow triangle", "purple heart"]
    found = nano()("examples/images/shapes.png", labels)
    best = {label: [d for d in found if d.label == label] for label in labels}
    truth = {"red circle": (60, 60, 230, 230), "blue square": (370, 50, 540, 220)}
    truth |= {"green star": (90, 270, 270, 440), "yellow triangle": (370, 280, 570, 440)}
    for label, box in truth.items():
        assert len(best[label]) == 1, label
        assert iou(best[label][0].box_xyxy, np.array(box, float)) > 0.8, label
    assert best["purple heart"] == []


def test_what_is_absent_is_not_found() -> None:
    """Half of the labels asked for share the colour or the shape of a thing that is there."""
    records = SceneRecords(split="seen", seed=SEED, size=SIDE, count=25)
    asked = sum(len(records[number].absent) for number in range(25))
    boxes = sum(len(absent_boxes(records[number])) for number in range(25))
    assert boxes <= 0.06 * asked


def test_an_empty_background_gives_nothing() -> None:
    assert len(nano()(np.full((SIDE, SIDE, 3), 128, np.uint8), ["red star", "blue ring", "small green heart"])) == 0


def test_the_order_of_the_labels_matters_little() -> None:
    record = SceneRecords(split="seen", seed=SEED, size=SIDE, count=3)[2]
    labels = [*record.labels, *record.absent[:4]]
    first, second = (nano()(record.open(), order) for order in (labels, labels[::-1]))
    assert sorted(d.label for d in first) == sorted(d.label for d in second)


def test_unknown_words_are_split_into_letters_and_found_nowhere_by_accident() -> None:
    found = nano()("examples/images/shapes.png", ["xylophone"])
    assert len(found) <= 1


def test_the_default_detector_says_what_it_is(caplog: pytest.LogCaptureFixture) -> None:
    detector = Detector()
    assert detector.model.dtype == torch.float32
    assert "a small model of drawn shapes" in caplog.text
    assert "IDEA-Research/grounding-dino-tiny" in caplog.text


def test_its_file_is_small_and_half_precision() -> None:
    from safetensors import safe_open

    path = locate(BUNDLED_MODEL).require("model.safetensors")
    assert path.stat().st_size <= 12 * 2**20
    with safe_open(path, "pt") as file:
        assert {file.get_slice(key).get_dtype() for key in file.keys()} == {"F16"}  # noqa: SIM118  (not a dict)


@pytest.mark.slow
def test_bfloat16_loses_at_most_half_a_point() -> None:
    records = SceneRecords(split="seen", seed=SEED, size=SIDE, count=150)
    full, half = (
        evaluate(nano(dtype), records, PROTOCOLS["scenes"], batch_size=8)["AP"] for dtype in ("float32", "bfloat16")
    )
    assert half == pytest.approx(full, abs=0.005)
