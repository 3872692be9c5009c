"""ODVG: names from a label map or as stated, phrases as character ranges, several boxes and phrases a region."""

import pytest

from data.small_sets import as_json, as_lines, detection, grounding, text
from groundling.data.problems import Collected, Kind
from groundling.data.readers.odvg import OdvgRecords
from groundling.errors import DatasetError

CAT = {"bbox": [1, 2, 11, 12], "label": 3, "category": "cat"}
DOG = {"bbox": [20, 2, 31, 12], "label": 0, "category": "hot dog"}


def read(folder, *lines, label_map=None, **options):
    file = as_lines(folder / "odvg.jsonl", *lines)
    if label_map is not None:
        options["label_map"] = as_json(folder / "label_map.json", label_map)
    return OdvgRecords(file, **options)


def test_named_objects(tmp_path):
    lines = detection(CAT, DOG, CAT | {"bbox": [5, 5, 9.5, 9]}), detection(filename="b.jpg", width=None)
    records = read(tmp_path, *lines, label_map={"3": "cat", "10": "bird", "0": "hot dog"})
    assert records.names == ("hot dog", "cat", "bird")
    record = records[0]
    assert (record.labels, record.absent, record.caption) == (("hot dog", "cat"), None, None)
    assert record.boxes_xyxy.tolist() == [[1, 2, 11, 12], [20, 2, 31, 12], [5, 5, 9.5, 9]]
    assert record.positive_NL.tolist() == [[False, True], [True, False], [False, True]]
    assert len(records) == 2
    assert records.rows[1].image_wh is None


@pytest.mark.parametrize(
    "instances",
    [
        pytest.param([CAT, DOG], id="label and category"),
        pytest.param(
            [{"bbox": CAT["bbox"], "category": "cat"}, {"bbox": DOG["bbox"], "category": "hot dog"}], id="names"
        ),
    ],
)
def test_without_a_label_map_names_come_in_the_order_of_the_file(tmp_path, instances):
    assert read(tmp_path, detection(*instances)).names == ("cat", "hot dog")


def test_a_label_map_may_be_a_list(tmp_path):
    assert read(tmp_path, detection(), label_map=["a", "b"]).names == ("a", "b")


def test_ranges_that_are_given_are_used(tmp_path):
    caption = "left of the ring, a dog"
    region = {"bbox": [1, 2, 11, 12], "phrase": "left a dog", "tokens_positive": [[0, 4], [18, 23]]}
    record = read(tmp_path, grounding(caption, region))[0]
    assert record.labels == ("left a dog",)
    assert record.caption is not None
    assert record.caption.spans == (((0, 4), (18, 23)),)
    assert (record.absent, record.positive_NL.tolist()) == ((), [[True]])


def test_phrases_are_looked_for_otherwise(tmp_path):
    regions = [
        {"bbox": [1, 1, 9, 9], "phrase": "dog"},
        {"bbox": [2, 2, 9, 9], "phrase": "a hot dog"},
        {"bbox": [[3, 3, 9, 9], [1, 1, 9, 9]], "phrase": "Two Cats"},
    ]
    record = read(tmp_path, grounding("two cats, a hot dog and a dog", *regions))[0]
    assert record.labels == ("two cats", "a hot dog", "dog")
    assert record.boxes_xyxy[:, 0].tolist() == [1, 2, 3]
    assert record.positive_NL.tolist() == [[True, False, True], [False, True, False], [True, False, False]]


def test_regions_of_one_phrase_are_one_label(tmp_path):
    regions = [{"bbox": [left, 1, 9, 9], "phrase": "two cats"} for left in (1, 2)]
    record = read(tmp_path, grounding("two cats", *regions))[0]
    assert record.labels == ("two cats",)
    assert record.positive_NL.tolist() == [[True], [True]]


@pytest.mark.parametrize(
    "tokens", [None, [[0, 5], [10, 15]], [[[0, 5]], [[10, 15]]]], ids=["looked for", "flat", "nested"]
)
def test_a_region_with_several_phrases(tmp_path, tokens):
    region = {"bbox": [1, 1, 9, 9], "phrase": ["a cat", "a dog"], "tokens_positive": tokens}
    record = read(tmp_path, grounding("a cat and a dog", region))[0]
    assert (record.labels, record.positive_NL.tolist()) == (("a cat", "a dog"), [[True, True]])


