"""COCO as it should be, as it often is, and as it must not be."""

import numpy as np
import pytest
from PIL import Image

from data.small_sets import as_json, coco, coco_folder, picture, text
from groundling.data.problems import Collected
from groundling.data.readers.coco import CocoRecords
from groundling.errors import DatasetError, ImageError


def read(folder, **changes):
    return CocoRecords(as_json(folder / "annotations.json", coco(**changes)))


def test_names_ids_and_boxes(tmp_path):
    records = read(tmp_path)
    assert records.names == ("hot dog", "teddy", "cat")
    assert records.category_ids == (2, 5, 90)
    assert [records.image_id(index) for index in range(len(records))] == [7, 3]
    record = records[0]
    assert (record.key, record.picture, record.image_wh) == ("a.jpg", tmp_path / "a.jpg", (40, 30))
    assert record.labels == ("hot dog", "cat")
    assert record.boxes_xyxy.tolist() == [[1.5, 2.25, 11.5, 22.375], [0, 0, 40, 5], [20, 10, 25, 15]]
    assert record.boxes_xyxy.dtype == np.float32
    assert record.positive_NL.tolist() == [[False, True], [True, False], [False, True]]
    assert record.crowd_N.tolist() == [False, True, False]
    assert record.absent is None
    assert record.caption is None


def test_areas_are_those_of_masks_where_stated(tmp_path):
    first, *others = coco()["annotations"]
    records = read(tmp_path, annotations=[first | {"area": 99.5}, *others, first | {"id": 8, "bbox": [50, 1, 3, 3]}])
    assert records.areas(0).tolist() == [99.5, 200, 25]
    assert records.areas(1).tolist() == []


def test_a_picture_without_annotations(tmp_path):
    record = read(tmp_path)[1]
    assert (record.key, record.labels, record.boxes_xyxy.shape, record.positive_NL.shape) == (
        "b.png",
        (),
        (0, 4),
        (0, 0),
    )


def test_annotations_may_be_missing_as_in_test_sets(tmp_path):
    content = coco()
    del content["annotations"]
    assert len(CocoRecords(as_json(tmp_path / "c.json", content))) == 2


def test_no_picture_is_opened(tmp_path):
    assert len(read(tmp_path)[0].boxes_xyxy) == 3  # there are none


def test_boxes_are_cut_off_at_the_edges_and_empty_ones_left_out(tmp_path):
    boxes = [[-3, -2, 10, 10], [35, 25, 10, 10], [5, 5, 0, 3], [50, 50, 4, 4]]
    annotations = [{"id": n, "image_id": 7, "category_id": 2 if n else 90, "bbox": box} for n, box in enumerate(boxes)]
    record = read(tmp_path, annotations=annotations)[0]
    assert record.boxes_xyxy.tolist() == [[0, 0, 7, 8], [35, 25, 40, 30]]
    assert record.labels == ("hot dog", "cat")


def test_a_size_that_is_not_stated_comes_from_the_file(tmp_path):
    images = [{"id": 7, "file_name": "a.jpg", "width": None}]
    records = read(tmp_path, images=images, annotations=coco()["annotations"])
    with pytest.raises(ImageError, match=r"There is no picture file .*a\.jpg"):
        records[0]
    picture(tmp_path / "a.jpg", (21, 30))
    record = records[0]
    assert record.image_wh == (21, 30)
    assert record.boxes_xyxy[:, 2].max() == 21


def test_a_picture_on_its_side_has_its_upright_size(tmp_path):
    path = picture(tmp_path / "a.jpg", (40, 30))
    with Image.open(path) as image:
        exif = image.getexif()
        exif[0x0112] = 6
        image.save(path, exif=exif)
    record = read(tmp_path, images=[{"id": 7, "file_name": "a.jpg"}])[0]
    assert record.image_wh == (30, 40) == record.open().size


def test_the_folder_of_the_pictures(tmp_path):
    file = coco_folder(tmp_path)
    assert CocoRecords(file)[0].picture == tmp_path / "images" / "a.jpg"
    assert CocoRecords(str(file), str(tmp_path))[0].picture == tmp_path / "a.jpg"


def test_a_picture_that_stands_twice_has_two_keys(tmp_path):
    images = [{"id": number, "file_name": "a.jpg", "width": 40, "height": 30} for number in (7, 3, 4)]
    assert [record.key for record in read(tmp_path, images=images)] == ["a.jpg", "a.jpg#2", "a.jpg#3"]


def test_a_name_that_is_used_once_may_stand_twice(tmp_path):
    categories = [{"id": 0, "name": "cat"}, {"id": 90, "name": " cat"}, {"id": 2, "name": "hot\n dog"}]
    records = read(tmp_path, categories=categories)
    assert (records.names, records.category_ids) == (("hot dog", "cat"), (2, 90))


@pytest.mark.parametrize(("crowd", "cause"), [({}, "an object"), ({"iscrowd": 1}, "an object that is no crowd")])
def test_nothing_to_learn_is_a_warning(tmp_path, crowd, cause):
    annotations = [one | crowd for one in coco()["annotations"]] if crowd else []
    problems = Collected()
    CocoRecords(as_json(tmp_path / "c.json", coco(annotations=annotations)), problems=problems)
    assert [problem.cause for problem in problems] == [f"no picture has {cause}. Check that it is the right file."]


