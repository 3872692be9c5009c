"""From any format to any other and back; what other programs make of the files; all or nothing."""

import json
import os

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from data.small_sets import (
    as_json,
    as_lines,
    coco,
    coco_folder,
    flickr_folder,
    grounding,
    picture,
    refcoco_folder,
    text,
)
from groundling.data.check import check_dataset
from groundling.data.convert import PARTS, WRITERS, convert_dataset
from groundling.data.open import READERS, open_dataset
from groundling.errors import ConfigError, DatasetError, ImageError

READABLE = [layout for layout in WRITERS if layout in READERS]
CROWDLESS = ("odvg", "yolo")


def named(record):
    """The name of each object."""
    return [record.labels[column] for _, column in np.argwhere(record.positive_NL)]


def assert_same(one, other, *, crowds):
    """Names, pictures, boxes and what they are called."""
    assert one.names == other.names
    others = {record.key: record for record in other}
    assert {record.key for record in one} == set(others)
    for record in one:
        kept = ~record.crowd_N | crowds
        found = others[record.key]
        np.testing.assert_allclose(found.boxes_xyxy, record.boxes_xyxy[kept], atol=1e-3)
        assert named(found) == [name for name, keep in zip(named(record), kept, strict=True) if keep]
        assert found.crowd_N.tolist() == record.crowd_N[kept].tolist()


@pytest.mark.parametrize("second", READABLE)
@pytest.mark.parametrize("first", READABLE)
def test_there_and_on_and_back(tmp_path, first, second):
    picture(tmp_path / "images" / "sub" / "c.d.jpg", (20, 50))
    images = [*coco()["images"], {"id": 1, "file_name": "sub/c.d.jpg"}]
    annotations = [*coco()["annotations"], {"id": 5, "image_id": 1, "category_id": 2, "bbox": [0, 0, 19.5, 49.875]}]
    source = open_dataset(coco_folder(tmp_path, images=images, annotations=annotations))
    convert_dataset(source, tmp_path / "first", first)
    convert_dataset(open_dataset(tmp_path / "first"), tmp_path / "second", second)
    convert_dataset(open_dataset(tmp_path / "second"), tmp_path / "last", "coco")
    last = open_dataset(tmp_path / "last")
    assert_same(source, last, crowds=not {first, second} & set(CROWDLESS))
    assert check_dataset(tmp_path / "last") == []
    assert sorted(record.image_wh for record in last) == [(20, 50), (32, 32), (40, 30)]


@pytest.mark.parametrize("layout", READABLE)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    boxes=st.lists(
        st.tuples(*[st.floats(0, 1, width=32)] * 4).filter(lambda b: min(b[2], 1 - b[0]) > 0.01 < min(b[3], 1 - b[1])),
        max_size=4,
    )
)
def test_any_box_survives(tmp_path, layout, boxes):
    annotations = [
        {"id": n, "image_id": 7, "category_id": 90, "bbox": [x * 40, y * 30, w * 40, h * 30]}
        for n, (x, y, w, h) in enumerate(boxes)
    ]
    source = open_dataset(coco_folder(tmp_path, annotations=annotations))
    convert_dataset(source, tmp_path / "out", layout, overwrite=True)
    np.testing.assert_allclose(open_dataset(tmp_path / "out")[0].boxes_xyxy, source[0].boxes_xyxy, atol=1e-3)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("layout", ["coco", "yolo", "voc"])
def test_supervision_reads_the_files(tmp_path, layout):
    from supervision import DetectionDataset

    source = open_dataset(coco_folder(tmp_path))
    out = tmp_path / "out"
    convert_dataset(source, out, layout)
    if layout == "coco":
        read = DetectionDataset.from_coco(str(out / "images"), str(out / "annotations.json"))
    elif layout == "yolo":
        read = DetectionDataset.from_yolo(str(out / "images"), str(out / "labels"), str(out / "data.yaml"))
    else:
        read = DetectionDataset.from_pascal_voc(str(out / "JPEGImages"), str(out / "Annotations"))
    found = {os.path.basename(path): detections for path, _, detections in read}  # noqa: PTH119
    assert len(found["b.png"]) == 0
    kept = source[0].crowd_N <= (layout != "yolo")
    np.testing.assert_allclose(found["a.jpg"].xyxy, source[0].boxes_xyxy[kept], atol=1e-3)
    assert [read.classes[label] for label in found["a.jpg"].class_id] == list(np.array(named(source[0]))[kept])


