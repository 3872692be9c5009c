"""`groundling explain` on the demo picture."""

import json
import shutil
from pathlib import Path

import PIL.Image
import pytest

from groundling.cli.main import run
from groundling.pipeline.detector import ABOUT_BUNDLED_MODEL
from groundling.structures.detections import Detections

SHAPES = Path(__file__).parents[2] / "examples" / "images" / "shapes.png"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with the demo picture in it."""
    shutil.copy(SHAPES, tmp_path / "shapes.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(place):
    return sorted(path.name for path in Path(place).iterdir())


def test_nothing_found(folder, checkpoint, capsys):
    assert run(["explain", "shapes.png", "--labels", "a cat", "--threshold", "1", "--model", str(checkpoint)]) == 0
    out, err = capsys.readouterr()
    assert "nothing found" in out
    assert err == ""
    assert names("explained") == ["shapes.a-cat.png", "shapes.boxes.png", "shapes.scores.png"]


def test_the_example(folder, capsys):
    assert run(["explain", "shapes.png", "--labels", "red circle", "blue square", "--out", "explained/"]) == 0
    out, err = capsys.readouterr()
    assert err == f"{ABOUT_BUNDLED_MODEL}\n"
    rows = {row.split("│")[3].strip(): row for row in out.splitlines() if "shapes.png │" in row}
    assert set(rows) == {"red circle", "blue square"}
    assert "circle 0." in rows["red circle"].split("│")[5]
    written = [line.removeprefix("wrote ") for line in out.splitlines() if line.startswith("wrote ")]
    kinds = ["boxes", "red-circle", "blue-square", "scores"]
    assert written == [f"explained/shapes.{kind}.png" for kind in kinds]
    for path in written:
        with PIL.Image.open(path) as picture:
            assert min(picture.size) > 100
    with PIL.Image.open("explained/shapes.boxes.png") as picture:
        assert picture.size == (640, 480)


def test_json_writes_pictures_only_where_it_is_told_to(folder, checkpoint, capsys):
    command = ["explain", "shapes.png", "--labels", "a cat", "--json", "--threshold", "0", "--top-k", "2"]
    assert run([*command, "--model", str(checkpoint)]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    value = json.loads(line)
    assert len(Detections.from_dict(value["detections"])) == len(value["token_scores"]) == 2
    assert value["tokens"] == ["[CLS]", "a", "cat", ".", "[SEP]"]
    assert names(".") == ["shapes.png"]
    assert run([*command, "--out", "here", "--kind", "attention", "--model", str(checkpoint)]) == 0
    assert len(names("here")) == 3


def test_the_kinds_differ(folder, checkpoint):
    for kind in ("similarity", "attention"):
        options = ["--kind", kind, "--out", kind, "--model", str(checkpoint)]
        assert run(["explain", "shapes.png", "--labels", "a cat", *options]) == 0
    first, second = (Path(kind, "shapes.a-cat.png").read_bytes() for kind in ("similarity", "attention"))
    assert first != second


def test_labels_that_are_no_file_names(folder, checkpoint):
    labels = ["../a cat", "boxes", "scores", "A/cat", "a cat", "кошка", "%", "cat " * 30]
    assert run(["explain", "shapes.png", "--labels", *labels, "--out", "o", "--model", str(checkpoint)]) == 0
    assert len(names("o")) == len(labels) + 2
    assert {"shapes.boxes-2.png", "shapes.scores-2.png", "shapes.кошка.png", "shapes.label.png"} <= set(names("o"))
    assert names(".") == ["o", "shapes.png"]


def test_a_folder_with_a_broken_picture(folder, checkpoint, capsys):
    (folder / "photos").mkdir()
    for name in ("a.png", "b.jpg"):
        PIL.Image.new("RGB", (64, 48), "gray").save(folder / "photos" / name)
    (folder / "photos" / "aa.png").write_bytes(b"not a picture")
    assert run(["explain", "photos", "--labels", "a cat", "--out", "o", "--json", "--model", str(checkpoint)]) == 1
    out, err = capsys.readouterr()
    assert [json.loads(line)["detections"]["source"] for line in out.splitlines()] == ["photos/a.png", "photos/b.jpg"]
    assert err.count("\n") == 1
    assert "aa.png" in err
    assert len(names("o")) == 6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param([], "Nothing to find is named", id="empty"),
        pytest.param(["shapes.png", "--labels"], "Nothing to find is named", id="no label"),
        pytest.param(["--labels", "a cat"], "No picture is given", id="no picture"),
        pytest.param(["no.png", "--labels", "a cat"], "There is no picture file 'no.png'", id="missing"),
        pytest.param(["shapes.png", "--labels", "a", "--out", "shapes.png"], "shapes.png", id="out is a file"),
        pytest.param([".", "--labels", "a", "--out", "."], "is the folder that is read", id="out is in"),
        pytest.param(["shapes.png", "--labels", "a", "--kind", "heat"], "heat", id="kind"),
        pytest.param(["shapes.png", "--labels", *map(str, range(200))], "Name fewer labels", id="too many"),
    ],
)
def test_mistakes_take_one_line(folder, checkpoint, capsys, arguments, message):
    assert run(["explain", *arguments, "--model", str(checkpoint)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert err.count("\n") == 1
    assert names(".") == ["shapes.png"]
