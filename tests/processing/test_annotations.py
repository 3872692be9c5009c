import copy
import json

import numpy as np
import pytest
import torch
from PIL import Image
from transformers.models.grounding_dino.image_processing_pil_grounding_dino import GroundingDinoImageProcessorPil

from groundling.errors import DatasetError, MissingExtraError
from groundling.processing import GroundingDinoImageProcessor
from groundling.processing.annotations import mask_boxes

# pycocotools has not followed numpy 2 yet
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
SMALL = {"shortest_edge": 20, "longest_edge": 30}
WIDE, TALL = np.zeros((40, 60, 3), np.uint8), np.zeros((60, 40, 3), np.uint8)


def box(bbox, **others):
    return {"bbox": bbox, "area": bbox[2] * bbox[3], "category_id": 7, **others}


WORKED = {
    "image_id": 3,
    "annotations": [
        {"bbox": [5, 5, 15, 15], "area": 225, "category_id": 7},
        {"bbox": [50, 30, 40, 40], "area": 100.5, "category_id": 9},
        {"bbox": [500, 30, 40, 40], "area": 1, "category_id": 1},
        {"bbox": [5, 5, 0, 10], "area": 1, "category_id": 2},
    ],
}
POLYGON = [[5, 5, 20, 5, 20, 20, 5, 20]]


def label_of(image, annotation, **options):
    return GroundingDinoImageProcessor(size=SMALL)(image, annotation, return_tensors="pt", **options)["labels"][0]


def test_the_worked_example() -> None:
    before = copy.deepcopy(WORKED)
    label = label_of(WIDE, WORKED)
    assert list(label) == ["size", "image_id", "class_labels", "boxes", "area", "iscrowd", "orig_size"]
    torch.testing.assert_close(
        label.boxes,
        torch.tensor([[0.20833333, 0.3125, 0.25, 0.375], [0.9166667, 0.875, 0.16666667, 0.25]]),
        rtol=0,
        atol=1e-7,
    )
    assert label.class_labels.tolist() == [7, 9]
    assert label.area.tolist() == [56.25, 25.125]
    assert (label["size"].tolist(), label.orig_size.tolist()) == ([20, 30], [40, 60])
    assert (label.image_id.tolist(), label.iscrowd.tolist()) == ([3], [0, 0])
    assert before == WORKED


@pytest.mark.parametrize("options", [{}, {"do_convert_annotations": False}, {"do_pad": False}, {"do_resize": False}])
@pytest.mark.parametrize(
    "objects",
    [
        pytest.param([], id="empty"),
        pytest.param(WORKED["annotations"], id="worked example"),
        pytest.param([box([1, 2, 30.5, 4], iscrowd=1), box([3, 3, 3, 3], iscrowd=0)], id="a crowd"),
        pytest.param([box([-9, -9, 20, 20]), box([1, 1, 5, 5], keypoints=[1, 2, 2, 3, 4, 1])][1:], id="keypoints"),
        pytest.param([box([-9, -9, 20, 20]), box([39, 0, 100, 100])], id="clipped"),
    ],
)
def test_detection_labels_equal_the_reference(objects, options) -> None:
    annotation = {"image_id": 1, "annotations": objects}
    call = {"annotations": [annotation, annotation], "return_tensors": "pt", **options}
    images = [WIDE, TALL] if options != {"do_pad": False} else [WIDE, WIDE]
    ours = GroundingDinoImageProcessor(size=SMALL)(images, **call)
    theirs = GroundingDinoImageProcessorPil(size=SMALL)(images, **call)
    assert list(ours) == list(theirs)
    for mine, other in zip(ours["labels"], theirs["labels"], strict=True):
        assert list(mine) == list(other)
        for key, value in mine.items():
            assert value.dtype == other[key].dtype, key
            torch.testing.assert_close(value, other[key], rtol=0, atol=1e-6, msg=key)


