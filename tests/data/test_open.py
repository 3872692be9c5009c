"""A data set by its path alone, or by a specification in which nothing may be misspelt."""

import json

import pytest

from data.small_sets import (
    as_json,
    as_lines,
    coco,
    coco_folder,
    detection,
    flickr_folder,
    refcoco_folder,
    text,
    voc_xml,
)
from groundling.data.open import open_dataset
from groundling.data.readers.coco import CocoRecords
from groundling.data.readers.flickr import FlickrRecords
from groundling.data.readers.lvis import LvisRecords
from groundling.data.readers.odvg import OdvgRecords
from groundling.data.readers.refcoco import RefCocoRecords
from groundling.data.readers.voc import VocRecords
from groundling.data.readers.yolo import YoloRecords
from groundling.errors import ConfigError, DatasetError


def lvis(path):
    content = coco()
    content["images"][0]["neg_category_ids"] = [5]
    return as_json(path, content)


def yolo(folder):
    text(folder / "images" / "x" / "empty.txt", "")
    text(folder / "images" / "a.jpg", "")
    return text(folder / "data.yaml", "names: [a]\n")


@pytest.mark.parametrize(
    ("make", "name", "kind"),
    [
        pytest.param(coco_folder, "annotations.json", CocoRecords, id="coco"),
        pytest.param(coco_folder, "", CocoRecords, id="coco folder"),
        pytest.param(lambda d: as_json(d / "x.json", coco()), "", CocoRecords, id="folder with one JSON file"),
        pytest.param(lambda d: lvis(d / "v1.json"), "v1.json", LvisRecords, id="lvis"),
        pytest.param(lambda d: as_lines(d / "x.jsonl", detection()), "x.jsonl", OdvgRecords, id="odvg"),
        pytest.param(lambda d: as_lines(d / "x.json", detection()), "x.json", OdvgRecords, id="odvg called .json"),
        pytest.param(refcoco_folder, "refs.json", RefCocoRecords, id="refcoco"),
        pytest.param(flickr_folder, "", FlickrRecords, id="flickr"),
        pytest.param(lambda d: text(d / "Annotations" / "a.xml", voc_xml()), "", VocRecords, id="voc"),
        pytest.param(yolo, "data.yaml", YoloRecords, id="yolo"),
        pytest.param(yolo, "", YoloRecords, id="yolo folder"),
    ],
)
def test_formats_are_recognised(tmp_path, make, name, kind):
    make(tmp_path)
    assert type(open_dataset(str(tmp_path / name))) is kind
    assert type(open_dataset(tmp_path / name)) is kind


def test_a_specification(tmp_path):
    file = coco_folder(tmp_path)
    records = open_dataset({"format": "coco", "annotations": str(file), "images": str(tmp_path), "split": None})
    assert records[0].picture == tmp_path / "a.jpg"
    refcoco_folder(tmp_path / "ref")
    records = open_dataset({"annotations": str(tmp_path / "ref" / "refs.json"), "split": "testA"})
    assert [record.labels for record in records] == [("big one",)]


def test_a_label_map_beside_odvg_is_used(tmp_path):
    file = as_lines(tmp_path / "x.jsonl", detection())
    as_json(tmp_path / "label_map.json", {"0": "a"})
    assert open_dataset(file).names == ("a",)
    other = as_json(tmp_path / "other.json", {"0": "b"})
    assert open_dataset({"annotations": file, "label_map": other}).names == ("b",)


def test_scenes():
    records = open_dataset({"format": "scenes", "split": "seen", "size": 64, "count": 2})
    assert len(records) == 2
    assert records[0].image_wh == (64, 64)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        pytest.param({}, "needs the key 'annotations' with a path, but it is None", id="empty"),
        pytest.param({"annotations": ""}, "but it is ''", id="blank"),
        pytest.param({"annotations": 3}, "but it is 3", id="number"),
        pytest.param({"format": "cocoo"}, "There is no data set format 'cocoo'. Did you mean 'coco'?", id="format"),
        pytest.param({"format": ["coco"]}, r"There is no data set format \['coco'\]", id="list as format"),
        pytest.param({"annotations": "c.json", 5: "x"}, "'coco' has no key 5", id="number as key"),
        pytest.param({"format": "x"}, "Use one of coco, odvg, lvis, refcoco, flickr, yolo, voc, scenes", id="far off"),
        pytest.param(
            {"annotations": "c.json", "image": "x"}, "'coco' has no key 'image'. Did you mean 'images'?", id="key"
        ),
        pytest.param({"annotations": "c.json", "zz": 1}, "It takes: annotations, images", id="key far off"),
        pytest.param(
            {"annotations": "c.json", "label_map": "x"}, "'coco' has no key 'label_map'", id="other format's key"
        ),
        pytest.param({"annotations": "c.json", "images": 3}, "images=3 must be of the type text", id="type"),
        pytest.param({"format": "scenes", "seeds": 3}, "has no key 'seeds'. Did you mean 'seed'?", id="scenes key"),
        pytest.param({"format": "scenes", "seed": "3"}, "seed='3' must be of the type int", id="scenes type"),
        pytest.param({"format": "scenes", "seed": True}, "seed=True must be of the type int", id="scenes truth"),
        pytest.param("x.txt", "format of 'x.txt' cannot be recognised. Name it", id="ending"),
        pytest.param("none", "The folder 'none' has no annotations in it", id="empty folder"),
        pytest.param("two", "The folder 'two' has several .json files", id="two files"),
    ],
)
def test_mistakes(tmp_path, monkeypatch, spec, message):
    monkeypatch.chdir(tmp_path)
    as_json(tmp_path / "c.json", coco())
    as_json(tmp_path / "two" / "a.json", {})
    as_json(tmp_path / "two" / "b.json", {})
    (tmp_path / "none").mkdir()
    text(tmp_path / "x.txt", "")
    with pytest.raises(ConfigError, match=message):
        open_dataset(spec)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param("", "is empty: the file has 0 bytes", id="empty"),
        pytest.param(json.dumps({"a": 1}), "has no list 'images'", id="another JSON file"),
        pytest.param(json.dumps([{"image_id": 1}]), "usually a file of results", id="results"),
    ],
)
def test_other_json_files(tmp_path, content, message):
    with pytest.raises(DatasetError, match=message):
        open_dataset(text(tmp_path / "c.json", content))


def test_no_such_file(tmp_path):
    with pytest.raises(DatasetError, match=r"There is no file or folder .*no\.json'"):
        open_dataset(tmp_path / "no.json")
