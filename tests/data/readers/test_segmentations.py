"""Masks of COCO and LVIS files, in every form that the files have them, and damaged ones."""

import sys

import numpy as np
import pytest
from pycocotools import mask as oracle

from data.small_sets import as_json, coco, picture
from groundling.data import open as opening
from groundling.data.open import open_dataset
from groundling.data.problems import Collected, Kind
from groundling.data.readers.coco import CocoRecords
from groundling.data.readers.segmentations import run_lengths
from groundling.errors import ConfigError, DatasetError, ImageError, MissingExtraError

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of pycocotools

WIDTH, HEIGHT = 40, 30
SQUARE = [2.0, 3.0, 12.0, 3.0, 12.0, 20.0, 2.0, 20.0]
PART = [20, 5, 30, 5, 30, 15]


def rectangle(left, top, right, bottom):
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[top:bottom, left:right] = 1
    return mask


def compressed(mask):
    rle = oracle.encode(np.asfortranarray(mask))
    return {"size": list(rle["size"]), "counts": rle["counts"].decode()}


def uncompressed(mask):
    pixels = mask.ravel(order="F")
    ends = [*(np.flatnonzero(np.diff(pixels)) + 1).tolist(), pixels.size]
    counts = np.diff([0, *ends]).tolist()
    return {"size": list(mask.shape), "counts": [0, *counts] if pixels[0] else counts}


def decoded(segmentation):
    counts = run_lengths(segmentation, (WIDTH, HEIGHT))
    return oracle.decode({"size": [HEIGHT, WIDTH], "counts": counts})


@pytest.mark.parametrize("form", [compressed, uncompressed])
@pytest.mark.parametrize(
    "mask",
    [
        pytest.param(rectangle(0, 0, 0, 0), id="empty"),
        pytest.param(rectangle(0, 0, WIDTH, HEIGHT), id="whole"),
        pytest.param(rectangle(0, 0, 3, 2), id="corner"),
        pytest.param(rectangle(1, 2, 30, 20) - rectangle(5, 5, 9, 9), id="hole"),
    ],
)
def test_run_lengths(form, mask):
    assert (decoded(form(mask)) == mask).all()


@pytest.mark.parametrize("polygons", [[SQUARE], [SQUARE, PART], [[-5, -5, 60, -5, 60, 10]]])
def test_polygons_as_the_other_library_fills_them(polygons):
    parts = oracle.frPyObjects([list(map(float, one)) for one in polygons], HEIGHT, WIDTH)
    assert (decoded(polygons) == oracle.decode(oracle.merge(parts))).all()


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        pytest.param(None, "the segmentation is missing. It must be", id="missing"),
        pytest.param([], r"the segmentation is \[\]\. It must be", id="empty"),
        pytest.param("a", "the segmentation is a. It must be", id="text"),
        pytest.param({}, "must have 'size' and 'counts'", id="no counts"),
        pytest.param([[]], r"polygon \[\] is not a list of three or more pairs", id="no points"),
        pytest.param([[1, 2, 3, 4]], "three or more pairs", id="a box"),
        pytest.param([[1, 2, 3, 4, 5, 6, 7]], "three or more pairs", id="odd"),
        pytest.param([1, 2, 3, 4, 5, 6], "three or more pairs", id="not nested"),
        pytest.param([[1, 2, 3, 4, 5, "6"]], "three or more pairs", id="words"),
        pytest.param([[1, 2, 3, 4, 5, True]], "three or more pairs", id="truth"),
        pytest.param([[1, 2, 3, 4, 5, float("nan")]], "not finite", id="nan"),
        pytest.param([[1, 2, 3, 4, 5, 10**400]], "not finite", id="huge"),
        pytest.param([[1, 2, 3, 4, 5, 1e9]], "far outside the picture of 40x30", id="outside"),
        pytest.param({"size": [40, 30], "counts": [1200]}, r"Mask 0 has the size .*\[40, 30\]", id="turned"),
        pytest.param({"size": [30, 40], "counts": [1199]}, "run lengths of mask 0 are damaged", id="too short"),
        pytest.param({"size": [30, 40], "counts": [1201]}, "run lengths of mask 0 are damaged", id="too long"),
        pytest.param({"size": [30, 40], "counts": [-1, 1201]}, "run lengths of mask 0 are damaged", id="negative"),
        pytest.param({"size": [30, 40], "counts": [600.0, 600.0]}, "not all whole numbers", id="fractions"),
        pytest.param({"size": [30, 40], "counts": "1111"}, "run lengths of mask 0 are damaged", id="damaged"),
        pytest.param({"size": [30, 40], "counts": "ÿ"}, "run lengths of mask 0 are damaged", id="letters"),
    ],
)
def test_damaged(segmentation, message):
    with pytest.raises(DatasetError, match=message):
        run_lengths(segmentation, (WIDTH, HEIGHT))


