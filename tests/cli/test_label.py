"""`groundling label`: from drawn scenes to a data set."""

import json
import re
import shlex
import sys
import time

import numpy as np
import pytest

from groundling.cli.label import label
from groundling.cli.main import run
from groundling.data.check import check_dataset
from groundling.data.open import open_dataset
from groundling.data.scenes.records import SceneRecords

SCENES = SceneRecords(split="seen", count=8, size=192)
LABELS = sorted({name for number in range(8) for name in SCENES[number].labels})


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """A working folder with `photos/`."""
    (tmp_path / "photos").mkdir()
    for number in range(3):
        SCENES[number].open().save(tmp_path / "photos" / f"{number}.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def iou(one, other):
    width, height = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
    inter = max(width, 0) * max(height, 0)
    return inter / (np.prod(one[2:] - one[:2]) + np.prod(other[2:] - other[:2]) - inter)


def things(record):
    return [(record.labels[column], record.boxes_xyxy[row]) for row, column in np.argwhere(record.positive_NL)]


def test_it_finds_drawn_things(tmp_path, monkeypatch, capsys):
    """Most of what the bundled model writes is there, and it writes most of what is there."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "drawn").mkdir()
    for number in range(8):
        SCENES[number].open().save(f"drawn/{number}.png")
    assert run(["label", "drawn", "--labels", *LABELS, "--out", "out", "--format", "voc", "--batch-size", "4"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("wrote out: 8 pictures, ")
    assert err.startswith("groundling/nano is used")
    assert check_dataset("out") == []
    right = written = drawn = 0
    for number, record in enumerate(open_dataset("out")):
        left = things(SCENES[number])
        drawn += len(left)
        for name, box in things(record):
            written += 1
            hit = next((n for n, (other, place) in enumerate(left) if other == name and iou(box, place) > 0.5), None)
            if hit is not None:
                right += 1
                left.pop(hit)
    assert right > 0.75 * written
    assert right > 0.55 * drawn


def test_masks_of_drawn_things(desk, capsys):
    """Both models that come with the package: what is right in a box is right in its mask."""
    command = ["label", "photos", "--labels", *LABELS, "--sam", "groundling/nano-sam", "--out", "out"]
    assert run([*command, "--polygons", "--fill-holes", "8", "--batch-size", "2"]) == 0
    assert capsys.readouterr().out.startswith("wrote out: 3 pictures, ")
    assert check_dataset("out") == []
    report = json.loads((desk / "out" / "report.json").read_text())
    assert report["made_by"]["segmenter"] == "groundling/nano-sam"
    assert report["job"]["masks fill_holes"] == 8
    drawn = SceneRecords(split="seen", count=3, size=192, masks=True)
    overlaps = []
    for number, record in enumerate(open_dataset("out", masks=True)):
        for box, mask in zip(record.boxes_xyxy, record.masks, strict=True):
            best = max(range(len(drawn[number].masks)), key=lambda row: iou(box, drawn[number].boxes_xyxy[row]))
            true = drawn[number].masks[best]
            overlaps.append((mask & true).sum() / (mask | true).sum())
    assert len(overlaps) > 3
    assert np.median(overlaps) > 0.88
    assert run([*command, "--fill-holes", "8", "--format", "png"]) == 0
    assert capsys.readouterr().out.startswith("wrote out: 3 pictures, ")
    assert len(list((desk / "out" / "masks").rglob("*.png"))) == len(overlaps)


def test_again_and_with_other_words(desk, capsys):
    command = ["label", "photos", "--labels", "red star", "--out", "out", "--model", "groundling/nano"]
    assert run(command) == 0
    assert capsys.readouterr().out.startswith("wrote out: 3 pictures, ")
    assert run(command) == 0
    out, err = capsys.readouterr()
    assert out.startswith("out is complete, nothing to do: 3 pictures, ")
    assert err == ""
    assert run([*command, "--threshold", "0.5"]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert "selection threshold was 0.3 and is now 0.5. Use the same settings to go on" in err
    assert run([*command, "--threshold", "0.5", "--overwrite", "--copy", "--nms", "0.7", "--top-k", "3"]) == 0


def test_unreadable_pictures(desk, capsys):
    for number in range(7):
        (desk / "photos" / f"broken-{number}.png").write_bytes(b"")
    assert run(["label", "photos", "--labels", "red star", "--out", "out", "--model", "groundling/nano"]) == 1
    out, err = capsys.readouterr()
    assert out.startswith("wrote out: 3 pictures")
    lines = err.splitlines()
    assert len(lines) == 6
    assert all("is empty: the file has 0 bytes" in line for line in lines[:5])
    assert lines[5] == "groundling: and 2 more, all listed in out/report.json"
    assert len(json.loads((desk / "out" / "report.json").read_text())["unreadable"]) == 7


def test_a_vocabulary_and_tiles(desk, capsys):
    (desk / "words.txt").write_text("red star\nblue circle\n")
    options = ["--vocabulary", "words.txt", "--out", "out", "--tile", "128", "--overlap", "0.25", "--format", "parquet"]
    assert run(["label", "photos", *options]) == 0
    import pandas

    assert len(pandas.read_parquet("out/pictures.parquet")) == 3
    report = json.loads((desk / "out" / "report.json").read_text())
    assert report["job"]["tiles"]["size"] == 128
    assert report["made_by"]["model"] == "groundling/nano"
    assert set(report["boxes"]) == {"red star", "blue circle"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param([], "Missing argument 'FOLDER'", id="empty"),
        pytest.param(["photos", "--labels", "a"], "Missing option '--out'", id="no out"),
        pytest.param(["photos", "--out", "out"], "Nothing to find is named", id="no labels"),
        pytest.param(["photos", "--out", "out", "--labels"], "Nothing to find is named", id="no label"),
        pytest.param(["photos", "--out", "o", "--labels", "a", "--vocabulary", "b"], "Use one of them", id="both"),
        pytest.param(["photos", "--out", "o", "--vocabulary", "gone.txt"], "gone.txt: No such file", id="no file"),
        pytest.param(["gone", "--out", "out", "--labels", "a"], "There is no folder 'gone'", id="no folder"),
        pytest.param(["empty", "--out", "out", "--labels", "a"], "has no pictures in it", id="empty folder"),
        pytest.param(["photos", "--out", "full", "--labels", "a"], "is not empty. Name another", id="not empty"),
        pytest.param(["photos", "--out", "photos", "--labels", "a"], "is not empty. Name another", id="the pictures"),
        pytest.param(["photos", "--out", "full/a.txt", "--labels", "a"], "is a file. Name a folder", id="a file"),
        pytest.param(["photos", "--out", "o", "--labels", "a", "--format", "x"], "'x' is not one of", id="format"),
        pytest.param(
            ["photos", "--out", "o", "--labels", "a", "--threshold", "2"], "value for '--threshold'", id="over"
        ),
        pytest.param(["photos", "--out", "o", "--labels", "a", "--tile", "8"], "must be at least 32", id="tile"),
        pytest.param(
            ["photos", "--out", "o", "--labels", "a", "--tile", "64", "--overlap", "1"], "0 to 0.9", id="laps"
        ),
        pytest.param(["photos", "--out", "o", "--labels", "a", "a"], "stands twice", id="twice"),
        pytest.param(["photos", "--out", "o", "--labels", "a", "--format", "png"], "Name one with --sam", id="png"),
        pytest.param(["photos", "--out", "o", "--labels", "a", "--fill-holes", "9"], "is no segmenter", id="no sam"),
        pytest.param(["photos", "--out", "o", "--labels", "a", "--polygons", "--format", "csv"], "Write one", id="csv"),
        pytest.param(["photos", "--out", "o", "--labels", "a", "--sam", "gone"], "gone", id="sam"),
        pytest.param(["photos", "--out", "o", "--labels", "a", "--model", "gone"], "gone", id="model"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(desk, capsys, arguments, message):
    (desk / "empty").mkdir()
    (desk / "full").mkdir()
    (desk / "full" / "a.txt").write_text("mine")
    before = sorted(path.as_posix() for path in desk.rglob("*"))
    assert run(["label", *arguments]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert message in err
    assert sorted(path.as_posix() for path in desk.rglob("*")) == before


def test_an_interruption_says_how_to_go_on(desk, capsys, monkeypatch):
    from groundling.interruption import Interruption

    command = ["label", "photos", "--labels", "red star", "--out", "out", "--model", "groundling/nano"]
    with monkeypatch.context() as patch:
        patch.setattr(Interruption, "__enter__", lambda self: setattr(self, "requested", True) or self)
        assert run(command) == 130
    assert "stopped; this run has done 1. Run the same command again to go on." in capsys.readouterr().err
    assert not (desk / "out").exists()
    assert run(command) == 0
    assert sorted(path.name for path in desk.iterdir()) == ["out", "photos"]


def test_the_bar_shows_rate_and_time_left(monkeypatch, capsys):
    from groundling.cli.label import _progress

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")
    with _progress() as advance:
        advance("labelling", 1, 8)
    assert capsys.readouterr().err == ""  # not a terminal
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with _progress() as advance:
        for done in range(4, 8):  # an earlier run has done four
            advance("labelling", done, 8)
            time.sleep(0.05)
    last = capsys.readouterr().err.rsplit("labelling", 1)[1]
    assert " 7/8 " in last
    rate = float(re.search(r"([\d.]+) pictures/s", last)[1])
    assert 2 < rate < 21  # of this run alone
    assert "0:00:0" in last


def test_the_example_in_the_help_works(desk):
    (example,) = re.findall(r"Example: groundling (.+)", label.__doc__)
    assert run(shlex.split(example)) == 0
    assert (desk / "labelled" / "data.yaml").is_file()
