"""Masks in every format that holds them, as other programs read them back."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_masks
from pycocotools.coco import COCO

from data.small_sets import picture
from groundling.data.check import check_dataset
from groundling.data.convert import WITH_MASKS, WITH_POLYGONS, WRITERS, Placing, convert_dataset, write_records
from groundling.data.open import READERS, open_dataset
from groundling.data.record import Record, one_label_each
from groundling.errors import ConfigError, DatasetError
from groundling.structures.masks import Masks

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")  # of the readers

NAMES = ("cat", "hot/dog: é?")
WIDTH, HEIGHT = SIZE = (300, 240)
Y, X = np.mgrid[:HEIGHT, :WIDTH]


def disc(x, y, radius):
    return (X - x) ** 2 + (Y - y) ** 2 < radius**2


def shapes():
    """Large and small, with holes and in parts, thin, at the edge, rough, of one pixel, and nothing at all."""
    rng = np.random.default_rng(0)
    rough = disc(60, 180, 20) & (rng.random((HEIGHT, WIDTH)) > 0.1)
    return {
        "large": disc(150, 110, 100),
        "ring": disc(100, 100, 60) & ~disc(110, 100, 30),
        "two parts": disc(40, 40, 12) | disc(250, 200, 9),
        "small": disc(200, 30, 3),
        "at the edge": (X > 270) | (Y > 230),
        "line": (Y == 120) & (X > 20) & (X < 200),
        "rough": rough,
        "pixel": (X == 299) & (Y == 239),
        "empty": np.zeros((HEIGHT, WIDTH), bool),
    }


MASKS = np.stack(list(shapes().values()))
EMPTY = list(shapes()).index("empty")
SOME = [row for row in range(len(MASKS)) if row != EMPTY]


def record(path, masks=MASKS, **changes):
    """A picture with a thing for each mask, in boxes that are a little too large; of empty ones 10, 20, 40, 60."""
    made = Masks.from_array(masks, SIZE)
    boxes = np.where(made.areas[:, None] > 0, made.boxes_xyxy + np.array([-1.5, -1.5, 1.5, 1.5]), [10, 20, 40, 60])
    values = {
        "key": path.name,
        "picture": picture(path, SIZE),
        "image_wh": SIZE,
        "labels": NAMES,
        "boxes_xyxy": boxes.clip(0, [*SIZE, *SIZE]).astype(np.float32),
        "positive_NL": one_label_each([row % 2 for row in range(len(made))], 2),
        "score_N": np.linspace(0.9, 0.1, len(made), dtype=np.float32),
        "masks": made,
    }
    return Record(**(values | changes))


def write(tmp_path, to, *records, **options):
    out = tmp_path / to
    out.mkdir()
    placing = Placing(tmp_path / "in", copy=False, doomed=tmp_path / "none", flat=to in ("yolo", "voc"))
    return out, write_records(out, to, records, NAMES, placing, **options)


def iou(one, other):
    return (one & other).sum() / (one | other).sum()


def rasterised(polygons):
    flat = [np.asarray(polygon, np.float64).ravel().tolist() for polygon in polygons]
    return coco_masks.decode(coco_masks.merge(coco_masks.frPyObjects(flat, HEIGHT, WIDTH))).astype(bool)


def one_without_masks(tmp_path):
    return replace(record(tmp_path / "in" / "b.png"), masks=None)


# COCO


def read_coco(out, capsys):
    read = COCO(str(out / "annotations.json"))
    capsys.readouterr()
    return read


def test_coco_run_lengths_are_exact(tmp_path, capsys):
    out, left_out = write(tmp_path, "coco", record(tmp_path / "in" / "a.png"))
    assert left_out == {}
    assert check_dataset(out) == []
    read = read_coco(out, capsys)
    for one, mask in zip(read.dataset["annotations"], MASKS, strict=True):
        np.testing.assert_array_equal(read.annToMask(one).astype(bool), mask)
        assert isinstance(one["segmentation"]["counts"], str)
    areas = [one["area"] for one in read.dataset["annotations"]]
    assert areas == [mask.sum() if mask.any() else 30 * 40 for mask in MASKS]
    assert json.loads((out / "annotations.json").read_text())["annotations"][EMPTY]["bbox"] == [10, 20, 30, 40]


def test_coco_polygons(tmp_path, capsys):
    crowd = np.arange(len(MASKS)) == 0
    out, left_out = write(tmp_path, "coco", record(tmp_path / "in" / "a.png", crowd_N=crowd), polygons=True)
    assert left_out == {}
    assert check_dataset(out) == []
    read = read_coco(out, capsys)
    forms = [type(one["segmentation"]) for one in read.dataset["annotations"]]
    assert [row for row, form in enumerate(forms) if form is dict] == [0, EMPTY]
    for row in SOME:
        one = read.dataset["annotations"][row]
        assert iou(read.annToMask(one).astype(bool), MASKS[row]) > 0.99
        assert one["area"] == MASKS[row].sum()
    counts = [len(one["segmentation"]) for one in read.dataset["annotations"]]
    assert counts[2] == 2


def test_coco_without_masks_is_as_before(tmp_path):
    out, _ = write(tmp_path, "coco", one_without_masks(tmp_path), polygons=True)
    assert not any("segmentation" in one for one in json.loads((out / "annotations.json").read_text())["annotations"])


@pytest.mark.parametrize("polygons", [False, True])
def test_supervision_reads_coco(tmp_path, polygons):
    from supervision import DetectionDataset

    out, _ = write(tmp_path, "coco", record(tmp_path / "in" / "a.png", MASKS[SOME]), polygons=polygons)
    read = DetectionDataset.from_coco(str(out / "images"), str(out / "annotations.json"), force_masks=True)
    ((_, _, found),) = read
    assert len(found.mask) == len(SOME)
    if not polygons:
        np.testing.assert_array_equal(found.mask, MASKS[SOME])
    else:  # it draws outlines as wide as a pixel
        assert iou(found.mask[0], MASKS[0]) > 0.97


# YOLO


def read_yolo(out, name):
    lines = [line.split() for line in (out / "labels" / f"{name}.txt").read_text().splitlines()]
    return [(int(name_id), np.array(rest, np.float64).reshape(-1, 2) * SIZE) for name_id, *rest in lines]


def test_yolo_outlines(tmp_path):
    out, left_out = write(tmp_path, "yolo", record(tmp_path / "in" / "a.png"))
    assert left_out == {"things without a mask, whose boxes stand as outlines": 1}
    assert check_dataset(out) == []
    found = read_yolo(out, "a")
    assert [name_id for name_id, _ in found] == [row % 2 for row in range(len(MASKS))]
    for row in SOME:
        assert iou(rasterised([found[row][1]]), MASKS[row]) > 0.99
    np.testing.assert_allclose(found[EMPTY][1], [[10, 20], [40, 20], [40, 60], [10, 60]], atol=1e-4)
    boxes = open_dataset(out)[0].boxes_xyxy
    np.testing.assert_allclose(boxes[SOME], Masks.from_array(MASKS[SOME]).boxes_xyxy, atol=1.01)


def test_supervision_reads_yolo(tmp_path):
    from supervision import DetectionDataset

    out, _ = write(tmp_path, "yolo", record(tmp_path / "in" / "a.png", MASKS[SOME]))
    paths = str(out / "images"), str(out / "labels"), str(out / "data.yaml")
    ((_, _, found),) = DetectionDataset.from_yolo(*paths, force_masks=True)
    assert found.mask.shape == (len(SOME), HEIGHT, WIDTH)
    for row, mask in zip(SOME, found.mask, strict=True):
        assert not (MASKS[row] & ~mask).sum() > 0.01 * MASKS[row].sum()  # it adds a pixel at the edges
    assert iou(found.mask[0], MASKS[0]) > 0.97


@pytest.mark.parametrize("first", [False, True])
def test_yolo_never_mixes_outlines_and_boxes(tmp_path, first):
    """Whichever comes first, since programs refuse such data sets."""
    records = [one_without_masks(tmp_path), record(tmp_path / "in" / "a.png", MASKS[:2])]
    nothing = record(tmp_path / "in" / "c.png", masks=MASKS[:0])
    out, left_out = write(tmp_path, "yolo", *(records[::-1] if first else records), nothing)
    assert left_out == {"things without a mask, whose boxes stand as outlines": len(MASKS)}
    lengths = {len(line.split()) for file in (out / "labels").iterdir() for line in file.read_text().splitlines()}
    assert 5 not in lengths
    assert check_dataset(out) == []
    boxes = {one.key: one.boxes_xyxy for one in open_dataset(out)}
    np.testing.assert_allclose(boxes["b.png"], records[0].boxes_xyxy, atol=1e-3)


def test_yolo_outlines_of_boxes_stay_in_the_picture(tmp_path):
    """Centre and size are rounded, and the corners made of them would lie beside the picture by a hair."""
    lefts = np.arange(1, 51, dtype=np.float32)
    boxes = np.stack([lefts * 0, lefts * 0, 300 / 1.37 / lefts, 240 / 1.73 / lefts], axis=1)
    boxes[25:] = [300, 240, 300, 240] - boxes[25:, [2, 3, 0, 1]]
    blank = np.zeros((50, HEIGHT, WIDTH), bool)
    boxed = replace(record(tmp_path / "in" / "b.png", blank, boxes_xyxy=boxes), masks=None)
    out, _ = write(tmp_path, "yolo", boxed, record(tmp_path / "in" / "a.png", MASKS[:2]))
    lines = (out / "labels" / "b.txt").read_text().splitlines()
    corners = np.array([line.split()[1:] for line in lines], np.float64)
    assert corners.shape == (50, 8)
    assert (corners.min(), corners.max()) == (0, 1)
    assert not any("-" in line for line in lines)


def test_yolo_without_masks_is_as_before(tmp_path):
    nothing = record(tmp_path / "in" / "c.png", masks=MASKS[:0])  # that nobody found anything says nothing
    out, left_out = write(tmp_path, "yolo", nothing, one_without_masks(tmp_path))
    assert left_out == {}
    assert {len(line.split()) for line in (out / "labels" / "b.txt").read_text().splitlines()} == {5}


# labelme


def test_labelme_polygons(tmp_path):
    out, left_out = write(tmp_path, "labelme", record(tmp_path / "in" / "a.png"))
    assert left_out == {}
    shapes = json.loads((out / "images" / "a.json").read_text())["shapes"]
    assert [one["shape_type"] for one in shapes if one["shape_type"] != "polygon"] == ["rectangle"]
    left = list(shapes)
    for row, mask in enumerate(MASKS):
        first = left.pop(0)
        parts = [first]
        while first["group_id"] is not None and left and left[0]["group_id"] == first["group_id"]:
            parts.append(left.pop(0))
        assert [one["label"] for one in parts] == [NAMES[row % 2]] * len(parts)
        assert {one["score"] for one in parts} == {round(0.9 - 0.1 * row, 6)}
        if row == EMPTY:
            assert first["points"] == [[10, 20], [40, 60]]
        else:
            assert iou(rasterised([one["points"] for one in parts]), mask) > 0.99
    assert left == []


# PNG


def png(path):
    with Image.open(path) as image:
        return image.mode, np.array(image)


def test_png(tmp_path):
    out, left_out = write(tmp_path, "png", record(tmp_path / "in" / "sub" / "a.b.jpg"))
    assert left_out == {}
    names = [f"{number:04}-{('cat', 'hot_dog_ é_')[(number - 1) % 2]}.png" for number in range(1, len(MASKS) + 1)]
    folder = out / "masks" / "sub" / "a.b"
    assert sorted(path.name for path in folder.iterdir()) == names
    for name, mask in zip(names, MASKS, strict=True):
        mode, pixels = png(folder / name)
        assert mode == "L"
        np.testing.assert_array_equal(pixels, mask * 255)
    instances, labels = np.zeros((HEIGHT, WIDTH), int), np.zeros((HEIGHT, WIDTH), int)
    for row in reversed(range(len(MASKS))):  # scores fall
        instances[MASKS[row]], labels[MASKS[row]] = row + 1, row % 2 + 1
    assert png(out / "labels" / "sub" / "a.b.png")[0] == "L"
    np.testing.assert_array_equal(png(out / "labels" / "sub" / "a.b.png")[1], labels)
    assert png(out / "instances" / "sub" / "a.b.png")[0].startswith("I")
    np.testing.assert_array_equal(png(out / "instances" / "sub" / "a.b.png")[1], instances)
    assert (out / "labels.txt").read_text(encoding="utf-8").splitlines() == list(NAMES)
    assert (out / "images" / "sub" / "a.b.jpg").is_file()


def test_png_of_nothing_and_of_crowds(tmp_path):
    path = picture(tmp_path / "in" / "b.png", SIZE)
    nothing = Record("b.png", path, SIZE, NAMES, np.zeros((0, 4), np.float32), np.zeros((0, 2), bool))
    crowd = np.arange(2) == 1
    out, left_out = write(tmp_path, "png", nothing, record(tmp_path / "in" / "a.png", MASKS[:2], crowd_N=crowd))
    assert left_out == {"crowds": 1}
    assert not png(out / "labels" / "b.png")[1].any()
    assert [path.name for path in (out / "masks").rglob("*.png")] == ["0001-cat.png"]


def test_png_of_many_names(tmp_path):
    (tmp_path / "png").mkdir()
    names = tuple(f"name {number}" for number in range(300))
    one = record(tmp_path / "in" / "a.png", MASKS[:1], labels=names[-1:], positive_NL=np.ones((1, 1), bool))
    placing = Placing(tmp_path / "in", copy=False, doomed=tmp_path / "none")
    write_records(tmp_path / "png", "png", [one], names, placing)
    mode, pixels = png(tmp_path / "png" / "labels" / "a.png")
    assert mode.startswith("I")
    assert set(np.unique(pixels)) == {0, 300}


def test_png_needs_masks(tmp_path):
    with pytest.raises(DatasetError, match=r"b\.png has no masks, and a folder of PNG files holds nothing else"):
        write(tmp_path, "png", one_without_masks(tmp_path))


# All formats


@pytest.mark.parametrize("to", [name for name in WRITERS if name not in WITH_MASKS])
def test_what_cannot_hold_masks_says_so(tmp_path, to):
    assert write(tmp_path, to, record(tmp_path / "in" / "a.png"))[1] == {"masks": len(MASKS)}


@pytest.mark.parametrize("to", [name for name in WRITERS if name not in WITH_POLYGONS])
def test_what_holds_no_polygons_refuses_them(tmp_path, to):
    dataset = open_dataset({"format": "scenes", "count": 1})
    with pytest.raises(ConfigError, match=rf"{to} holds no polygons \(--polygons\)\. Write one of coco, yolo, labelme"):
        convert_dataset(dataset, tmp_path / "out", to, polygons=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("to", [name for name in WITH_MASKS if name in READERS])
def test_drawn_scenes_keep_their_masks(tmp_path, to):
    source = open_dataset({"format": "scenes", "split": "seen", "count": 3}, masks=True)
    left_out = convert_dataset(source, tmp_path / "out", to, polygons=True).left_out
    assert left_out == {"pictures in which not every name was looked for": 3}
    assert check_dataset(tmp_path / "out") == []
    if to == "coco":
        convert_dataset(open_dataset(tmp_path / "out", masks=True), tmp_path / "png", "png")
        for number in range(3):
            files = sorted((tmp_path / "png" / "masks" / f"seen-0-{number}").iterdir())
            for file, mask in zip(files, source[number].masks, strict=True):
                assert iou(png(file)[1] > 0, mask) > 0.99


@pytest.mark.parametrize("size", [(1, 1), (3, 2)])
def test_tiny_pictures(tmp_path, size):
    masks = Masks.from_array(np.ones((1, size[1], size[0])))
    path = picture(tmp_path / "in" / "a.png", size)
    one = Record("a.png", path, size, NAMES[:1], masks.boxes_xyxy, np.ones((1, 1), bool), masks=masks)
    for to in WITH_MASKS:
        out, left_out = write(tmp_path, to, one)
        assert left_out == {}
        assert Path(out).is_dir()