def test_captions_and_names_in_one_file(tmp_path):
    lines = detection(CAT), grounding("a cat", {"bbox": [1, 1, 9, 9], "phrase": "cat"}, filename="b.jpg")
    records = read(tmp_path, *lines)
    assert [(record.key, record.caption is None) for record in records] == [("a.jpg", True), ("b.jpg", False)]


def test_a_line_with_both_is_read_as_its_label_map_says(tmp_path):
    line = detection(CAT) | {"grounding": grounding("a cat", {"bbox": [1, 1, 9, 9], "phrase": "cat"})["grounding"]}
    assert read(tmp_path, line)[0].caption is not None
    assert read(tmp_path, line, label_map={"3": "cat"})[0].labels == ("cat",)


def test_a_phrase_whose_boxes_are_left_out_goes_with_them(tmp_path):
    regions = [{"bbox": [1, 1, 9, 9], "phrase": "cat"}, {"bbox": [9, 9, 9, 9], "phrase": "dog"}]
    record = read(tmp_path, grounding("cat and dog", *regions))[0]
    assert record.labels == ("cat",)


REGION = {"bbox": [1, 2, 3, 4], "phrase": "a dog"}

WRONG = [
    pytest.param("[1]", "line 2: each line must be a JSON object", id="no object"),
    pytest.param("{", "line 2: the line is not valid JSON", id="no JSON"),
    pytest.param({}, "line 2: filename=None is not usable text", id="empty"),
    pytest.param({"filename": "a\x00"}, "is not usable text", id="file name"),
    pytest.param({"filename": "a"}, "has neither 'detection' with 'instances' nor 'grounding'", id="nothing"),
    pytest.param(detection(width="40"), "width='40' and height=30 must be whole numbers", id="size"),
    pytest.param(detection() | {"detection": {}}, "'instances' must be a list of JSON objects", id="no instances"),
    pytest.param(detection({"bbox": [1, 2, 3, 4]}), "instance 0: an object must have a 'label' number", id="no name"),
    pytest.param(detection(CAT | {"label": "3"}), "label='3' must be an integer", id="label as text"),
    pytest.param(detection(CAT | {"category": 3}), "category=3 usable text", id="category as number"),
    pytest.param(
        detection({"bbox": [1, 2, 3, 4], "label": 5}), "label 5 has no 'category', and there is no", id="no map"
    ),
    pytest.param(
        detection(CAT, CAT | {"category": "dog"}), "label 3 is 'cat' elsewhere, but .* is 'dog'", id="two names"
    ),
    pytest.param(
        detection(CAT | {"bbox": [10, 2, 3, 4]}), r"\[10, 2, 3, 4\] ends before it begins.*not \[left", id="corners"
    ),
    pytest.param(detection(CAT | {"bbox": None}), r"bbox=None must be four numbers: \[left, top, right", id="no box"),
    pytest.param(grounding(""), "caption='' is not usable text", id="no caption"),
    pytest.param(grounding("a cat") | {"grounding": {"caption": "a"}}, "'regions' must be a list", id="no regions"),
    pytest.param(grounding("a cat", REGION), "line 2, region 0: the phrase 'a dog' is not in the caption", id="phrase"),
    pytest.param(
        grounding("a cat", {"bbox": [1, 2, 3, 4]}), "phrase=None is not usable text, and there is no", id="none"
    ),
    pytest.param(
        grounding("a cat", REGION | {"tokens_positive": [[0, 6]]}),
        "must be character ranges .* within the 5",
        id="too far",
    ),
    pytest.param(grounding("a cat", REGION | {"tokens_positive": []}), "must be character ranges", id="no range"),
    pytest.param(grounding("a cat", REGION | {"tokens_positive": [[1, 2]]}), "ranges .* of words", id="a space"),
    pytest.param(grounding("a cat.", REGION | {"tokens_positive": [[5, 6]]}), "ranges .* of words", id="a full stop"),
    pytest.param(grounding("a cat", REGION | {"tokens_positive": [[True, 5]]}), "ranges .* of words", id="truth"),
    pytest.param(grounding("a cat.", REGION | {"phrase": "."}), "phrase='.' is not usable text", id="no word"),
    pytest.param(grounding("a cat", REGION | {"tokens_positive": [["0", 5]]}), "must be character", id="text as range"),
    pytest.param(
        grounding("a cat", REGION | {"phrase": ["a"], "tokens_positive": [[0, 1], [2, 5]]}),
        "must have one entry for each of the 1 phrases",
        id="uneven",
    ),
]


