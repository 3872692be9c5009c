"""Flickr30k Entities: sentences without their marks, phrases with several boxes, boxes with several phrases."""

import pytest

from data.small_sets import flickr_folder, picture, text
from groundling.data.readers.flickr import FlickrRecords
from groundling.errors import DatasetError


def test_sentences_and_their_phrases(tmp_path):
    records = FlickrRecords(flickr_folder(tmp_path))
    assert [record.key for record in records] == ["36.jpg", "36.jpg#2"]  # the third has no phrase with a box
    first, second = records
    assert first.caption is not None
    assert first.caption.text == "A man and two dogs on it ."
    assert first.labels == ("A man", "two dogs")
    assert first.boxes_xyxy.tolist() == [[1, 2, 11, 12], [20, 0, 30, 10]]
    assert first.positive_NL.tolist() == [[True, True], [False, True]]
    assert (second.labels, second.positive_NL.tolist(), second.absent) == (("Two dogs",), [[True], [True]], ())
    assert first.open().size == first.image_wh == (40, 30)


def test_a_split_may_be_another_list(tmp_path):
    flickr_folder(tmp_path)
    assert len(FlickrRecords(tmp_path, tmp_path / "pictures", split=str(text(tmp_path / "mine.txt", "36\n")))) == 2


BOMB = '<!DOCTYPE a [<!ENTITY b "bbbb"><!ENTITY c "&b;&b;&b;&b;">]><annotation>&c;</annotation>'


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        pytest.param("val.txt", "", "there are no pictures in it", id="empty"),
        pytest.param("val.txt", "37", r"val\.txt, line 1: .*37\.xml cannot be read", id="missing"),
        pytest.param("Annotations/36.xml", "<a>", "is not valid XML", id="no XML"),
        pytest.param("Annotations/36.xml", BOMB, "declares a document type", id="entities"),
        pytest.param(
            "Sentences/36.txt", "[/EN#2/people A man", r"the marks of the sentence .* are not \[/EN#", id="mark"
        ),
    ],
)
def test_what_is_wrong_is_named(tmp_path, file, content, message):
    text(flickr_folder(tmp_path) / file, content)
    with pytest.raises(DatasetError, match=message):
        FlickrRecords(tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        pytest.param("<xmin>2</xmin>", "", r"36\.xml, object 0: <bndbox> must hold numbers", id="no corner"),
        pytest.param("<xmin>2</xmin>", "<xmin>20</xmin>", r"\[20, 3, 12, 13\] ends before it begins", id="inverted"),
        pytest.param(
            "<width>40</width>", "<width>x</width>", "the size 'x' x '30' must be two whole numbers", id="size"
        ),
    ],
)
def test_wrong_boxes_and_sizes(tmp_path, old, new, message):
    file = flickr_folder(tmp_path) / "Annotations" / "36.xml"
    text(file, file.read_text().replace(old, new, 1))
    with pytest.raises(DatasetError, match=message):
        FlickrRecords(tmp_path)


def test_a_size_of_zero_is_not_stated(tmp_path):
    file = flickr_folder(tmp_path) / "Annotations" / "36.xml"
    text(file, file.read_text().replace("<width>40</width>", "<width>0</width>"))
    picture(tmp_path / "flickr30k-images" / "36.jpg", (33, 30))
    assert FlickrRecords(tmp_path)[0].image_wh == (33, 30)


def test_an_unknown_split(tmp_path):
    with pytest.raises(DatasetError, match=r"has no list dev\.txt. It has: val"):
        FlickrRecords(flickr_folder(tmp_path), split="dev")
