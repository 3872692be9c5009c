"""`groundling scenes`: a data set as files, and scenes on one sheet."""

import json

import numpy as np
import pytest
from PIL import Image

from groundling.cli.main import run
from groundling.data.scenes import make_scene


def make(out, *options):
    return run(["scenes", "make", str(out), "--count", "2", "--size", "64", *options])


def test_make(tmp_path, capsys):
    out = tmp_path / "set"
    assert make(out, "--split", "seen", "--seed", "5") == 0
    captured = capsys.readouterr()
    assert captured.out == f"wrote {out}: 2 pictures of the split seen, seed 5\n"
    assert captured.err == ""
    coco = json.loads((out / "annotations.json").read_text())
    things = [thing for number in range(2) for thing in make_scene(5, number, split="seen", size=64).things]
    names = {category["id"]: category["name"] for category in coco["categories"]}
    assert [names[a["category_id"]] for a in coco["annotations"]] == [thing.name for thing in things]
    with Image.open(out / "images" / "000001.png") as picture:
        assert picture.tobytes() == make_scene(5, 1, split="seen", size=64).image.tobytes()


def test_nothing_is_written_over(tmp_path, capsys):
    assert make(tmp_path / "set") == 0
    assert make(tmp_path / "set") == 2
    assert "is not empty: there is 'annotations.json' in it." in capsys.readouterr().err


def test_show(tmp_path, capsys):
    out = tmp_path / "sheet.png"
    assert run(["scenes", "show", str(out), "--count", "3", "--columns", "2", "--size", "64", "--number", "4"]) == 0
    assert capsys.readouterr().out == f"wrote {out}: scenes 4 to 6 of the split train, seed 0\n"
    with Image.open(out) as sheet:
        assert sheet.size == (132, 132)
        pixels = np.asarray(sheet)
    assert (pixels[68:, 68:] == 255).all(), "the place of a fourth scene is blank"
    scene = make_scene(0, 4, size=64)
    drawn = (pixels[:64, :64] != np.asarray(scene.image)).any(axis=2)
    assert 0 < drawn.mean() < 0.9
    left, top, _, bottom = scene.boxes_xyxy.astype(int)[-1].clip(0, 63)
    assert drawn[top : bottom + 1, left].mean() > 0.5, "the box of a thing has a left side"


def test_one_scene_is_a_sheet(tmp_path, capsys):
    out = tmp_path / "sheet.jpg"
    assert run(["scenes", "show", str(out), "--count", "1", "--size", "64", "--split", "held_out"]) == 0
    with Image.open(out) as sheet:
        assert sheet.size == (64, 64)


def test_no_verb_shows_the_help(capsys):
    assert run(["scenes"]) == 0
    out = capsys.readouterr().out
    assert "make" in out
    assert "show" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["make"], "Missing argument 'OUT'", id="empty"),
        pytest.param(["make", "OUT"], "Missing option '--count'", id="no count"),
        pytest.param(["make", "OUT", "--count", "0"], "Invalid value for '--count'", id="no pictures"),
        pytest.param(["make", "OUT", "--count", "1", "--split", "test"], "'test' is not one of", id="split"),
        pytest.param(["make", "OUT", "--count", "1", "--size", "32"], "Invalid value for '--size'", id="size"),
        pytest.param(["make", "OUT", "--count", "1", "--seed", "-1"], "Invalid value for '--seed'", id="seed"),
        pytest.param(["show", "OUT"], "does not end in a picture format", id="no ending"),
        pytest.param(["show", "OUT.txt", "--size", "64"], "does not end in a picture format", id="ending"),
        pytest.param(["shaw"], "No such command 'shaw'", id="verb"),
    ],
)
def test_mistakes(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run(["scenes", *arguments]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ""
    assert list(tmp_path.iterdir()) == []