def test_pycocotools_reads_the_file(tmp_path, capsys):
    from pycocotools.coco import COCO

    convert_dataset(open_dataset(coco_folder(tmp_path)), tmp_path / "out", "coco")
    read = COCO(str(tmp_path / "out" / "annotations.json"))
    capsys.readouterr()
    assert [entry["name"] for entry in read.loadCats(read.getCatIds())] == ["hot dog", "teddy", "cat"]
    assert [entry["file_name"] for entry in read.loadImgs(read.getImgIds())] == ["a.jpg", "b.png"]
    found = read.loadAnns(read.getAnnIds(imgIds=[1]))
    assert [(entry["bbox"], entry["iscrowd"], entry["area"]) for entry in found] == [
        ([1.5, 2.25, 10.0, 20.125], 0, 201.25),
        ([0.0, 0.0, 40.0, 5.0], 1, 200.0),
        ([20.0, 10.0, 5.0, 5.0], 0, 25.0),
    ]


def test_what_is_left_out_is_said(tmp_path):
    source = open_dataset(coco_folder(tmp_path))
    assert convert_dataset(source, tmp_path / "yolo", "yolo").left_out == {"crowds": 1}
    assert convert_dataset(source, tmp_path / "coco", "coco").left_out == {}
    content = coco()
    content["images"][0]["neg_category_ids"] = [5]
    lvis = open_dataset(as_json(tmp_path / "lvis.json", content))
    left_out = convert_dataset(lvis, tmp_path / "lvis", "coco").left_out
    assert left_out == {"pictures in which not every name was looked for": 2}


def test_captions_stay_captions(tmp_path):
    picture(tmp_path / "images" / "a.jpg")
    regions = [
        {"bbox": [[1, 1, 9, 9], [2, 2, 9, 9]], "phrase": "dog"},
        {"bbox": [1, 1, 9, 9], "phrase": "left dog", "tokens_positive": [[0, 4], [14, 17]]},
    ]
    source = open_dataset(as_lines(tmp_path / "x.jsonl", grounding("left of the a dog", *regions)))
    convert_dataset(source, tmp_path / "out", "odvg")
    one, other = source[0], open_dataset(tmp_path / "out")[0]
    assert (one.labels, one.caption) == (other.labels, other.caption)
    assert one.positive_NL.tolist() == other.positive_NL.tolist()
    assert one.boxes_xyxy.tolist() == other.boxes_xyxy.tolist()
    assert not (tmp_path / "out" / "label_map.json").exists()


@pytest.mark.parametrize("make", [flickr_folder, refcoco_folder])
def test_sentences_become_captions_and_share_their_picture(tmp_path, make):
    made = make(tmp_path)
    picture(tmp_path / "a.jpg")
    source = open_dataset(made)
    convert_dataset(source, tmp_path / "out", "odvg")
    written = open_dataset(tmp_path / "out")
    assert [record.labels for record in written] == [record.labels for record in source]
    assert [record.boxes_xyxy.tolist() for record in written] == [record.boxes_xyxy.tolist() for record in source]
    assert len(list((tmp_path / "out" / "images").iterdir())) == 1


@pytest.mark.parametrize("layout", ["coco", "yolo", "voc"])
def test_sentences_do_not_become_names(tmp_path, layout):
    with pytest.raises(DatasetError, match=f"phrases and sentences, which {layout} cannot hold. Use odvg"):
        convert_dataset(open_dataset(flickr_folder(tmp_path)), tmp_path / "out", layout)


def test_a_caption_among_names_is_refused(tmp_path):
    picture(tmp_path / "a.jpg")
    line = {"filename": "a.jpg", "detection": {"instances": [{"bbox": [1, 1, 2, 2], "category": "cat"}]}}
    source = open_dataset(
        as_lines(tmp_path / "x.jsonl", line, grounding("a cat", {"bbox": [1, 1, 2, 2], "phrase": "cat"}))
    )
    with pytest.raises(DatasetError, match=r"a.jpg#2: the label 'cat' is a phrase"):
        convert_dataset(source, tmp_path / "out", "coco")
    assert not (tmp_path / "out").exists()


def test_pictures_that_are_made_are_saved(tmp_path):
    source = open_dataset({"format": "scenes", "size": 64, "count": 2, "split": "seen"})
    convert_dataset(source, tmp_path / "out", "coco")
    written = open_dataset(tmp_path / "out")
    assert [record.open().tobytes() for record in written] == [record.open().tobytes() for record in source]
    assert [record.boxes_xyxy.tolist() for record in written] == [record.boxes_xyxy.tolist() for record in source]


@pytest.mark.parametrize("copy", [False, True])
def test_pictures_are_linked_or_copied(tmp_path, copy):
    convert_dataset(open_dataset(coco_folder(tmp_path)), tmp_path / "out", "coco", copy=copy)
    place = tmp_path / "out" / "images" / "a.jpg"
    assert place.samefile(tmp_path / "images" / "a.jpg") is not copy
    assert place.read_bytes() == (tmp_path / "images" / "a.jpg").read_bytes()


