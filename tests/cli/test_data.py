"""`groundling data check` and `groundling data convert`."""

import json
import re
import shlex

import pytest

from data.small_sets import as_json, as_lines, coco, coco_folder, detection, picture, refcoco_folder, text
from groundling.cli import data
from groundling.cli.main import run


def test_a_good_data_set(tmp_path, capsys):
    assert run(["data", "check", str(coco_folder(tmp_path))]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    for words in ("pictures", "cat 2, hot dog 1, teddy 0", "nothing is wrong"):
        assert words in out


def test_errors_and_warnings(tmp_path, capsys):
    wrong = [{"id": n, "image_id": 7, "category_id": 1, "bbox": [1, 1, 2, 2]} for n in range(8)]
    empty = [{"id": 9, "image_id": 7, "category_id": 90, "bbox": [1, 1, 0, 2]}]
    file = coco_folder(tmp_path, annotations=[*empty, *wrong])
    assert run(["data", "check", str(file), "--json", str(tmp_path / "report.json")]) == 1
    out, err = capsys.readouterr()
    assert err == ""
    assert out.index("unknown category") < out.index("empty box")  # errors come first
    assert "... and 3 more; see --json" in out
    assert "8 errors, 2 warnings" in out
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["counts"]["of_name"] == {"cat": 0, "hot dog": 0, "teddy": 0}
    assert len(report["problems"]) == 10
    assert report["problems"][0] == {
        "severity": "warning",
        "kind": "empty box",
        "file": str(file),
        "spot": "annotations[0] (id 9)",
        "cause": "the box [1, 1, 0, 2] has no area and is left out.",
    }


def test_warnings_count_if_they_are_to(tmp_path, capsys):
    file = coco_folder(tmp_path, annotations=[])
    assert run(["data", "check", str(file)]) == 0
    assert run(["data", "check", str(file), "--strict"]) == 1
    assert "0 errors, 1 warnings" in capsys.readouterr().out


def test_options_reach_the_reader(tmp_path, capsys):
    picture(tmp_path / "pictures" / "a.jpg")
    file = as_lines(tmp_path / "lines.txt", detection({"bbox": [1, 1, 5, 5], "label": 0}))
    names = as_json(tmp_path / "names.json", {"0": "zebra"})
    options = ["--format", "odvg", "--images", str(tmp_path / "pictures"), "--label-map", str(names), "--quick"]
    assert run(["data", "check", str(file), *options]) == 0
    assert "zebra 1" in capsys.readouterr().out
    refs = refcoco_folder(tmp_path)
    options = [
        "--split",
        "testA",
        "--instances",
        str(tmp_path / "instances.json"),
        "--images",
        str(tmp_path / "pictures"),
    ]
    assert run(["data", "check", str(refs), *options]) == 0
    assert "big one 1" in capsys.readouterr().out


def test_there_and_back(tmp_path, capsys):
    file = coco_folder(tmp_path)
    assert run(["data", "convert", str(file), str(tmp_path / "voc"), "--to", "voc", "--copy"]) == 0
    assert capsys.readouterr().out == f"wrote {tmp_path / 'voc'}: 2 records as voc, pictures copied\n"
    assert run(["data", "convert", str(tmp_path / "voc"), str(tmp_path / "yolo"), "--to", "yolo"]) == 0
    out, err = capsys.readouterr()
    assert out == f"wrote {tmp_path / 'yolo'}: 2 records as yolo, pictures linked\n"
    assert err == "groundling: yolo cannot hold: crowds (1)\n"
    assert run(["data", "check", str(tmp_path / "yolo"), "--strict"]) == 0
    again = ["data", "convert", str(file), str(tmp_path / "yolo"), "--to", "coco"]
    assert run(again) == 2
    assert "is not empty" in capsys.readouterr().err
    assert run([*again, "--overwrite"]) == 0


def test_masks_that_are_missing_are_listed(tmp_path, capsys):
    """The command that the first such error names."""
    file = coco_folder(tmp_path)
    assert run(["data", "convert", str(file), str(tmp_path / "out"), "--to", "yolo", "--masks"]) == 2
    err = capsys.readouterr().err
    assert "annotations[0] (id 1): the segmentation is missing" in err
    assert "`groundling data check --masks` lists everything at once" in err
    assert run(["data", "check", str(file)]) == 0
    assert "nothing is wrong" in capsys.readouterr().out
    assert run(["data", "check", str(file), "--masks"]) == 1
    out = capsys.readouterr().out
    assert out.count("missing or damaged mask") == 3
    assert "3 errors, 0 warnings" in out


def test_masks_of_yolo_are_converted(tmp_path, capsys):
    text(tmp_path / "set" / "data.yaml", "names: [dog]\ntrain: images\n")
    picture(tmp_path / "set" / "images" / "a.jpg")
    text(tmp_path / "set" / "labels" / "a.txt", "0 .25 .2 .5 .2 .5 .4 .25 .4\n")
    assert run(["data", "check", str(tmp_path / "set"), "--masks"]) == 0
    assert run(["data", "convert", str(tmp_path / "set"), str(tmp_path / "out"), "--to", "coco", "--masks"]) == 0
    assert capsys.readouterr().err == ""
    (one,) = json.loads((tmp_path / "out" / "annotations.json").read_text())["annotations"]
    assert (one["segmentation"]["size"], one["area"]) == ([30, 40], 10 * 6)


def test_the_help_does_not_speak_of_other_arguments(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "250")
    for verb in (["data", "check"], ["data", "convert"], ["calibrate"]):
        assert run([*verb, "--help"]) == 0
        shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
        assert "Format of the data set; else it is recognised." in shown
        assert verb == ["calibrate"] or "COCO, LVIS, YOLO: " in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["check"], "Missing argument 'DATASET'", id="empty"),
        pytest.param(["check", "x.txt"], "The format of 'x.txt' cannot be recognised", id="ending"),
        pytest.param(["check", "c.json", "--format", "kitti"], "Invalid value for '--format'", id="format"),
        pytest.param(
            ["check", "c.json", "--split", "val"], "format 'coco' has no key 'split'", id="another format's option"
        ),
        pytest.param(
            ["check", "c.json", "--format", "voc", "--masks"], "but the data set is voc, which is read with", id="masks"
        ),
        pytest.param(
            ["convert", "c.json", "out", "--format", "voc", "--to", "yolo", "--masks"],
            "Leave masks (--masks) out, or give the COCO file",
            id="convert masks",
        ),
        pytest.param(["convert", "c.json", "out"], "Missing option '--to'", id="no layout"),
        pytest.param(
            ["convert", "none.json", "out", "--to", "voc"], "There is no file or folder 'none.json'", id="nothing"
        ),
        pytest.param(["convert", "c.json", "out", "--to", "voc"], "There is no picture file", id="no pictures"),
        pytest.param(["convert", "bad.json", "out", "--to", "voc"], "bad.json has no list 'images'", id="another file"),
        pytest.param(["convert", "c.json", "x.txt", "--to", "voc"], "x.txt is a file. Name a folder", id="file"),
        pytest.param(["convert", "c.json", "x.txt/out", "--to", "voc"], "x.txt", id="no folder"),
    ],
)
def test_a_mistake_is_one_line(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    as_json(tmp_path / "c.json", coco())
    text(tmp_path / "bad.json", "{}")
    text(tmp_path / "x.txt", "")
    assert run(["data", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("groundling: ")
    assert message in err
    assert err.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.json", "c.json", "x.txt"]


def test_a_file_that_cannot_be_read_is_a_finding(tmp_path, capsys):
    assert run(["data", "check", str(tmp_path / "none.json")]) == 1
    out, err = capsys.readouterr()
    assert "There is no file or folder" in " ".join(out.replace("│", " ").split())
    assert err == ""


def test_names_with_letters_that_cannot_be_printed(tmp_path):
    import subprocess
    import sys

    file = coco_folder(tmp_path, categories=[{"id": 90, "name": "猫"}, {"id": 2, "name": "hot [dog]"}])
    code = f"import sys; from groundling.cli.main import run; sys.exit(run(['data', 'check', {str(file)!r}]))"
    environment = {"PYTHONIOENCODING": "ascii:strict", "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"? 2, hot [dog] 1" in done.stdout


@pytest.mark.parametrize("verb", [data.check, data.convert])
def test_the_example_in_the_help_works(tmp_path, monkeypatch, verb):
    monkeypatch.chdir(tmp_path)
    coco_folder(tmp_path)
    (tmp_path / "annotations.json").rename("instances.json")
    (tmp_path / "images").rename("photos")
    (example,) = re.findall(r"Example: groundling (.+)", verb.__doc__)
    assert run(shlex.split(example)) == 0


def test_help(capsys):
    assert run(["data"]) == 0
    assert "convert" in capsys.readouterr().out