def test_masks_equal_the_reference() -> None:
    runs = {"size": [40, 60], "counts": [100, 400, 1900]}
    objects = [box([5, 5, 15, 15], segmentation=POLYGON), box([2, 20, 2, 20], segmentation=runs)]
    annotation = {"image_id": 1, "annotations": objects}
    call = {"annotations": [annotation, annotation], "return_segmentation_masks": True, "return_tensors": "pt"}
    images = [np.zeros((40, 60, 3), np.uint8), np.zeros((33, 47, 3), np.uint8)]
    objects_small = copy.deepcopy(annotation)
    objects_small["annotations"][1]["segmentation"] = {"size": [33, 47], "counts": [100, 400, 1051]}
    call["annotations"] = [annotation, objects_small]
    ours = GroundingDinoImageProcessor(size=SMALL)(images, **call)["labels"]
    theirs = GroundingDinoImageProcessorPil(size=SMALL)(images, **call)["labels"]
    for mine, other in zip(ours, theirs, strict=True):
        assert mine["masks"].dtype == torch.bool
        assert mine["masks"].any(dim=(1, 2)).all()
        assert torch.equal(mine["masks"], other["masks"])


def test_masks_where_the_reference_fails() -> None:
    crowd = box([5, 5, 15, 15], segmentation=POLYGON, iscrowd=1)
    kept = box([5, 5, 15, 15], segmentation=POLYGON)
    label = label_of(WIDE, {"image_id": 1, "annotations": [crowd, kept]}, return_segmentation_masks=True)
    assert label["masks"].shape == (1, 20, 30)
    label = label_of(WIDE, {"image_id": 1, "annotations": []}, return_segmentation_masks=True)
    assert label["masks"].shape == (0, 20, 30)


def test_compressed_runs_are_read() -> None:
    from pycocotools import mask as coco_mask

    array = np.zeros((40, 60), np.uint8, order="F")
    array[4:20, 8:30] = 1
    runs = coco_mask.encode(array)
    label = label_of(
        WIDE,
        {"image_id": 1, "annotations": [box([8, 4, 22, 16], segmentation=runs)]},
        return_segmentation_masks=True,
        do_resize=False,
    )
    assert torch.equal(label["masks"][0], torch.from_numpy(array).bool())


