"""A check finds everything at once, and a good data set is good."""

import sys

import pytest
from PIL import Image

from data.small_sets import as_json, as_lines, coco, coco_folder, detection, flickr_folder, grounding, picture, text
from groundling.data.check import check_dataset, inspect_dataset
from groundling.data.problems import Kind, Place, StopAtFirst
from groundling.errors import ConfigError, DatasetError, MissingExtraError


def kinds(problems):
    return sorted(problem.kind for problem in problems)


def test_a_good_data_set(tmp_path):
    file = coco_folder(tmp_path)
    progress = []
    report = inspect_dataset(file, progress=lambda done, total: progress.append((done, total)))
    assert report.problems == check_dataset(file) == []
    assert progress == [(1, 2), (2, 2)]
    counts = report.counts
    assert (counts.records, counts.pictures, counts.empty, counts.objects, counts.crowds) == (2, 2, 1, 3, 1)
    assert counts.commonest == [("cat", 2), ("hot dog", 1), ("teddy", 0)]
    assert counts.rarest == [("teddy", 0), ("hot dog", 1), ("cat", 2)]


def test_sentences_are_counted_as_records(tmp_path):
    counts = inspect_dataset(flickr_folder(tmp_path)).counts
    assert (counts.records, counts.pictures, dict(counts.of_name)) == (2, 1, {"A man": 1, "two dogs": 2, "Two dogs": 2})


def test_scenes_have_nothing_wrong():
    report = inspect_dataset({"format": "scenes", "size": 64, "count": 2})
    assert report.problems == []
    assert (report.counts.records, report.counts.objects > 0) == (2, True)


