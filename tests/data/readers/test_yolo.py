"""YOLO: data.yaml in its many forms, fractions of the picture, outlines."""

import pytest

from data.small_sets import picture, text
from groundling.data.problems import Collected
from groundling.data.readers.yolo import YoloRecords, label_file
from groundling.errors import DatasetError


def folder(root, labels="1 0.5 0.5 0.25 0.2\n", data="names: [dog, cat]\ntrain: images\nval: images\n"):
    text(root / "data.yaml", data)
    picture(root / "images" / "a.jpg")
    picture(root / "images" / "more" / "b.png")
    text(root / "labels" / "a.txt", labels)
    return root


def test_boxes_names_and_background(tmp_path):
    records = YoloRecords(folder(tmp_path))
    assert records.names == ("dog", "cat")
    assert [record.key for record in records] == ["a.jpg", "more/b.png"]
    assert records[0].boxes_xyxy.tolist() == [[15, 12, 25, 18]]
    assert records[0].labels == ("cat",)
    assert (records[1].labels, records[1].image_wh) == ((), (40, 30))


@pytest.mark.parametrize(
    ("line", "box"),
    [
        pytest.param("0 0.5 0.5 0.25 0.2 0.9", [15, 12, 25, 18], id="score"),
        pytest.param("0.0 0.25 0.1 0.5 0.2 0.25 0.4", [10, 3, 20, 12], id="outline"),
        pytest.param("0 0 0 0.5 0.5", [0, 0, 10, 7.5], id="cut off"),
    ],
)
def test_lines(tmp_path, line, box):
    assert YoloRecords(folder(tmp_path, line))[0].boxes_xyxy.tolist() == [box]


def test_key_points_are_left_out(tmp_path):
    data = "names: [dog]\ntrain: images\nkpt_shape: [2, 2]\n"
    records = YoloRecords(folder(tmp_path, "0 0.5 0.5 0.25 0.2 0.1 0.1 0.9 0.9", data))
    assert records[0].boxes_xyxy.tolist() == [[15, 12, 25, 18]]


@pytest.mark.parametrize(
    "data",
    [
        pytest.param("names: {0: dog, 1: cat}\n", id="no splits"),
        pytest.param("names: {1: cat, 0: dog}\ntrain: ./images\nval:\n", id="one split"),
        pytest.param("names: [dog, cat]\ntrain: ../images\n", id="Roboflow"),
        pytest.param("names: [dog, cat]\npath: .\ntrain: [images/a.jpg, images/more]\n", id="list"),
        pytest.param("names: [dog, cat]\ntrain: list.txt\n", id="file of names"),
    ],
)
def test_forms_of_data_yaml(tmp_path, data):
    text(tmp_path / "list.txt", "./images/a.jpg\nimages/more/b.png\n")
    records = YoloRecords(folder(tmp_path, data=data))
    assert records.names == ("dog", "cat")
    assert [record.open().size for record in records] == [(40, 30)] * 2
    assert [len(record.boxes_xyxy) for record in records] == [1, 0]


def test_splits(tmp_path):
    folder(tmp_path, data="names: [dog, cat]\ntrain: images\nval: images/more\n")
    with pytest.raises(DatasetError, match=r"has several splits. Name one with split=...: train, val"):
        YoloRecords(tmp_path)
    with pytest.raises(DatasetError, match=r"has no split 'test'. It has: train, val"):
        YoloRecords(tmp_path, split="test")
    assert len(YoloRecords(tmp_path, split="train")) == 2
    assert [record.key for record in YoloRecords(tmp_path, split="val")] == ["b.png"]
    assert [record.key for record in YoloRecords(tmp_path, tmp_path / "images" / "more")] == ["b.png"]


def test_where_labels_stand(tmp_path):
    assert (
        label_file(tmp_path / "images" / "x" / "images" / "a.b.jpg") == tmp_path / "images" / "x" / "labels" / "a.b.txt"
    )
    assert label_file(tmp_path / "images.jpg") == tmp_path / "images.txt"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        pytest.param("1", r"labels/a\.txt, line 1: '1' must be five numbers", id="too short"),
        pytest.param("cat 0.5 0.5 0.1 0.1", "must be five numbers", id="name"),
        pytest.param("0.5 0.5 0.5 0.1 0.1", "must be five numbers", id="fraction as class"),
        pytest.param("2 0.5 0.5 0.1 0.1", r"there is no class 2 in data\.yaml. The classes are 0 to 1", id="class"),
        pytest.param("0 20 15 10 6", "is not in fractions of the picture", id="pixels"),
        pytest.param("0 0.5 0.5 -0.1 0.1", "has a negative size", id="inverted"),
        pytest.param("0 0.5 0.5 nan 0.1", "not finite", id="nan"),
    ],
)
def test_wrong_lines_are_named(tmp_path, line, message):
    with pytest.raises(DatasetError, match=message):
        YoloRecords(folder(tmp_path, line))
    problems = Collected()
    records = YoloRecords(folder(tmp_path, f"{line}\n0 0.5 0.5 0.1 0.1"), problems=problems)
    assert [problem.severity for problem in problems] == ["error"]
    assert len(records[0].boxes_xyxy) == 1


@pytest.mark.parametrize(
    ("data", "message"),
    [
        pytest.param("", "must hold the keys 'names'", id="empty"),
        pytest.param("names: [", "is not valid YAML", id="no YAML"),
        pytest.param("train: images", "names=None must be a list of names", id="no names"),
        pytest.param("names: [a, a]", "the name 'a' has several numbers", id="twice"),
        pytest.param("names: {a: 0}", "'a': 0 must be a number and a name", id="the wrong way round"),
        pytest.param("names: [no]", "False must be a number and a name, in quotes", id="no means false"),
        pytest.param("names: [a]\ntrain: nowhere", "is neither a folder of pictures nor a .txt list", id="no folder"),
        pytest.param("!!python/object:x {}", "is not valid YAML", id="object"),
    ],
)
def test_wrong_data_yaml(tmp_path, data, message):
    with pytest.raises(DatasetError, match=message):
        YoloRecords(folder(tmp_path, "", data))


def test_no_data_yaml(tmp_path):
    with pytest.raises(DatasetError, match=r"data\.yaml cannot be read"):
        YoloRecords(tmp_path)
