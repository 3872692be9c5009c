"""What a calibration looks like."""

import json
import math

import numpy as np
import PIL.Image
import pytest

from groundling.evaluate.calibration import Calibration, Counts, LabelCalibration, Targets, report
from groundling.evaluate.calibration.choice import Curve
from groundling.evaluate.calibration.report import (
    TEXTS,
    TITLES,
    draw_thresholds,
    table_rows,
    targets_text,
    write_report,
)
from groundling.structures.vocabulary import Vocabulary


def curve(*scores):
    counts = np.arange(1, len(scores) + 1)
    return Curve(np.array(scores, np.float32), counts, np.zeros_like(counts), np.zeros_like(counts))


def label(name, status="met", **changes):
    values = {
        "threshold": 0.55,
        "is_chosen": True,
        "counts": Counts(9, 1, 12, 8, 1, 32),
        "held_out": Counts(8, 2, 12, 8, 2, 32),
        "curve": curve(0.9, 0.6),
    }
    return LabelCalibration(label=name, status=status, **(values | changes))


NOTHING = label("nothing", "no examples", threshold=0.3, is_chosen=False, counts=Counts(), held_out=None, curve=curve())


def calibration(*labels):
    vocabulary = Vocabulary(tuple(one.label for one in labels))
    return Calibration(vocabulary, labels, Targets(), 40)


def test_rows():
    full, empty = table_rows(calibration(label("a cat"), NOTHING))
    assert full == (
        "a cat", "0.55", "met", "8", "32", "9 of 10", "90.0 (59.6-98.2)", "75.0",
        "3.1 (0.6-15.7)", "80.0", "66.7", "6.2",
    )  # fmt: skip
    assert empty == ("nothing", "(0.3)", "no examples", "0", "0", "0 of 0", *"------")
    assert len(full) == len(TITLES) > TEXTS


@pytest.mark.parametrize(
    ("targets", "text"),
    [
        pytest.param(Targets(), "precision of at least 90 %", id="usual"),
        pytest.param(Targets(0.925, 0.001), "precision of at least 92.5 %, FP rate of at most 0.1 %", id="both"),
    ],
)
def test_targets(targets, text):
    assert targets_text(targets) == text


def test_the_page_stands_alone(tmp_path):
    odd = "<b>$x_1$ & 猫"
    write_report(tmp_path / "new", calibration(label(odd), NOTHING), {"model": "m", "nms_iou": None})
    page = (tmp_path / "new" / "report.html").read_text(encoding="utf-8")
    assert "&lt;b&gt;$x_1$ &amp; 猫" in page
    assert "<b>" not in page
    assert "<td>none</td>" in page
    assert "http" not in page
    figures = json.loads((tmp_path / "new" / "calibration.json").read_text(encoding="utf-8"))
    assert figures["labels"][0]["counts"]["precision"] == 0.9
    assert figures["labels"][1]["held_out"] is None
    assert figures["description"]["nms_iou"] is None


def test_of_many_labels_those_that_miss_their_targets_are_drawn(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "MOST_DRAWN", 4)
    drawn_first = []
    monkeypatch.setattr(report, "_draw", lambda axes, one, targets: drawn_first.append(one.label))
    labels = [label(f"label {number}") for number in range(9)] + [label("bad", "not met")]
    write_report(tmp_path, calibration(*labels), {})
    assert "6 labels that meet the targets better are not drawn" in (tmp_path / "report.html").read_text()
    assert drawn_first == ["bad", "label 0", "label 1", "label 2"]


def test_curves_show_the_choice(tmp_path):
    blue = {}
    for precision in (0.2, 0.9):
        draw_thresholds(tmp_path / "a.png", [label("a", curve=curve(0.9, 0.6))], Targets(precision))
        with PIL.Image.open(tmp_path / "a.png") as drawn:
            pixels = np.asarray(drawn.convert("RGB")).astype(int)[: int(0.8 * drawn.height)]  # without the legend
        is_blue = (pixels[..., 2] - pixels[..., 0] > 60) & (pixels[..., 2] - pixels[..., 1] > 20)
        blue[precision] = is_blue.nonzero()[0]
    assert blue[0.2].max() > blue[0.9].max() + 50  # the dotted line of the target lies lower


def test_nothing_to_draw(tmp_path):
    draw_thresholds(tmp_path / "a.png", [NOTHING], Targets(0.9, 0.1))
    assert (tmp_path / "a.png").stat().st_size > 1000
    assert math.isnan(NOTHING.counts.precision)