def test_everything_at_once(tmp_path):
    boxes = [
        [1, 1, 0, 5],
        [1, 1, -2, 5],
        [60, 1, 5, 5],
        [1, 1, 70, 5],
        [1, 1, float("nan"), 5],
    ]
    annotations = [{"id": n, "image_id": 7, "category_id": 90, "bbox": box} for n, box in enumerate(boxes)]
    annotations += [
        {"id": 9, "image_id": 7, "category_id": 4, "bbox": [1, 1, 2, 2]},
        {"id": 9, "image_id": 8, "category_id": 90, "bbox": [1, 1, 2, 2]},
        {"id": 0, "image_id": 3, "category_id": 90, "bbox": [1, 1, 2, 2]},
    ]
    images = [
        *coco()["images"],
        {"id": 3, "file_name": "again.jpg"},
        {"id": 10, "file_name": "missing.jpg", "width": 4, "height": 4},
        {"id": 11, "file_name": "a.jpg", "width": 30, "height": 40},
        {"id": 12, "file_name": "cut.jpg", "width": 40, "height": 30},
    ]
    categories = [*coco()["categories"], {"id": 6, "name": "Hot-Dog"}, {"id": 7, "name": "teddy"}]
    file = coco_folder(tmp_path, images=images, annotations=annotations, categories=categories)
    whole = picture(tmp_path / "whole.jpg", (400, 300)).read_bytes()
    (tmp_path / "images" / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    problems = check_dataset(file)
    assert kinds(problems) == sorted(
        [
            Kind.BOX_EMPTY,
            Kind.BOX_INVERTED,
            Kind.BOX_OUTSIDE,
            Kind.BOX_CLIPPED,
            Kind.BOX_NOT_FINITE,
            Kind.UNKNOWN_CATEGORY,
            Kind.UNKNOWN_PICTURE,
            Kind.DUPLICATE_ANNOTATION,
            Kind.DUPLICATE_ID,
            Kind.DUPLICATE_PICTURE,
            Kind.PICTURE_MISSING,
            Kind.PICTURE_SIZE,
            Kind.PICTURE_UNREADABLE,
            Kind.SIMILAR_NAMES,
            Kind.UNUSED_NAME,
        ]
    )
    assert all(problem.file == str(file) for problem in problems)
    missing = next(problem for problem in problems if problem.kind is Kind.PICTURE_MISSING)
    assert missing.spot == "images[3] (id 10)"
    assert "missing.jpg" in missing.cause
    assert missing.severity == "error"
    assert str(missing).startswith(f"{file}, images[3] (id 10): there is no picture file")


def test_quick_reads_headers_only(tmp_path):
    file = coco_folder(tmp_path)
    whole = picture(tmp_path / "images" / "a.jpg").read_bytes()
    (tmp_path / "images" / "a.jpg").write_bytes(whole[:-30])
    assert kinds(check_dataset(file)) == [Kind.PICTURE_UNREADABLE]
    assert check_dataset(file, decode=False) == []


def test_boxes_are_measured_against_the_file_where_no_size_is_stated(tmp_path):
    picture(tmp_path / "a.jpg", (40, 30))
    instances = [{"bbox": box, "category": "cat"} for box in ([1, 1, 45, 9], [50, 1, 55, 9], [1, 1, 9, 9])]
    file = as_lines(tmp_path / "x.jsonl", detection(*instances, width=None))
    problems = check_dataset(file)
    assert kinds(problems) == [Kind.BOX_OUTSIDE, Kind.BOX_CLIPPED]
    assert "object 1: the box with the corners [50, 1, 55, 9] lies outside the picture of 40x30" in problems[1].cause


def test_a_size_before_turning_upright_is_an_error(tmp_path):
    file = coco_folder(tmp_path)
    with Image.open(tmp_path / "images" / "a.jpg") as image:
        exif = image.getexif()
        exif[0x0112] = 6
        image.save(tmp_path / "images" / "a.jpg", exif=exif)
    (problem,) = check_dataset(file)
    assert (
        "'a.jpg' is 30x40 upright, but the annotations say 40x30: as it is stored on its side (EXIF)" in problem.cause
    )


def test_phrases_are_checked(tmp_path):
    picture(tmp_path / "a.jpg")
    region = {"bbox": [1, 2, 3, 4]}
    lines = [grounding("a cat", region | {"phrase": word}) for word in ("dog", "cat", "bird")]
    problems = check_dataset(as_lines(tmp_path / "x.jsonl", *lines))
    found = [(problem.spot, problem.cause) for problem in problems if problem.kind is Kind.PHRASE]
    assert [spot for spot, _ in found] == ["line 1, region 0", "line 3, region 0"]
    assert found[0][1] == "the phrase 'dog' is not in the caption 'a cat'. Correct one of them."


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        pytest.param(coco(images=[], annotations=[]), [Kind.EMPTY], id="empty"),
        pytest.param([], [Kind.FILE], id="another file"),
        pytest.param(coco(annotations=[]), [Kind.NO_OBJECTS], id="no objects"),
    ],
)
def test_data_sets_without_anything(tmp_path, content, kind):
    coco_folder(tmp_path)
    assert kinds(check_dataset(as_json(tmp_path / "annotations.json", content))) == kind


def test_files_that_are_not_there(tmp_path):
    (problem,) = check_dataset(tmp_path / "no.json")
    assert problem.kind is Kind.FILE
    assert "There is no file or folder" in problem.cause
    with pytest.raises(ConfigError, match="cannot be recognised"):
        check_dataset(text(tmp_path / "x.txt", ""))


def test_warnings_do_not_stop_a_reader():
    StopAtFirst().add(Kind.BOX_EMPTY, Place("x"), "it is small.")


SQUARE = [[2, 3, 12, 3, 12, 20, 2, 20]]


def segmented(folder, *segmentations, **changes):
    """The data set `coco` with these segmentations; what is None has no such key."""
    annotations = [
        one if mask is None else one | {"segmentation": mask}
        for one, mask in zip(coco()["annotations"], segmentations, strict=True)
    ]
    return coco_folder(folder, annotations=annotations, **changes)


def of_masks(problems):
    return [(problem.spot, problem.cause) for problem in problems if problem.kind is Kind.MASK]


