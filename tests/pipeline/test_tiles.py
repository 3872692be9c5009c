"""Large pictures: every thing once, wherever tiles are cut, in little memory."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import scipy.ndimage
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from groundling import Detector
from groundling.data.scenes import make_scene
from groundling.errors import ConfigError, ImageError, MissingExtraError, PromptError
from groundling.files import BUNDLED_MODEL
from groundling.pictures import strips
from groundling.pictures.reading import open_picture
from groundling.pipeline.tiles import LARGEST_OVERLAP, Tiles, detect_tiled
from groundling.postprocess.select import SelectionRules
from groundling.processing import GroundingDinoImageProcessor
from groundling.structures.detections import Detections

RULES = SelectionRules()


# How a picture is cut


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param({"size": 0}, "size of a tile must be at least 32 pixels, got 0", id="empty"),
        ({"size": 31}, "got 31"),
        ({"size": -800}, "got -800"),
        ({"size": True}, "got True"),
        ({"size": 800.0}, r"got 800\.0"),
        ({"size": "800"}, "got '800'"),
        ({"overlap": 1.0}, r"overlap of tiles must be 0 to 0\.9 of their size, got 1\.0"),
        ({"overlap": -0.1}, r"got -0\.1"),
        ({"overlap": float("nan")}, "got nan"),
        ({"overlap": "0.2"}, r"got '0\.2'"),
        ({"overlap": None}, "got None"),
        ({"overlap": True}, "got True"),
        ({"whole": 1}, "whole must be True or False, got 1"),
    ],
)
def test_tiles_that_cannot_be(options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Tiles(**options)


@pytest.mark.parametrize("overlap", [0, np.float32(0.25), np.float64(0.5), Fraction(1, 2)])
def test_every_real_number_is_an_overlap(overlap: Any) -> None:
    assert Tiles(overlap=overlap) == Tiles(overlap=float(overlap))
    assert type(Tiles(overlap=overlap).overlap) is float


@given(st.integers(1, 5000), st.integers(32, 1000), st.floats(0, LARGEST_OVERLAP))
def test_tiles_cover_a_side_and_overlap(length: int, size: int, overlap: float) -> None:
    starts = Tiles(size, overlap).starts(length)
    assert starts[0] == 0
    assert starts[-1] == max(0, length - size)  # the last one ends with the picture, as large as the others
    steps = np.diff(starts)
    assert (steps <= max(1, size * (1 - overlap))).all()
    assert steps.size == 0 or steps.max() - steps.min() <= 1
    assert len(starts) == 1 or (len(starts) - 2) * int(size * (1 - overlap)) < length - size  # none too many


def test_mirrored_pictures_have_mirrored_tiles_up_to_a_pixel() -> None:
    starts = np.array(Tiles(800).starts(19_999))
    assert np.abs(starts + starts[::-1] - (19_999 - 800)).max() <= 1


# A detector that makes no mistake: things are patches of one colour


class Seer:
    """Finds white patches on black, exactly, and remembers how it was asked."""

    def __init__(self, shortest_edge: int = 64) -> None:
        size = {"shortest_edge": shortest_edge, "longest_edge": 2 * shortest_edge}
        self.processor = SimpleNamespace(image_processor=GroundingDinoImageProcessor(size=size))
        self.seen: list[tuple[int, int]] = []
        self.options: dict[str, Any] = {}

    def prompts(self, labels: list[str]) -> SimpleNamespace:
        return SimpleNamespace(labels=tuple(labels))

    def detect_many(self, images: Any, asked: SimpleNamespace, **options: Any) -> Iterator[Detections]:
        self.options = options
        for image in images:
            assert image.shape[0] == 3
            pixels = image.numpy()[0] > 127
            self.seen.append((pixels.shape[1], pixels.shape[0]))
            patches, count = scipy.ndimage.label(pixels)
            places = scipy.ndimage.find_objects(patches)
            yield Detections(
                np.array([[x.start, y.start, x.stop, y.stop] for y, x in places], float).reshape(-1, 4),
                np.full(count, 0.5),
                np.zeros(count, np.int64),
                asked.labels,
                (pixels.shape[1], pixels.shape[0]),
            )


def seen_in(image: Any, tiles: Tiles, seer: Seer | None = None, **options: Any) -> Detections:
    return detect_tiled(seer or Seer(), image, ["patch"], tiles, rules=RULES, **options)  # type: ignore[arg-type]


def painted(width: int, height: int, boxes: list[tuple[int, int, int, int]]) -> np.ndarray:
    picture = np.zeros((height, width, 3), np.uint8)
    for left, top, right, bottom in boxes:
        picture[top:bottom, left:right] = 255
    return picture


def drawn_patches(seed: int, width: int, height: int, largest: int) -> list[tuple[int, int, int, int]]:
    """Patches that do not touch each other, each at least 8 pixels large."""
    rng = np.random.default_rng(seed)
    taken, boxes = np.zeros((height, width), bool), []
    for _ in range(60):
        w, h = rng.integers(8, largest, 2)
        left, top = rng.integers(0, max(1, width - w)), rng.integers(0, max(1, height - h))
        box = (int(left), int(top), min(int(left + w), width), min(int(top + h), height))
        around = taken[max(0, top - 3) : box[3] + 3, max(0, left - 3) : box[2] + 3]
        if not around.any():
            taken[top : box[3], left : box[2]] = True
            boxes.append(box)
    return boxes


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    width=st.integers(40, 700),
    height=st.integers(40, 700),
    overlap=st.sampled_from([0.0, 0.2, 0.5]),
    whole=st.booleans(),
    largest=st.sampled_from([20, 90, 400]),
)
def test_every_patch_is_found_once(
    seed: int, width: int, height: int, overlap: float, whole: bool, largest: int
) -> None:
    if overlap == 0 and not whole:
        whole = True  # parts that have nothing in common cannot be joined
    boxes = drawn_patches(seed, width, height, largest)
    found = seen_in(painted(width, height, boxes), Tiles(100, overlap, whole))
    assert found.image_wh == (width, height)
    result = sorted(tuple(int(side) for side in box) for box in found.boxes_xyxy)
    if overlap > 0:
        assert result == sorted(boxes)
    else:
        assert set(boxes) <= set(result)


def test_tiles_are_of_one_size_and_the_whole_comes_last() -> None:
    seer, steps = Seer(), []
    found = seen_in(painted(250, 130, []), Tiles(100, 0.2), seer, progress=lambda *step: steps.append(step))
    assert seer.seen == [(100, 100)] * 6 + [(250, 130)]
    assert steps == [(done, 7) for done in range(1, 8)]
    assert (len(found), found.labels, found.label_scores, found.source) == (0, ("patch",), None, None)
    seer = Seer()
    seen_in(painted(250, 60, []), Tiles(100, 0.2, whole=False), seer)
    assert seer.seen == [(100, 60)] * 3


def test_boxes_are_compared_in_the_picture_and_not_in_a_tile() -> None:
    rules = SelectionRules(threshold=0.1, top_k=2, nms_iou=0.6, nms_across_labels=True, drop_groups=True)
    boxes = [(10, 10, 20, 20), (110, 10, 120, 20), (210, 10, 220, 20)]
    seer = Seer()
    found = detect_tiled(seer, painted(300, 100, boxes), ["patch"], Tiles(100), rules=rules, batch_size=3)  # type: ignore[arg-type]
    assert len(found) == 2
    expected = {
        "threshold": 0.1,
        "nms_iou": None,
        "nms_across_labels": False,
        "drop_groups": False,
        "aggregate": "mean",
    }
    assert seer.options == expected | {"top_k": None, "batch_size": 3}


@pytest.fixture
def in_strips(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strips, "WHOLE_PIXELS", 1)


@pytest.mark.usefixtures("in_strips")
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_file_in_strips_gives_what_its_upright_pixels_give(tmp_path: Path, orientation: int) -> None:
    boxes = drawn_patches(3, 500, 420, 80)
    path = tmp_path / "large.png"
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(painted(500, 420, boxes)).save(path, exif=exif)
    upright = np.asarray(open_picture(path))
    tiles = Tiles(100, whole=False)
    found, expected = seen_in(path, tiles), seen_in(upright, tiles)
    assert (found.image_wh, found.source) == (expected.image_wh, str(path))
    assert len(found) == len(boxes)
    assert sorted(found.boxes_xyxy.tolist()) == sorted(expected.boxes_xyxy.tolist())


@pytest.mark.usefixtures("in_strips")
@pytest.mark.parametrize("orientation", [1, 6])
def test_the_whole_of_a_file_in_strips_is_a_small_copy(tmp_path: Path, orientation: int) -> None:
    large = (60, 120, 480, 360)  # cut everywhere but in the whole
    path = tmp_path / "large.png"
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(painted(605, 421, [large])).save(path, exif=exif)
    seer = Seer(shortest_edge=64)
    found = seen_in(path, Tiles(100), seer)
    assert set(seer.seen[:-1]) == {(100, 100)}
    assert seer.seen[-1] == ((100, 70) if orientation == 1 else (70, 100))  # 421 pixels for 64: every 6 become one
    expected = large if orientation == 1 else (421 - 360, 60, 421 - 120, 480)
    assert found.image_wh == ((605, 421) if orientation == 1 else (421, 605))
    np.testing.assert_allclose(found.boxes_xyxy, [expected], atol=6)


# Bad input


@pytest.mark.parametrize(
    ("image", "message"),
    [
        pytest.param(np.zeros((0, 10, 3), np.uint8), "has no pixels", id="empty"),
        (Image.new("RGB", (0, 3)), "has no pixels"),
        ("", "There is no picture file"),
        ("missing.png", "no picture file .*missing"),
        ("~nobody-of-that-name/a.png", "not a path that can be read|no picture file"),
        (".", "no picture file"),
        ("https://example.org/a.png", "is a URL, and nothing is downloaded unasked"),
        (None, "cannot be a NoneType"),
        ([np.zeros((4, 4, 3), np.uint8)], "cannot be a list"),
    ],
)
def test_pictures_that_cannot_be_searched(image: Any, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        seen_in(image, Tiles(100))


@pytest.mark.parametrize("tiles", [pytest.param(None, id="empty"), 800, "800", {"size": 800}, Tiles])
def test_tiles_that_are_none(tiles: Any) -> None:
    with pytest.raises(ConfigError, match=r"must be Tiles, such as Tiles\(size=800, overlap=0\.2\), got"):
        seen_in(np.zeros((4, 4, 3), np.uint8), tiles)


@pytest.mark.usefixtures("in_strips")
def test_a_file_that_breaks_off_on_the_way_is_named(tmp_path: Path) -> None:
    path = tmp_path / "torn.png"
    noise = np.random.default_rng(0).integers(0, 256, (1000, 300, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:600_000])
    seer = Seer()
    with pytest.raises(ImageError, match=r"torn\.png' cannot be read beyond row \d+ of 1000 .*get it again"):
        seen_in(path, Tiles(100), seer)
    assert len(seer.seen) > 5 * 4  # whole rows of tiles before


@pytest.mark.usefixtures("in_strips")
def test_too_large_without_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "large.png"
    Image.fromarray(painted(50, 50, [])).save(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    monkeypatch.setitem(sys.modules, "pyvips", None)
    with pytest.raises(MissingExtraError, match=r"large\.png'.* needs the package 'pyvips'.*groundling\[tiles\]"):
        seen_in(path, Tiles(40))


# The bundled model on drawn scenes


@cache
def nano() -> Detector:
    return Detector.from_pretrained(BUNDLED_MODEL)


SIDE, ACROSS = 224, 3


@cache
def large_scene() -> tuple[np.ndarray, tuple[str, ...], list[np.ndarray]]:
    """Nine scenes side by side, the names of everything in them, and what single calls find in each."""
    scenes = [make_scene(5, number, split="seen", size=SIDE) for number in range(ACROSS**2)]
    rows = [scenes[first : first + ACROSS] for first in range(0, len(scenes), ACROSS)]
    canvas = np.concatenate([np.concatenate([np.asarray(scene.image) for scene in row], axis=1) for row in rows])
    labels = tuple(sorted({f"{thing.color} {thing.shape}" for scene in scenes for thing in scene.things}))
    single = list(nano().detect_many([scene.image for scene in scenes], labels, nms_iou=0.7))
    moved = [
        np.column_stack([found.boxes_xyxy + np.tile([place % ACROSS, place // ACROSS], 2) * SIDE, found.label_ids])
        for place, found in enumerate(single)
    ]
    return canvas, labels, moved


def overlap_of(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """IoU of every pair of boxes with the same label; rows are corners and label."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:4], second[None, :, 2:4])
    common = (high - low).clip(0).prod(axis=2)
    areas = [(boxes[:, 2:4] - boxes[:, :2]).prod(axis=1) for boxes in (first, second)]
    same = first[:, None, 4] == second[None, :, 4]
    return common / (areas[0][:, None] + areas[1][None] - common) * same