WRONG = [
    pytest.param({"images": []}, "there are no pictures in it", id="empty"),
    pytest.param({"images": None}, "has no list 'images'", id="images"),
    pytest.param({"categories": {}}, "has no list 'categories'", id="categories"),
    pytest.param({"annotations": 3}, "has no list 'annotations'", id="annotations"),
    pytest.param({"categories": []}, "there are no categories", id="no category"),
    pytest.param({"categories": [3]}, r"categories\[0\]: this entry must be a JSON object", id="category"),
    pytest.param({"categories": [{"id": "1", "name": "cat"}]}, "the category id '1' is not an integer", id="text id"),
    pytest.param({"categories": [{"id": 2, "name": " "}]}, "category 2 has no usable name: ' '", id="blank name"),
    pytest.param({"categories": [{"id": 2, "name": "a\ud800"}]}, "no usable name", id="half a letter"),
    pytest.param({"categories": [{"id": 2, "name": " .? "}]}, "no usable name", id="nothing but ends of phrases"),
    pytest.param({"categories": [{"id": 2, "name": "\u200b"}]}, "no usable name", id="invisible"),
    pytest.param({"categories": [{"id": 2, "name": "a"}] * 2}, "category id 2 stands twice", id="category twice"),
    pytest.param({"images": [{"file_name": "a.jpg"}]}, "the picture id None is neither", id="no image id"),
    pytest.param({"images": [{"id": [1], "file_name": "a.jpg"}]}, r"the picture id \[1\]", id="list as id"),
    pytest.param({"images": [{"id": 7}]}, "file name None is not usable text", id="no file name"),
    pytest.param({"images": [{"id": 7, "file_name": "a"}] * 2}, "picture id 7 stands twice", id="picture twice"),
    pytest.param(
        {"images": [{"id": 7, "file_name": "a", "width": -4, "height": 3}]}, "width=-4 and height=3 must be", id="size"
    ),
    pytest.param(
        {"images": [{"id": 7, "file_name": "a", "width": True, "height": 3}]}, "width=True and", id="truth as size"
    ),
]


def box(*numbers, **changes):
    return {"annotations": [{"id": 12, "image_id": 7, "category_id": 90, "bbox": list(numbers)} | changes]}


WRONG_OBJECTS = [
    pytest.param(box(1, 2, 3, 4, category_id=True), "no category with the id True", id="category as truth"),
    pytest.param(box(1, 2, 3, 4, iscrowd="0"), "iscrowd='0' must be 0 or 1", id="crowd as text"),
    pytest.param(box(1, 2, 3, 4, iscrowd=float("nan")), "iscrowd=nan must be 0 or 1", id="crowd not a number"),
    pytest.param({"annotations": [7]}, r"annotations\[0\]: this entry must be a JSON object", id="no object"),
    pytest.param(
        box(1, 2, 3, 4, image_id=8), r"annotations\[0\] \(id 12\): there is no picture with the id 8", id="image"
    ),
    pytest.param(box(1, 2, 3, 4, image_id="7"), "no picture with the id '7'", id="image id as text"),
    pytest.param(box(1, 2, 3, 4, category_id=1), r"no category with the id 1\. The ids are: 2, 5, 90", id="category"),
    pytest.param(box(1, 2, 3, 4, category_id="90"), "It is text; ids are integers", id="category as text"),
    pytest.param(box(1, 2, 3, 4, category_id=[]), r"no category with the id \[\]", id="category as list"),
    pytest.param(box(), r"bbox=\[\] must be four numbers: \[left, top, width, height\]", id="no numbers"),
    pytest.param(box(1, 2, 3), "must be four numbers", id="three numbers"),
    pytest.param(box(1, 2, 3, "4"), "must be four numbers", id="text as number"),
    pytest.param(box(1, 2, 3, True), "must be four numbers", id="truth as number"),
    pytest.param(box(1, 2, float("nan"), 4), r"the box \[1, 2, nan, 4\] holds a number that is not finite", id="nan"),
    pytest.param(box(1, 2, 10**400, 4), "not finite", id="too large"),
    pytest.param(box(10, 2, -3, 4), r"the box \[10, 2, -3, 4\] has a negative size", id="inverted"),
]


@pytest.mark.parametrize(("changes", "message"), WRONG + WRONG_OBJECTS)
def test_what_is_wrong_is_named(tmp_path, changes, message):
    with pytest.raises(DatasetError, match=message) as caught:
        read(tmp_path, **({"annotations": []} | changes))
    assert str(tmp_path / "annotations.json") in str(caught.value)


@pytest.mark.parametrize(("changes", "message"), WRONG_OBJECTS)
def test_collecting_goes_on_after_a_problem(tmp_path, changes, message):
    problems = Collected()
    annotations = changes["annotations"] + coco()["annotations"]
    records = CocoRecords(as_json(tmp_path / "c.json", coco(annotations=annotations)), problems=problems)
    assert [problem.severity for problem in problems] == ["error"]
    assert len(records[0].boxes_xyxy) == 3


def test_two_used_categories_with_one_name_are_refused(tmp_path):
    categories = [{"id": 2, "name": "cat"}, {"id": 90, "name": "cat"}]
    with pytest.raises(
        DatasetError, match=r"the categories 2, 90 are all called 'cat'. Rename them or give them one id"
    ):
        read(tmp_path, categories=categories)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param("", "not valid JSON", id="empty"),
        pytest.param("{", r"not valid JSON \(.*line 1", id="cut off"),
        pytest.param("[" * 100_000, "not valid JSON", id="deep"),
        pytest.param("[]", "holds a JSON list.*usually a file of results", id="results"),
        pytest.param("{}", "has no list 'images'.*it has: nothing", id="object"),
    ],
)
def test_other_files(tmp_path, content, message):
    with pytest.raises(DatasetError, match=message):
        CocoRecords(text(tmp_path / "c.json", content))


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(DatasetError, match=r"no\.json cannot be read: No such file"):
        CocoRecords(tmp_path / "no.json")
    (tmp_path / "c.json").write_bytes(b"\xff\xfe{")
    with pytest.raises(DatasetError, match="is not UTF-8 text"):
        CocoRecords(tmp_path / "c.json")
