"""`groundling calibrate`, with the bundled model."""

import json
import re
import shlex

import PIL.Image
import pytest

from groundling.cli.calibrate import calibrate
from groundling.cli.main import run
from groundling.pipeline.detector import ABOUT_BUNDLED_MODEL
from groundling.structures.vocabulary import Vocabulary

LABELS = ["--labels", "brown moon", "gray moon"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The scenes of the example; tests must not change them."""
    folder = tmp_path_factory.mktemp("made") / "scenes"
    assert run(["scenes", "make", str(folder), "--count", "8"]) == 0
    return folder


@pytest.fixture
def folder(made, tmp_path, monkeypatch):
    (tmp_path / "scenes").symlink_to(made)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param([], "Missing argument 'DATASET'", id="empty"),
        pytest.param(["scenes"], "Nothing to find is named", id="no label"),
        pytest.param(["scenes", "--labels", "red stra"], "no name 'red stra'.*Did you mean 'red star'", id="near"),
        pytest.param(["scenes", "--labels", "a", "a"], "The label 'a' stands twice", id="twice"),
        pytest.param(["scenes", *LABELS, "--vocabulary", "v.txt"], "Use one of them", id="both"),
        pytest.param(["scenes", "--vocabulary", "no.txt"], "no.txt", id="no vocabulary"),
        pytest.param(["none.json", *LABELS], "There is no file or folder 'none.json'", id="no data"),
        pytest.param(["scenes", *LABELS, "--images", "none"], "none", id="no pictures"),
        pytest.param(["scenes", *LABELS, "--precision", "0"], "precision must be more than 0", id="precision 0"),
        pytest.param(["scenes", *LABELS, "--precision", "1.1"], "got 1.1", id="precision 1.1"),
        pytest.param(["scenes", *LABELS, "--max-fp-rate", "-1"], "max_fp_rate must be within", id="rate"),
        pytest.param(["scenes", *LABELS, "--out", "v.txt"], "'v.txt' must be a file that ends in .json", id="out"),
        pytest.param(["scenes", *LABELS, "--out", "note.txt/v.json"], "'note.txt' is no folder", id="out in a file"),
        pytest.param(["scenes", *LABELS, "--report", "note.txt"], "--report: nothing can be", id="report is a file"),
        pytest.param(["scenes", *LABELS, "--model", "no-model-here"], "no-model-here", id="no model"),
        pytest.param(["empty.json", *LABELS], "there are no pictures in it", id="no pictures in it"),
        pytest.param(["broken.json", "--labels", "cat"], "broken.png", id="a broken picture"),
    ],
)
def test_a_mistake_is_one_line_and_writes_nothing(folder, capsys, arguments, message):
    (folder / "note.txt").write_text("a file")
    (folder / "broken.png").write_bytes(b"no picture")
    PIL.Image.new("RGB", (64, 64)).save(folder / "whole.png")
    images = [
        {"id": number, "file_name": name, "width": 64, "height": 64}
        for number, name in enumerate(("whole.png", "broken.png"))
    ]
    categories = [{"id": 1, "name": "cat"}, {"id": 2, "name": "brown moon"}]
    content = {"images": [], "annotations": [], "categories": categories}
    (folder / "empty.json").write_text(json.dumps(content))
    (folder / "broken.json").write_text(json.dumps(content | {"images": images}))
    before = sorted(folder.iterdir())
    assert run(["calibrate", *arguments]) == 2
    out, err = capsys.readouterr()
    err = err.removeprefix(f"{ABOUT_BUNDLED_MODEL}\n")
    assert out == ""
    assert err.startswith("groundling: ")
    assert re.search(message, err)
    assert err.count("\n") == 1
    assert sorted(folder.iterdir()) == before


def test_from_the_example_to_detections(folder, capsys):
    (example,) = re.findall(r"Example: groundling (.+)", calibrate.__doc__)
    assert run(shlex.split(example)) == 0
    out, err = capsys.readouterr()
    assert err == f"{ABOUT_BUNDLED_MODEL}\n"
    assert "targets: precision of at least 90 %; shares in percent, over 8 pictures" in out
    assert out.splitlines()[-1] == "wrote vocabulary.json and vocabulary-report/report.html"
    vocabulary = Vocabulary.read("vocabulary.json")
    assert vocabulary.labels == ("brown moon", "gray moon")
    figures = json.loads((folder / "vocabulary-report" / "calibration.json").read_text())
    assert {one["label"]: one["threshold"] for one in figures["labels"]} == dict(vocabulary.thresholds)
    assert figures["description"]["model"] == "groundling/nano"
    page = (folder / "vocabulary-report" / "report.html").read_text()
    assert "<title>Calibration</title>" in page
    assert "brown moon" in page
    assert "http" not in page
    with PIL.Image.open(folder / "vocabulary-report" / "curves.png") as curves:
        assert min(curves.size) > 200
    assert run(["detect", "scenes/images", "--vocabulary", "vocabulary.json", "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    for one in figures["labels"]:
        boxes = [box for line in lines for box in line["detections"] if box["label"] == one["label"]]
        assert len(boxes) == one["counts"]["right"] + one["counts"]["wrong"]
        assert all(box["score"] > one["threshold"] for box in boxes)


def test_a_vocabulary_keeps_what_it_says(folder, capsys):
    words = {"labels": ["moon", "red star"], "synonyms": {"moon": ["brown moon"]}, "negatives": ["gray moon"]}
    (folder / "in.json").write_text(json.dumps(words))
    assert run(["calibrate", "scenes", "--vocabulary", "in.json", "--out", "new/out.json", "--max-fp-rate", "0.2"]) == 0
    out = capsys.readouterr().out
    assert "FP rate of at most 20 %" in out
    assert "no examples" in out
    found = Vocabulary.read("new/out.json")
    assert found.synonyms == {"moon": ("brown moon",)}
    assert found.negatives == ("gray moon",)
    assert (folder / "new" / "out-report" / "report.html").is_file()


def test_the_help_names_everything(capsys):
    assert run(["calibrate", "--help"]) == 0
    text = capsys.readouterr().out
    assert all(option in text for option in ("--precision", "--max-fp-rate", "--vocabulary", "--nms", "--report"))