def test_every_missing_or_damaged_mask_is_listed_at_once(tmp_path):
    file = segmented(tmp_path, None, {"size": [30, 40], "counts": [1199]}, [[1, 2, 3, 4]])
    assert check_dataset(file) == []  # masks are looked at only where they are asked for
    report = inspect_dataset(file, masks=True)
    assert [problem.severity for problem in report.problems] == ["error"] * 3
    (first, missing), (second, damaged), (third, short) = of_masks(report.problems)
    assert (first, second, third) == tuple(f"annotations[{n}] (id {id_})" for n, id_ in enumerate((1, 4, 2)))
    assert "the segmentation is missing. It must be" in missing
    assert "run lengths of mask 0 are damaged" in damaged
    assert "is not a list of three or more pairs" in short
    assert report.counts == inspect_dataset(file).counts
    assert report.counts.objects == 3


def test_a_good_data_set_with_masks(tmp_path):
    assert check_dataset(segmented(tmp_path, SQUARE, SQUARE, SQUARE), masks=True) == []


def test_problems_are_said_once_with_masks_too(tmp_path):
    """A picture whose size nobody says, an unknown category, and a mask that is missing all the same."""
    file = segmented(tmp_path, SQUARE, None, SQUARE, images=[{"id": 7, "file_name": "none.jpg"}])
    problems = check_dataset(file, masks=True)
    assert kinds(problems) == sorted([Kind.MASK, Kind.PICTURE_MISSING])
    content = coco(categories=[{"id": 90, "name": "cat"}])
    (tmp_path / "images" / "b.png").unlink()
    plain = kinds(check_dataset(as_json(tmp_path / "annotations.json", content)))
    assert plain == sorted([Kind.UNKNOWN_CATEGORY, Kind.PICTURE_MISSING])
    assert kinds(check_dataset(tmp_path / "annotations.json", masks=True)) == sorted([*plain, Kind.MASK, Kind.MASK])


def test_masks_of_lvis_and_yolo_are_looked_at(tmp_path):
    images = [one | {"neg_category_ids": []} for one in coco()["images"]]
    found = of_masks(check_dataset(segmented(tmp_path, SQUARE, None, None, images=images), masks=True))
    assert [spot for spot, _ in found] == ["annotations[1] (id 4)", "annotations[2] (id 2)"]
    text(tmp_path / "yolo" / "data.yaml", "names: [dog]\ntrain: images\n")
    picture(tmp_path / "yolo" / "images" / "a.jpg")
    text(tmp_path / "yolo" / "labels" / "a.txt", "0 .1 .1 .5 .1 .5 .5\n0 .5 .5 .1 .1\n0 .1 .1 .5 .1 .5 9\n")
    problems = [problem for problem in check_dataset(tmp_path / "yolo", masks=True) if problem.kind is Kind.MASK]
    assert [problem.spot for problem in problems] == ["line 2", "line 3"]
    assert {problem.file for problem in problems} == {str(tmp_path / "yolo" / "labels" / "a.txt")}
    assert of_masks(check_dataset(tmp_path / "yolo")) == []


def test_masks_of_other_formats_are_refused(tmp_path):
    file = as_lines(tmp_path / "x.jsonl", detection())
    with pytest.raises(DatasetError, match="but the data set is odvg, which is read with boxes only"):
        check_dataset(file, masks=True)
    assert check_dataset({"format": "scenes", "size": 64, "count": 1}, masks=True) == []


def test_polygons_are_not_checked_without_their_package(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "faster_coco_eval.core", None)
    with pytest.raises(MissingExtraError, match=r"groundling\[eval\]"):
        check_dataset(segmented(tmp_path, SQUARE, SQUARE, SQUARE), masks=True)


def test_the_first_error_says_how_to_see_all_of_its_sort():
    with pytest.raises(
        DatasetError, match=r"^x: it is wrong\. \(`groundling data check` lists everything at once\.\)$"
    ):
        StopAtFirst().add(Kind.FIELD, Place("x"), "it is wrong.")
    with pytest.raises(DatasetError, match=r"\(`groundling data check --masks` lists everything at once\.\)$"):
        StopAtFirst().add(Kind.MASK, Place("x"), "it is wrong.")