def test_names_of_pictures_that_collide_or_lead_elsewhere(tmp_path):
    for name in ("../up.jpg", "images/a.jpg", "images/a.png", "images/A.JPG", "images/x/../b.png"):
        picture(tmp_path / "in" / name)
    names = ["a.jpg", "a.png", "A.JPG", "a.jpg", "../../up.jpg", "x/../b.png", str(tmp_path / "up.jpg")]
    images = [{"id": n, "file_name": name, "width": 40, "height": 30} for n, name in enumerate(names)]
    file = as_json(tmp_path / "in" / "c.json", coco(images=images, annotations=[]))
    source = open_dataset(file)
    convert_dataset(source, tmp_path / "out", "yolo")
    written = sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out" / "images").rglob("*"))
    assert written == [
        f"images/{name}" for name in ("A-3.JPG", "a-2.png", "a-4.jpg", "a.jpg", "b.png", "up-2.jpg", "up.jpg")
    ]
    assert len(list((tmp_path / "out" / "labels").iterdir())) == len(names)


def test_a_failed_conversion_leaves_nothing(tmp_path):
    file = coco_folder(tmp_path / "in")
    (tmp_path / "in" / "images" / "b.png").unlink()
    with pytest.raises(ImageError, match=r"There is no picture file .*b\.png"):
        convert_dataset(open_dataset(file), tmp_path / "out", "voc")
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_a_failed_conversion_leaves_what_was_there(tmp_path):
    source = open_dataset(coco_folder(tmp_path / "in"))
    convert_dataset(source, tmp_path / "out", "coco")
    (tmp_path / "in" / "images" / "b.png").unlink()
    with pytest.raises(ImageError):
        convert_dataset(source, tmp_path / "out", "voc", overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out"]
    assert len(open_dataset(tmp_path / "out")) == 2


def test_a_data_set_is_replaced_as_a_whole(tmp_path):
    source = open_dataset(coco_folder(tmp_path / "in"))
    convert_dataset(source, tmp_path / "out", "coco")
    convert_dataset(source, tmp_path / "out", "yolo", overwrite=True)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["data.yaml", "images", "labels"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out"]


def test_what_other_programs_leave_does_not_bind(tmp_path):
    source = open_dataset(coco_folder(tmp_path / "in"))
    for overwrite in (False, True):
        for name in ("labels.cache", ".DS_Store", "Thumbs.db"):
            text(tmp_path / "out" / name, "")
        convert_dataset(source, tmp_path / "out", "yolo", overwrite=overwrite)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["data.yaml", "images", "labels"]


def test_what_is_written_is_what_may_be_replaced(tmp_path):
    source = open_dataset({"format": "scenes", "split": "seen", "size": 64, "count": 1}, masks=True)
    parts = set()
    for layout in WRITERS:
        convert_dataset(source, tmp_path / layout, layout)
        parts |= {path.name for path in (tmp_path / layout).iterdir()}
    assert parts == PARTS


def test_places_that_are_not_written_to(tmp_path):
    source = open_dataset(coco_folder(tmp_path / "in"))
    with pytest.raises(DatasetError, match=r"is a file. Name a folder"):
        convert_dataset(source, text(tmp_path / "file", ""), "coco")
    with pytest.raises(DatasetError, match=r"is not empty. Name another one, or use overwrite"):
        convert_dataset(source, tmp_path / "in", "coco")
    with pytest.raises(DatasetError, match="lies in the folder to be replaced"):
        convert_dataset(source, tmp_path / "in", "coco", overwrite=True)
    text(tmp_path / "mine" / "thesis.txt", "")
    text(tmp_path / "mine" / "labels.cache", "")
    with pytest.raises(DatasetError, match=r"holds 'thesis.txt', which is no part .* Move it away, or name"):
        convert_dataset(source, tmp_path / "mine", "coco", overwrite=True)
    with pytest.raises(ConfigError, match=r"There is no format 'yolov8'. Did you mean 'yolo'?"):
        convert_dataset(source, tmp_path / "out", "yolov8")
    (tmp_path / "empty").mkdir()
    convert_dataset(source, tmp_path / "empty", "coco")
    assert json.loads((tmp_path / "empty" / "annotations.json").read_text())["images"][0]["file_name"] == "a.jpg"
    with pytest.raises(DatasetError, match=r"file/out cannot be made: .*\. Name another folder"):
        convert_dataset(source, tmp_path / "file" / "out", "coco")


@pytest.mark.parametrize("layout", [layout for layout in WRITERS if layout not in ("csv", "parquet")])
@pytest.mark.parametrize("orientation", [1, 6])
def test_boxes_in_a_picture_of_another_size_are_refused(tmp_path, layout, orientation):
    file = coco_folder(tmp_path / "in")
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture(tmp_path / "in" / "images" / "a.jpg", (30, 40) if orientation == 1 else (40, 30), exif=exif)
    with pytest.raises(DatasetError, match=r"a\.jpg: the picture has 30 x 40 pixels upright, but .* say 40 x 30"):
        convert_dataset(open_dataset(file), tmp_path / "out", layout)
    assert not (tmp_path / "out").exists()