@pytest.mark.parametrize(("line", "message"), WRONG)
def test_what_is_wrong_is_named_with_its_line(tmp_path, line, message):
    with pytest.raises(DatasetError, match=message):
        read(tmp_path, "", line)
    problems = Collected()
    good = detection({"bbox": [1, 2, 3, 4], "category": "bird"}, filename="good.jpg")
    records = read(tmp_path, "", line, good, problems=problems)
    assert [problem.severity for problem in problems if problem.kind is not Kind.NO_PHRASE] == ["error"]
    assert problems[0].spot.startswith("line 2")
    assert records.rows[-1].labels == ("bird",)


@pytest.mark.parametrize(
    ("label_map", "line", "message"),
    [
        pytest.param({}, detection(), "there are no names in the label map", id="empty"),
        pytest.param(7, detection(), "must hold a JSON object from numbers to names", id="number"),
        pytest.param(
            {"cat": "0"}, detection(), "label cat: 'cat': '0' must be a number and a name", id="the wrong way round"
        ),
        pytest.param({"0": "cat", "1": "cat"}, detection(), "label 1: the name 'cat' has several numbers", id="twice"),
        pytest.param(
            {"0": "a", "9": "b"}, detection(CAT), "label 3 is not in the label map, .* are 0 to 9", id="unknown"
        ),
        pytest.param(
            {"3": "dog"}, detection(CAT), "label 3 is 'dog' elsewhere, but the category is 'cat'", id="other name"
        ),
        pytest.param(
            {"0": "a"}, detection({"bbox": [1, 2, 3, 4], "category": "b"}), "'b' is not in the label map", id="name"
        ),
    ],
)
def test_label_maps(tmp_path, label_map, line, message):
    with pytest.raises(DatasetError, match=message):
        read(tmp_path, line, label_map=label_map)


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        pytest.param(grounding("a cat"), Kind.NO_PHRASE, id="empty"),
        pytest.param(grounding("a dog, a dog", REGION, REGION, REGION), Kind.AMBIGUOUS_PHRASE, id="ambiguous"),
        pytest.param(grounding("a cat", REGION | {"tokens_positive": [[0, 5]]}), Kind.PHRASE_DIFFERS, id="other words"),
        pytest.param(detection(CAT | {"bbox": [1, 1, 1, 9]}), Kind.BOX_EMPTY, id="empty box"),
        pytest.param(detection(CAT | {"bbox": [41, 1, 44, 9]}), Kind.BOX_OUTSIDE, id="outside"),
        pytest.param(detection(CAT | {"bbox": [1, 1, 44, 9]}), Kind.BOX_CLIPPED, id="reaches outside"),
    ],
)
def test_warnings_stop_nobody(tmp_path, line, kind):
    problems = Collected()
    read(tmp_path, line, detection(CAT), problems=problems)
    assert {problem.kind for problem in problems} == {kind}
    assert len(read(tmp_path, line, detection(CAT))) >= 1


def test_an_empty_file(tmp_path):
    with pytest.raises(DatasetError, match="there are no pictures in it"):
        OdvgRecords(text(tmp_path / "x.jsonl", "\n"))
    (tmp_path / "x.jsonl").write_bytes(b"{}\n\xff\n")
    with pytest.raises(DatasetError, match=r"x\.jsonl, line 2, is not UTF-8 text"):
        OdvgRecords(tmp_path / "x.jsonl", problems=Collected())


@pytest.mark.parametrize(
    ("label_map", "message"),
    [
        pytest.param({}, "there are no names in the label map", id="empty"),
        pytest.param({"0": "cat", "00": "dog"}, "the number 0 stands twice", id="twice"),
        pytest.param({"9" * 5000: "cat"}, "must be a number and a name", id="too long"),
    ],
)
def test_label_maps_that_are_wrong(tmp_path, label_map, message):
    with pytest.raises(DatasetError, match=message):
        read(tmp_path, detection(CAT), label_map=label_map)