def rows_of(found: Detections) -> np.ndarray:
    return np.column_stack([found.boxes_xyxy, found.label_ids])


def test_tiles_find_what_single_scenes_show() -> None:
    canvas, labels, single = large_scene()
    expected = np.concatenate(single)
    tiled = rows_of(detect_tiled(nano(), canvas, labels, Tiles(SIDE, 0.4), rules=RULES))
    plain = rows_of(nano()(canvas, labels))
    found_tiled = (overlap_of(expected, tiled).max(axis=1) > 0.6).mean()
    found_plain = (overlap_of(expected, plain).max(axis=1) > 0.6).mean()
    assert found_tiled > 0.85
    assert found_plain < 0.5
    twice = overlap_of(tiled, tiled) - np.eye(len(tiled))
    assert twice.max() < 0.5
    assert len(tiled) < 1.2 * len(expected)  # no boxes of halves


@pytest.mark.parametrize("tiles", [Tiles(SIDE), Tiles(800, 0.5, whole=False)])
def test_a_picture_of_one_tile_gives_the_plain_call(tmp_path: Path, tiles: Tiles) -> None:
    path = tmp_path / "scene.png"
    make_scene(5, 1, split="seen", size=SIDE).image.save(path)
    labels = large_scene()[1]
    rules = SelectionRules(threshold=0.2, top_k=3)
    found = detect_tiled(nano(), path, labels, tiles, rules=rules)
    assert len(found) > 0
    assert found == nano()(path, labels, threshold=0.2, top_k=3)


