"""Many data sets in one folder."""

import json
import math
from types import SimpleNamespace

import pytest

from groundling.errors import DatasetError
from groundling.evaluate.odinw import find_sets
from groundling.evaluate.summary import write_summary


def make(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("{}")
    return folder


def test_no_folder(tmp_path):
    with pytest.raises(DatasetError, match=r"nowhere is no folder\. ODinW is a folder with one folder for each"):
        find_sets(tmp_path / "nowhere")


def test_no_data_sets(tmp_path):
    make(tmp_path, "a/readme.json", "b/train/annotations.json")
    with pytest.raises(DatasetError, match="has no data sets: no folder in it has a file whose name ends in"):
        find_sets(tmp_path)


def test_data_sets_as_they_are_published(tmp_path):
    make(
        tmp_path,
        "Aquarium/Aquarium Combined.v2-raw-1024.coco/valid/annotations_without_background.json",
        "Aquarium/Aquarium Combined.v2-raw-1024.coco/train/annotations_without_background.json",
        "pistols/export/val_annotations_without_background.json",
        "own/annotations.json",
        "own/images/a.png",
        "empty/readme.txt",
    )
    found = find_sets(tmp_path)
    assert list(found) == ["Aquarium", "own", "pistols"]
    assert found["Aquarium"].images == found["Aquarium"].annotations.parent
    assert found["own"].images == tmp_path / "own" / "images"
    assert found["pistols"].annotations.name.startswith("val")


def test_several_files_need_a_choice(tmp_path):
    make(tmp_path, "a/valid/annotations.json", "a/test/annotations.json")
    with pytest.raises(DatasetError, match=r"several annotation files: .*test.*valid.*Choose with --split"):
        find_sets(tmp_path)
    assert find_sets(tmp_path, "valid")["a"].annotations.parent.name == "valid"
    with pytest.raises(DatasetError, match="has no data sets with 'mini' in their path"):
        find_sets(tmp_path, "mini")


def test_the_mean_is_over_data_sets(tmp_path):
    def outcome(ap):
        return SimpleNamespace(measured=SimpleNamespace(numbers={"AP": ap, "AP50": 1.0, "AP75": 0.0, "AR1": 0.3}))

    table = write_summary(tmp_path, {"a": outcome(0.2), "b&": outcome(0.4), "empty": outcome(math.nan)})
    assert table["mean"]["AP"] == pytest.approx(0.3)
    assert list(table) == ["a", "b&", "empty", "mean"]
    written = json.loads((tmp_path / "metrics.json").read_text())
    assert written["metrics"]["AP"] == pytest.approx(0.3)
    assert written["data_sets"]["empty"]["AP"] is None
    assert 'href="b&amp;/report.html"' in (tmp_path / "report.html").read_text()
