"""What other programs make of the files; scores are kept where a format has room for them."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from groundling.data.check import check_dataset
from groundling.data.open import READERS, open_dataset
from groundling.labelling import LabelSettings, find_pictures, label_folder
from labelling.drawn import LABELS, boxes_of, folder_of, labels_of, predictions

FORMATS = ("coco", "yolo", "voc", "odvg", "csv", "parquet", "labelme")
NAMES = ("a.png", "x/a.png", "y/ü 夜.png", "z.jpg")
FLAT = {"a.png": "a.png", "x/a.png": "x_a.png", "y/ü 夜.png": "y_ü 夜.png", "z.jpg": "z.jpg"}


@pytest.fixture(scope="module")
def made(nano, tmp_path_factory):
    """One folder with equal names, labelled in every format; the last picture is blank."""
    place = tmp_path_factory.mktemp("formats")
    photos = folder_of(place / "photos", *NAMES[:3])
    Image.new("RGB", (64, 48), "white").save(photos / "z.jpg")
    pictures = find_pictures(photos, recursive=True)
    for name in FORMATS:
        if name != "coco":  # another format of what is found takes no model
            shutil.copytree(place / "coco", place / name, copy_function=shutil.copy2)
        report = label_folder(nano, pictures, LABELS, place / name, LabelSettings(format=name))
        assert (report.is_written, report.computed) == (True, len(NAMES) if name == "coco" else 0)
        assert report.left_out == {}
    return place


def flat(folder: Path, name: str) -> str:
    return FLAT[name] if folder.name in ("yolo", "voc") else name


def test_every_format_holds_the_same(made):
    expected = predictions(made / "coco")
    assert (made / "coco" / "annotations.json").is_file()
    assert not (made / "csv" / "annotations.json").exists()
    assert sum(len(line["detections"]) for line in expected) > 3
    assert [line["picture"] for line in expected] == sorted(NAMES)
    for name in FORMATS:
        assert predictions(made / name) == expected
        assert json.loads((made / name / "report.json").read_text())["without_boxes"] >= 1


@pytest.mark.parametrize("name", [name for name in FORMATS if name in READERS])
def test_groundling_reads_it(made, name):
    out = made / name
    assert check_dataset(out) == []
    boxes, labels = boxes_of(out), labels_of(out)
    records = {record.key: record for record in open_dataset(out)}
    assert set(records) == {flat(out, picture) for picture in NAMES}
    assert open_dataset(out).names == tuple(LABELS)
    for picture in NAMES:
        record = records[flat(out, picture)]
        np.testing.assert_allclose(record.boxes_xyxy, boxes[picture], atol=1e-3)
        assert [record.labels[column] for _, column in np.argwhere(record.positive_NL)] == labels[picture]


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("name", ["coco", "yolo", "voc"])
def test_supervision_reads_it(made, name):
    from supervision import DetectionDataset

    out = made / name
    if name == "coco":
        read = DetectionDataset.from_coco(str(out / "images"), str(out / "annotations.json"))
    elif name == "yolo":
        read = DetectionDataset.from_yolo(str(out / "images"), str(out / "labels"), str(out / "data.yaml"))
    else:
        read = DetectionDataset.from_pascal_voc(str(out / "JPEGImages"), str(out / "Annotations"))
    images = out / ("JPEGImages" if name == "voc" else "images")
    found = {Path(path).relative_to(images).as_posix(): detections for path, _, detections in read}
    assert set(found) == {flat(out, picture) for picture in NAMES}
    for picture, boxes in boxes_of(out).items():
        some = found[flat(out, picture)]
        np.testing.assert_allclose(some.xyxy, boxes, atol=1e-3)
        assert [read.classes[label] for label in some.class_id] == labels_of(out)[picture]


def test_pycocotools_reads_it(made, capsys):
    from pycocotools.coco import COCO

    out = made / "coco"
    read = COCO(str(out / "annotations.json"))
    capsys.readouterr()
    assert [one["name"] for one in read.loadCats(read.getCatIds())] == list(LABELS)
    for line in predictions(out):
        (image,) = [one for one in read.imgs.values() if one["file_name"] == line["picture"]]
        assert (image["width"], image["height"]) == (line["width"], line["height"])
        some = read.loadAnns(read.getAnnIds(imgIds=[image["id"]]))
        assert [one["score"] for one in some] == [one["score"] for one in line["detections"]]


@pytest.mark.parametrize("name", ["csv", "parquet"])
def test_pandas_reads_it(made, name):
    import pandas

    read = getattr(pandas, f"read_{name}")
    boxes, pictures = (read(made / name / f"{table}.{name}") for table in ("boxes", "pictures"))
    assert pictures["picture"].tolist() == sorted(NAMES)
    rows = [
        (line["picture"], line["width"], line["height"], one["label"], one["label_id"], one["score"], *one["box_xyxy"])
        for line in predictions(made / name)
        for one in line["detections"]
    ]
    assert list(boxes.columns) == [
        *("picture", "width", "height", "label", "label_id", "score", "left", "top", "right", "bottom")
    ]
    for row, expected in zip(boxes.itertuples(index=False), rows, strict=True):
        assert tuple(row)[:5] == expected[:5]
        np.testing.assert_allclose(tuple(row)[5:], expected[5:], atol=1e-4)
    counts = boxes.groupby("picture").size().reindex(pictures["picture"], fill_value=0)
    assert counts.tolist() == pictures["boxes"].tolist()
    assert (made / name / f"boxes.{name}").is_file()
    assert not (made / name / "images").exists()


def test_labelme_finds_its_keys(made):
    """The keys that labelme's own files have; it keeps those that it does not know, such as the score."""
    out = made / "labelme"
    assert (out / "labels.txt").read_text(encoding="utf-8").splitlines() == list(LABELS)
    for line in predictions(out):
        file = (out / "images" / line["picture"]).with_suffix(".json")
        content = json.loads(file.read_text(encoding="utf-8"))
        assert set(content) == {*("version", "flags", "shapes", "imagePath", "imageData", "imageHeight", "imageWidth")}
        assert (file.parent / content["imagePath"]).is_file()
        assert (content["imageData"], content["flags"]) == (None, {})
        assert (content["imageWidth"], content["imageHeight"]) == (line["width"], line["height"])
        for shape, one in zip(content["shapes"], line["detections"], strict=True):
            left, top, right, bottom = one["box_xyxy"]
            np.testing.assert_allclose(shape.pop("points"), [[left, top], [right, bottom]], atol=1e-3)
            assert shape == {
                "label": one["label"],
                "group_id": None,
                "description": "",
                "shape_type": "rectangle",
                "flags": {},
                "mask": None,
                "score": one["score"],
            }


def test_yolo_labels_have_five_numbers(made):
    lines = [line for file in (made / "yolo" / "labels").iterdir() for line in file.read_text().splitlines()]
    assert lines
    assert {len(line.split()) for line in lines} == {5}
    assert len(list((made / "yolo" / "labels").iterdir())) == len(NAMES)  # also for the blank one