def test_every_form_of_a_picture_and_every_batch_give_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    canvas, labels, _ = large_scene()
    canvas = canvas[:SIDE, : 2 * SIDE]
    path = tmp_path / "large.png"
    Image.fromarray(canvas).save(path)
    tiles = Tiles(SIDE, 0.2, whole=False)
    expected = detect_tiled(nano(), canvas, labels, tiles, rules=RULES, batch_size=1)
    assert len(expected) > 3
    assert replace(nano()(path, labels, tiles=tiles), source=None) == detect_tiled(
        nano(), Image.fromarray(canvas), nano().encode(labels), tiles, rules=RULES
    )
    monkeypatch.setattr(strips, "WHOLE_PIXELS", 1)
    streamed = detect_tiled(nano(), path, labels, tiles, rules=RULES, batch_size=5)
    assert streamed.source == str(path)
    np.testing.assert_allclose(streamed.boxes_xyxy, expected.boxes_xyxy, atol=0.05)
    np.testing.assert_allclose(streamed.scores, expected.scores, atol=1e-4)
    np.testing.assert_array_equal(streamed.label_ids, expected.label_ids)


def test_things_larger_than_a_tile_are_found_in_the_whole() -> None:
    scene = make_scene(11, 0, split="seen", size=400)
    labels = sorted({f"{thing.color} {thing.shape}" for thing in scene.things})
    plain = nano()(scene.image, labels)
    large = plain[(plain.boxes_xyxy[:, 2:] - plain.boxes_xyxy[:, :2]).max(axis=1) > 100]
    assert len(large) > 0
    tiled = rows_of(detect_tiled(nano(), scene.image, labels, Tiles(96, 0.1), rules=RULES))
    assert (overlap_of(rows_of(large), tiled).max(axis=1) > 0.6).all()


def test_labels_that_cannot_be_used_are_refused_before_the_picture_is_read() -> None:
    with pytest.raises(PromptError):
        detect_tiled(nano(), "missing.png", [], Tiles(100), rules=RULES)