def with_masks(segmentations, **changes):
    annotations = [one | {"segmentation": mask} for one, mask in zip(coco()["annotations"], segmentations, strict=True)]
    return coco(annotations=annotations, **changes)


MASKS = [[SQUARE], uncompressed(rectangle(0, 0, 40, 5)), compressed(rectangle(20, 10, 25, 15))]


def test_records_have_masks_where_they_are_asked_for(tmp_path):
    path = as_json(tmp_path / "annotations.json", with_masks(MASKS))
    record, other = open_dataset(path, masks=True)
    assert record.masks.image_wh == (40, 30)
    assert record.masks.areas.tolist() == [170, 200, 25]
    assert record.masks[2].nonzero()[0].min() == 10
    assert (len(other.masks), other.masks.image_wh) == (0, (32, 32))
    assert [one.masks for one in open_dataset(path)] == [None, None]


def test_masks_of_boxes_outside_the_picture_are_left_out_with_them(tmp_path):
    content = with_masks(MASKS)
    content["annotations"][1]["bbox"] = [50, 1, 3, 3]
    record = CocoRecords(as_json(tmp_path / "annotations.json", content), masks=True)[0]
    assert len(record.boxes_xyxy) == 2
    assert record.masks.areas.tolist() == [170, 25]


def test_the_size_of_a_picture_comes_from_its_file_where_the_annotations_lack_it(tmp_path):
    images = [{"id": 7, "file_name": "a.jpg"}, {"id": 3, "file_name": "none.png"}]
    path = as_json(tmp_path / "annotations.json", with_masks([[SQUARE]] * 3, images=images))
    with pytest.raises(ImageError, match=r"a\.jpg"):
        open_dataset(path, masks=True)
    picture(tmp_path / "a.jpg", (WIDTH, HEIGHT))
    assert open_dataset(path, masks=True)[0].masks.image_wh == (WIDTH, HEIGHT)


def test_a_damaged_mask_is_named(tmp_path):
    path = as_json(tmp_path / "annotations.json", with_masks([*MASKS[:2], [[1, 2, 3, 4]]]))
    place = r"annotations\.json, annotations\[2\] \(id 2\): the polygon \[1, 2, 3, 4\] is not a list"
    with pytest.raises(DatasetError, match=place):
        open_dataset(path, masks=True)
    problems = Collected()
    assert len(open_dataset(path, problems=problems, masks=True)[0].masks) == 2
    assert [(problem.kind, problem.spot) for problem in problems] == [(Kind.MASK, "annotations[2] (id 2)")]
    open_dataset(path)  # who wants boxes only is not troubled


def test_an_object_without_the_key_says_where_all_of_them_are_listed(tmp_path):
    """The command without --masks would find nothing wrong."""
    message = (
        r"annotations\.json, annotations\[0\] \(id 1\): the segmentation is missing\. It must be .*"
        r"\(`groundling data check --masks` lists everything at once\.\)$"
    )
    with pytest.raises(DatasetError, match=message):
        open_dataset(as_json(tmp_path / "annotations.json", coco()), masks=True)


def test_lvis_has_the_same_layout(tmp_path):
    images = [one | {"neg_category_ids": []} for one in coco()["images"]]
    records = open_dataset(as_json(tmp_path / "lvis.json", with_masks(MASKS, images=images)), masks=True)
    assert type(records).__name__ == "LvisRecords"
    assert records[0].masks.areas.tolist() == [170, 200, 25]


def test_scenes():
    record = open_dataset({"format": "scenes", "size": 64, "split": "seen"}, masks=True)[1]
    assert (record.masks.boxes_xyxy == record.boxes_xyxy).all()
    assert open_dataset({"format": "scenes", "size": 64, "split": "seen"})[1].masks is None


def test_other_formats(tmp_path):
    path = tmp_path / "odvg.jsonl"
    path.write_text("")
    message = (
        r"^Masks are read from coco, lvis, yolo, scenes, but the data set is odvg, which is read with boxes only\. "
        r"Leave masks \(--masks\) out, or give the COCO file that it was made from\.$"
    )
    with pytest.raises(DatasetError, match=message):
        open_dataset(path, masks=True)
    assert set(opening.WITH_MASKS) < {*opening.READERS, opening.SCENES}


def test_masks_are_no_key_of_a_specification(tmp_path):
    with pytest.raises(ConfigError, match="has no key 'masks'"):
        open_dataset({"annotations": str(as_json(tmp_path / "a.json", with_masks(MASKS))), "masks": True})


def test_polygons_need_a_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "faster_coco_eval.core", None)
    with pytest.raises(MissingExtraError, match=r"Reading masks that are polygons.*groundling\[eval\]"):
        run_lengths([SQUARE], (WIDTH, HEIGHT))
