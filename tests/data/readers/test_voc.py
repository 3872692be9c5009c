"""Pascal VOC: pixels from 1, names with and without a list, difficult objects."""

import pytest

from data.small_sets import picture, text, voc_xml
from groundling.data.problems import Collected
from groundling.data.readers.voc import VocRecords
from groundling.errors import DatasetError


def folder(root, *objects, **options):
    text(root / "Annotations" / "a.xml", voc_xml(*objects, **options))
    picture(root / "JPEGImages" / "a.jpg")
    return root


def test_boxes_count_from_one(tmp_path):
    records = VocRecords(folder(tmp_path, ("cat", "1 1 40 30"), ("dog", "11 11 20.5 20")))
    assert records.names == ("cat", "dog")
    assert records[0].boxes_xyxy.tolist() == [[0, 0, 40, 30], [10, 10, 20.5, 20]]
    assert records[0].picture == tmp_path / "JPEGImages" / "a.jpg"
    assert not records[0].crowd_N.any()
    assert VocRecords(tmp_path / "Annotations")[0].picture == records[0].picture


def test_difficult_objects_are_not_counted(tmp_path):
    assert VocRecords(folder(tmp_path, ("cat", "1 1 40 30"), difficult=1))[0].crowd_N.tolist() == [True]


def test_a_list_of_names_gives_their_order(tmp_path):
    text(folder(tmp_path, ("cat", "1 1 4 3")) / "classes.txt", "dog\ncat\n\ndog\n")
    assert VocRecords(tmp_path).names == ("dog", "cat")


def test_splits(tmp_path):
    text(folder(tmp_path) / "ImageSets" / "Main" / "train.txt", "a 1\n")
    assert len(VocRecords(tmp_path, split="train")) == 1
    with pytest.raises(DatasetError, match=r"has no list val\.txt. It has: train"):
        VocRecords(tmp_path, split="val")


def test_a_size_of_zero_is_not_stated(tmp_path):
    assert VocRecords(folder(tmp_path, ("cat", "1 1 99 99"), size="0 0"))[0].boxes_xyxy.tolist() == [[0, 0, 40, 30]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param("", r"a\.xml: .*is not valid XML", id="empty"),
        pytest.param("<annotation/>", "<filename> is missing", id="no file name"),
        pytest.param(
            "<annotation><filename>a</filename><object/></annotation>", "object 0: an object must have", id="object"
        ),
        pytest.param(voc_xml(("cat", "1 x 2 3")), "<bndbox> must hold numbers", id="text as number"),
        pytest.param(voc_xml(("cat", "1 2 3")), "<bndbox> must hold numbers", id="three numbers"),
        pytest.param(voc_xml(("cat", "9 2 3 4")), r"\[9, 2, 3, 4\] ends before it begins", id="inverted"),
        pytest.param(voc_xml(size="-4 3"), "the size '-4' x '3' must be two whole numbers", id="size"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, content, message):
    text(folder(tmp_path) / "Annotations" / "a.xml", content)
    with pytest.raises(DatasetError, match=message):
        VocRecords(tmp_path)
    problems = Collected()
    text(tmp_path / "Annotations" / "b.xml", voc_xml(("dog", "1 1 9 9"), name="b.jpg"))
    assert VocRecords(tmp_path, problems=problems)[-1].labels == ("dog",)
    assert [problem.severity for problem in problems] == ["error"]


def test_no_annotations(tmp_path):
    with pytest.raises(DatasetError, match="There is no folder"):
        VocRecords(tmp_path / "nothing")
    with pytest.raises(DatasetError, match="there are no pictures in it"):
        VocRecords(tmp_path)