def test_masks_without_pycocotools(monkeypatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pycocotools", None)
    objects = [box([5, 5, 15, 15], segmentation=POLYGON)]
    with pytest.raises(MissingExtraError, match=r"Reading segmentation masks needs.*groundling\[eval\]"):
        label_of(WIDE, {"image_id": 1, "annotations": objects}, return_segmentation_masks=True)


def test_an_object_without_an_area_has_that_of_its_box() -> None:
    label = label_of(WIDE, {"image_id": 1, "annotations": [{"bbox": [5, 5, 4, 3], "category_id": 1}]}, do_resize=False)
    assert label.area.tolist() == [12.0]


@pytest.mark.parametrize(
    ("annotation", "message"),
    [
        pytest.param({}, "entry 0 has no key 'image_id'", id="empty"),
        ({"image_id": 1}, "entry 0 has no key 'annotations'"),
        ({"image_id": 1, "annotations": 3}, "'annotations' of entry 0 is not a list of dicts"),
        ({"image_id": 1, "annotations": [3]}, "'annotations' of entry 0 is not a list of dicts"),
        ([3], "entry 0 is a int"),
        (3, "Invalid COCO detection annotations: got int"),
        ([], r"The number of images \(1\) and annotations \(0\) do not match"),
        ({"image_id": 1, "annotations": [{"bbox": [1, 2, 3, 4]}]}, "Object 0 has no key 'category_id'"),
        ({"image_id": 1, "annotations": [{"category_id": 1}]}, "Object 0 has no key 'bbox'. It has: category_id"),
        ({"image_id": 1, "annotations": [{"category_id": 1, "bbox": [1, 2]}]}, "Give four numbers"),
        ({"image_id": "x.jpg", "annotations": []}, "'image_id' must be an integer, got 'x.jpg'"),
        (
            {"image_id": 1, "annotations": [box([1, 1, 2, 2], keypoints=[1, 2, 3]), box([1, 1, 2, 2])]},
            "Object 1 has no key 'keypoints'",
        ),
    ],
    ids=str,
)
def test_bad_annotations(annotation, message) -> None:
    with pytest.raises(DatasetError, match=message):
        label_of(WIDE, annotation)


def test_a_segmentation_that_cannot_be_read() -> None:
    objects = [box([1, 1, 2, 2], segmentation="nothing")]
    with pytest.raises(DatasetError, match="The segmentation of object 0 cannot be read"):
        label_of(WIDE, {"image_id": 1, "annotations": objects}, return_segmentation_masks=True)


@pytest.fixture
def panoptic(tmp_path):
    ids = np.zeros((40, 60), np.int64)
    ids[4:20, 8:30] = 70000
    ids[30:, 50:] = 300
    colours = np.stack([ids % 256, ids // 256 % 256, ids // 65536], -1).astype(np.uint8)
    Image.fromarray(colours).save(tmp_path / "mask.png")
    segments = [
        {"id": 70000, "category_id": 5, "iscrowd": 0, "area": 352},
        {"id": 300, "category_id": 6, "iscrowd": 1, "area": 100},
        {"id": 9, "category_id": 6, "iscrowd": 0, "area": 0},
    ]
    return tmp_path, {"image_id": 4, "file_name": "mask.png", "segments_info": segments}


@pytest.mark.parametrize("with_masks", [None, True, False])
@pytest.mark.parametrize("convert", [True, False])
def test_panoptic_labels_equal_the_reference(panoptic, with_masks, convert) -> None:
    folder, annotation = panoptic
    call = {
        "annotations": annotation,
        "masks_path": folder,
        "format": "coco_panoptic",
        "return_segmentation_masks": with_masks,
        "do_convert_annotations": convert,
        "return_tensors": "pt",
    }
    mine = GroundingDinoImageProcessor(size=SMALL)(WIDE, **call)["labels"][0]
    other = GroundingDinoImageProcessorPil(size=SMALL)(WIDE, **call)["labels"][0]
    assert list(mine) == list(other)
    for key, value in mine.items():
        torch.testing.assert_close(value, other[key], rtol=0, atol=1e-6, msg=key)
    if with_masks is not False:
        assert mine["masks"].shape == (3, 20, 30)


def test_a_panoptic_box_ends_at_its_last_pixel() -> None:
    mask = torch.zeros(2, 5, 6, dtype=torch.bool)
    mask[0, 1:3, 2:5] = True
    assert mask_boxes(mask).tolist() == [[2, 1, 4, 2], [1e8, 1e8, 0, 0]]
    assert mask_boxes(mask[:0]).shape == (0, 4)


@pytest.mark.parametrize(
    ("change", "masks_path", "message"),
    [
        ({}, None, "should be provided as masks_path"),
        ({}, 3, "but is 3"),
        ({"file_name": "no.png"}, ".", "The mask picture 'no.png' cannot be read"),
        ({"segments_info": [{"id": 1}]}, ..., "Object 0 has no key 'category_id'"),
    ],
    ids=str,
)
def test_bad_panoptic_annotations(panoptic, change, masks_path, message) -> None:
    folder, annotation = panoptic
    with pytest.raises(DatasetError, match=message):
        label_of(
            WIDE,
            annotation | change,
            format="coco_panoptic",
            masks_path=folder if masks_path is ... else masks_path,
        )


def test_labels_without_tensors_keep_the_size_as_a_pair() -> None:
    label = GroundingDinoImageProcessor(size=SMALL)(WIDE, WORKED)["labels"][0]
    assert label["size"] == (20, 30)
    assert isinstance(label["boxes"], torch.Tensor)
    label = GroundingDinoImageProcessor(size=SMALL)(WIDE, WORKED, return_tensors="np")["labels"][0]
    assert json.dumps(label["size"].tolist()) == "[20, 30]"
