"""`groundling evaluate` with a tiny model of random weights."""

import json

import PIL.Image
import pytest

from data.small_sets import flickr_folder, picture, refcoco_folder
from groundling.cli.main import run
from random_segmenters import write_segmenter


@pytest.fixture
def coco(tmp_path):
    """A COCO data set of two pictures; ids have gaps."""
    (tmp_path / "images").mkdir()
    for name in ("a.png", "b.png"):
        PIL.Image.new("RGB", (64, 48), "red").save(tmp_path / "images" / name)
    annotation = {"image_id": 70, "category_id": 5, "bbox": [1, 2, 30, 20], "area": 600, "iscrowd": 0}
    content = {
        "images": [
            {"id": 70, "file_name": "a.png", "width": 64, "height": 48},
            {"id": 3, "file_name": "b.png", "width": 64, "height": 48},
        ],
        "categories": [{"id": 90, "name": "dog"}, {"id": 5, "name": "cat"}],
        "annotations": [annotation | {"id": 1}, annotation | {"id": 2, "image_id": 3, "category_id": 90}],
    }
    path = tmp_path / "instances.json"
    path.write_text(json.dumps(content))
    return path


def test_nothing_named(capsys):
    assert run(["evaluate"]) == 2
    assert "Missing argument 'KIND'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["coco"], "No model is given. Name one", id="empty"),
        pytest.param(["voc"], "'voc' is not one of", id="unknown"),
        pytest.param(["coco", "--model", "m"], "coco needs --data, the annotation file.", id="no data"),
        pytest.param(["odinw", "--model", "m"], "odinw needs --data, the folder with a folder for each", id="no sets"),
        pytest.param(
            ["scenes", "--model", "m", "--data", "x"], "scenes are drawn, not read: leave --data out", id="data"
        ),
        pytest.param(["coco", "--model", "m", "--seed", "1"], "--seed does not belong to coco", id="foreign option"),
        pytest.param(["coco", "--model", "m", "--fixed"], "--fixed belongs to lvis, not to coco", id="fixed"),
        pytest.param(["coco", "--model", "m", "--data", "no.json"], "no.json", id="missing file"),
        pytest.param(["scenes", "--model", "m", "--split", "all"], "split='all' is unknown", id="split"),
        pytest.param(["refcoco", "--model", "m", "--data", "x", "--top-k", "3"], "needs the best 10 boxes", id="top k"),
        pytest.param(["scenes", "--model", "no-model-here", "--count", "1"], "no-model-here", id="missing model"),
        pytest.param(
            ["flickr", "--model", "m", "--data", "x", "--sam", "s"], "--sam belongs to coco, lvis, ", id="sam"
        ),
        pytest.param(["scenes", "--split", "referring", "--sam", "s"], "and not to phrases", id="masks of phrases"),
        pytest.param(
            ["scenes", "--fill-holes", "3"], "are about masks: name a segmenter with --sam", id="no segmenter"
        ),
        pytest.param(["scenes", "--sam", "no-sam-here", "--count", "1"], "no-sam-here", id="missing segmenter"),
    ],
)
def test_mistakes(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(["evaluate", *arguments]) == 2
    out, err = capsys.readouterr()
    assert message in err
    assert "Traceback" not in err
    assert out == ""


def test_coco(coco, checkpoint, tmp_path, capsys):
    arguments = ["coco", "--model", str(checkpoint), "--data", str(coco), "--out", str(tmp_path / "out")]
    assert run(["evaluate", *arguments, "--top-k", "5", "--batch-size", "2"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    lines = [line.strip() for line in out.splitlines()]
    assert lines[0].startswith("model")
    assert out.index("mean of its tokens") < out.index("AP50")
    assert "none, none" in out
    assert lines[-1] == f"wrote {tmp_path / 'out' / 'report.html'}"
    boxes = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert len(boxes) == 10
    assert {box["image_id"] for box in boxes} == {70, 3}
    assert {box["category_id"] for box in boxes} <= {5, 90}
    assert len(json.loads((tmp_path / "out" / "metrics.json").read_text())["metrics"]) == 12


def test_coco_with_masks(coco, checkpoint, tmp_path, capsys):
    arguments = ["--model", str(checkpoint), "--data", str(coco), "--out", str(tmp_path / "out"), "--top-k", "5"]
    arguments += ["--sam", str(write_segmenter("sam", tmp_path / "sam")), "--drop-islands", "4"]
    assert run(["evaluate", "coco", *arguments]) == 2
    assert "annotations[0] (id 1): the segmentation is missing" in capsys.readouterr().err
    content = json.loads(coco.read_text())
    for annotation in content["annotations"]:
        annotation["segmentation"] = [[1, 2, 31, 2, 31, 22, 1, 22]]
    coco.write_text(json.dumps(content))
    assert run(["evaluate", "coco", *arguments]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "islands of less than 4 pixels dropped" in out
    assert out.index("AP50") < out.index("mask_AP") < out.index("lost_by_detector") < out.index("mask AP")
    boxes = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert [box["segmentation"]["size"] for box in boxes] == [[48, 64]] * 10


def test_scenes(checkpoint, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    arguments = ["--model", str(checkpoint), "--count", "2", "--size", "64", "--seed", "5"]
    assert run(["evaluate", "scenes", *arguments, "--limit", "1"]) == 0
    assert "1 records" in capsys.readouterr().out
    assert (tmp_path / "evaluation" / "scenes" / "report.html").exists()


def test_scenes_referring(checkpoint, tmp_path, capsys):
    arguments = ["--model", str(checkpoint), "--count", "1", "--split", "referring", "--out", str(tmp_path)]
    assert run(["evaluate", "scenes", *arguments]) == 0
    out = capsys.readouterr().out
    assert "each expression in a prompt of its own" in out
    assert "accuracy@0.5" in out


def test_odinw(coco, checkpoint, tmp_path, capsys):
    for name in ("first", "second"):
        (tmp_path / "sets" / name).mkdir(parents=True)
        (tmp_path / "sets" / name / "annotations.json").write_text(coco.read_text())
        (tmp_path / "sets" / name / "images").symlink_to(tmp_path / "images")
    out = tmp_path / "out"
    assert (
        run(["evaluate", "odinw", "--model", str(checkpoint), "--data", str(tmp_path / "sets"), "--out", str(out)]) == 0
    )
    printed = capsys.readouterr().out
    assert "mean" in printed
    written = json.loads((out / "metrics.json").read_text())
    assert list(written["data_sets"]) == ["first", "second"]
    assert written["metrics"]["AP"] == pytest.approx(written["data_sets"]["first"]["AP"])
    assert (out / "second" / "report.html").exists()


def test_lvis_fixed(coco, checkpoint, tmp_path, capsys):
    content = json.loads(coco.read_text())
    for image in content["images"]:
        image |= {"neg_category_ids": [5], "not_exhaustive_category_ids": []}
    for category in content["categories"]:
        category["frequency"] = "r"
    coco.write_text(json.dumps(content))
    arguments = ["--model", str(checkpoint), "--data", str(coco), "--fixed", "--out", str(tmp_path / "out")]
    assert run(["evaluate", "lvis", *arguments]) == 0
    assert "the best 10,000 boxes of each category" in capsys.readouterr().out
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert {row["frequency"] for row in metrics["categories"]} == {"rare"}
    assert metrics["metrics"]["APr"] == metrics["metrics"]["AP"]
    assert metrics["metrics"]["APf"] is None


@pytest.mark.parametrize(
    ("kind", "make", "split", "phrases"), [("refcoco", refcoco_folder, "val", 3), ("flickr", flickr_folder, "val", 3)]
)
def test_phrases(kind, make, split, phrases, checkpoint, tmp_path, capsys):
    data = make(tmp_path / "data")
    picture(tmp_path / "data" / "a.jpg")  # of refcoco; flickr brings its own
    arguments = ["--model", str(checkpoint), "--data", str(data), "--split", split, "--out", str(tmp_path / "out")]
    assert run(["evaluate", kind, *arguments, "--batch-size", "2"]) == 0
    assert "of each phrase" in capsys.readouterr().out
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["counts"]["phrases"] == phrases
    assert 0 <= metrics["metrics"]["R@1"] <= metrics["metrics"]["R@10"] <= 1


def test_the_same_command_again(coco, checkpoint, tmp_path, capsys):
    arguments = ["evaluate", "coco", "--model", str(checkpoint), "--data", str(coco), "--out", str(tmp_path / "out")]
    assert run(arguments) == 0
    first = capsys.readouterr().out
    assert run(arguments) == 0
    assert capsys.readouterr().out == first
    assert run([*arguments, "--aggregate", "max"]) == 2
    assert "predictions of another evaluation (there aggregate='mean')" in capsys.readouterr().err


@pytest.mark.parametrize("what", ["order", "pictures"])
def test_findings_in_other_pictures_are_not_taken(coco, checkpoint, tmp_path, capsys, what):
    arguments = ["evaluate", "coco", "--model", str(checkpoint), "--data", str(coco), "--out", str(tmp_path / "out")]
    assert run(arguments) == 0
    if what == "order":
        content = json.loads(coco.read_text())
        coco.write_text(json.dumps(content | {"images": content["images"][::-1]}))
    else:
        PIL.Image.radial_gradient("L").resize((64, 48)).save(tmp_path / "images" / "a.png")
    capsys.readouterr()
    assert run(arguments) == 2
    assert "predictions of another evaluation (there records_digest=" in capsys.readouterr().err


def test_corrected_boxes_are_measured_without_asking_again(coco, checkpoint, tmp_path):
    arguments = ["evaluate", "coco", "--model", str(checkpoint), "--data", str(coco), "--out", str(tmp_path / "out")]
    assert run(arguments) == 0
    found = (tmp_path / "out" / "predictions.jsonl").read_bytes()
    content = json.loads(coco.read_text())
    content["annotations"][0]["bbox"] = [3, 4, 30, 20]
    coco.write_text(json.dumps(content))
    assert run(arguments) == 0
    assert (tmp_path / "out" / "predictions.jsonl").read_bytes() == found


@pytest.mark.parametrize(("index", "label"), [(7, 0), (0, 9)])
def test_findings_that_the_data_set_cannot_have(coco, checkpoint, tmp_path, capsys, index, label):
    arguments = ["evaluate", "coco", "--model", str(checkpoint), "--data", str(coco), "--out", str(tmp_path / "out")]
    assert run(arguments) == 0
    file = tmp_path / "out" / "predictions.jsonl"
    line = {"index": index, "boxes_xyxy": [[0, 0, 1, 1]], "scores": [0.5], "label_ids": [label]}
    file.write_text(f"{file.read_text().splitlines()[0]}\n{json.dumps(line)}\n")
    assert run(arguments) == 2
    assert "that the data set does not have. Remove it and start again" in capsys.readouterr().err


@pytest.mark.parametrize("out", ["file", "file/deeper"])
def test_results_need_a_folder(coco, checkpoint, tmp_path, capsys, out):
    (tmp_path / "file").write_text("")
    arguments = ["evaluate", "coco", "--model", str(checkpoint), "--data", str(coco)]
    assert run([*arguments, "--out", str(tmp_path / out)]) == 2
    assert "is a file. Name another one." in capsys.readouterr().err
