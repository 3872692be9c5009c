"""Changed pictures and their boxes belong together, and labels stay true."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageDraw

from groundling import DatasetError
from groundling.data.augment import PRESETS, Augment, AugmentSettings, preset
from groundling.data.record import Record, one_label_each
from groundling.structures.prompt import Caption

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)
COLORS = (RED, GREEN, BLUE)
CROP = AugmentSettings(crop=1.0, crop_sides=(12, 40))
EVERYTHING = AugmentSettings(
    flip=0.5,
    shortest_edges=(40, 64, 90),
    longest_edge=110,
    crop=0.6,
    shortest_edges_before_crop=(48, 56, 70),
    crop_sides=(24, 60),
)


def drawn(boxes, *, size=(64, 48), labels=None, positive_NL=None, **options):
    """A record whose boxes are rectangles in red, green and blue on black."""
    picture = Image.new("RGB", size)
    for (left, top, right, bottom), color in zip(boxes, COLORS, strict=False):
        ImageDraw.Draw(picture).rectangle((left, top, right - 1, bottom - 1), fill=color)
    labels = ("a", "b", "c")[: len(boxes)] if labels is None else labels
    if positive_NL is None:
        positive_NL = one_label_each(range(len(boxes)), len(labels))
    boxes_xyxy = np.array(boxes, np.float32).reshape(-1, 4)
    return Record("one", picture, size, tuple(labels), boxes_xyxy, positive_NL, **options)


def apart(rng, size=(64, 48)):
    """Three boxes, each in its own third of the picture."""
    third = size[0] // 3
    boxes = []
    for index in range(3):
        left, top = index * third + int(rng.integers(0, 6)), int(rng.integers(0, size[1] - 24))
        boxes.append((left, top, left + int(rng.integers(8, 15)), top + int(rng.integers(8, 24))))
    return boxes


def shown_box(picture, color):
    """The naive way to a box: look where the colour is."""
    mask = np.asarray(picture)[..., COLORS.index(color)] > 127
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return None if len(rows) == 0 else np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])


@pytest.mark.parametrize("settings", [*map(preset, PRESETS), EVERYTHING, CROP], ids=[*PRESETS, "everything", "crop"])
def test_a_picture_without_boxes(settings):
    for seed in range(5):
        result = Augment(settings)(drawn([]), np.random.default_rng(seed))
        assert result.boxes_xyxy.shape == (0, 4)
        assert result.boxes_xyxy.dtype == np.float32
        assert result.kept.shape == (0,)
        assert result.unknown == ()


@pytest.mark.parametrize("seed", range(60))
def test_rectangles_are_where_their_boxes_say(seed):
    rng = np.random.default_rng(seed)
    record = drawn(apart(rng))
    result = Augment(EVERYTHING)(record, rng)
    width, height = result.picture.size
    assert max(width, height) <= EVERYTHING.longest_edge
    assert len(result.kept) >= 1
    assert (result.boxes_xyxy >= 0).all()
    assert (result.boxes_xyxy <= np.tile([width, height], 2)).all()
    assert (result.boxes_xyxy[:, 2:] - result.boxes_xyxy[:, :2] > 0.999).all()
    for index, color in enumerate(COLORS):
        seen = shown_box(result.picture, color)
        if index in result.kept:
            assert record.labels[index] not in result.unknown
            np.testing.assert_allclose(seen, result.boxes_xyxy[list(result.kept).index(index)], atol=1.0)
        elif seen is not None:
            assert record.labels[index] in result.unknown


@pytest.mark.parametrize("seed", range(60))
def test_a_cut_is_exact_and_says_what_nobody_knows_any_more(seed):
    rng = np.random.default_rng(seed)
    record = drawn(apart(rng))
    result = Augment(replace(CROP, smallest_visible=0.4))(record, rng)
    unknown = []
    for index, color in enumerate(COLORS):
        seen = shown_box(result.picture, color)
        left, top, right, bottom = record.boxes_xyxy[index]
        area = 0 if seen is None else (seen[2] - seen[0]) * (seen[3] - seen[1])
        assert (index in result.kept) == (area >= 0.4 * (right - left) * (bottom - top))
        if index in result.kept:
            np.testing.assert_allclose(seen, result.boxes_xyxy[list(result.kept).index(index)], atol=1e-4)
        elif seen is not None:
            unknown.append(record.labels[index])
    assert result.unknown == tuple(unknown)


def test_a_label_is_known_while_one_of_its_boxes_is_left():
    boxes = [(0, 18, 10, 30), (26, 18, 46, 30), (48, 18, 64, 30)]
    shared = np.array([[True, False], [True, True], [False, False]])
    record = drawn(boxes, labels=("cup", "bee"), positive_NL=shared)
    settings = AugmentSettings(crop=1.0, crop_sides=(33, 48), smallest_visible=0.9)
    met = set()
    for seed in range(200):
        result = Augment(settings)(record, np.random.default_rng(seed))
        seen = shown_box(result.picture, GREEN) is not None
        kept = set(result.kept.tolist())
        assert ("bee" in result.unknown) == (seen and 1 not in kept)
        if kept & {0, 1}:
            assert "cup" not in result.unknown
        met.add((frozenset(kept & {0, 1}), result.unknown))
    assert (frozenset({0}), ("bee",)) in met
    assert (frozenset({1}), ()) in met


def test_a_crowd_that_is_cut_is_still_a_crowd():
    boxes = [(0, 0, 64, 48), (40, 10, 50, 20)]
    record = drawn(boxes, crowd_N=np.array([True, False]))
    settings = AugmentSettings(crop=1.0, crop_sides=(14, 14), smallest_visible=1.0)
    for seed in range(20):
        result = Augment(settings)(record, np.random.default_rng(seed))
        assert result.kept.tolist() == [0, 1], "the part is chosen for what is no crowd"
        if result.picture.size == (14, 14):
            assert result.boxes_xyxy[0].tolist() == [0, 0, 14, 14]


def test_no_cut_where_none_keeps_a_box():
    record = drawn([(0, 0, 64, 48)])
    result = Augment(replace(CROP, smallest_visible=1.0))(record, np.random.default_rng(0))
    assert result.picture is record.picture
    assert result.boxes_xyxy.tolist() == [[0, 0, 64, 48]]


def test_the_same_generator_gives_the_same_result():
    record = drawn(apart(np.random.default_rng(0)))
    settings = replace(EVERYTHING, brightness=0.3, contrast=0.3, saturation=0.3, hue=0.1)
    results = [Augment(settings)(record, np.random.default_rng([7, seed])) for seed in (0, 0, 1, 2, 3)]
    assert results[0].picture.tobytes() == results[1].picture.tobytes()
    assert results[0].boxes_xyxy.tolist() == results[1].boxes_xyxy.tolist()
    assert len({result.picture.tobytes() for result in results}) > 2
    assert record.picture.tobytes() == drawn(apart(np.random.default_rng(0))).picture.tobytes(), "it is not changed"


def test_none_changes_nothing():
    record = drawn([(3, 4, 20, 30), (30, 4, 40, 9)])
    result = Augment(preset("none"))(record, np.random.default_rng(0))
    assert result.picture is record.picture
    assert result.boxes_xyxy.tolist() == record.boxes_xyxy.tolist()
    assert result.kept.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("boxes", "mirrored", "kept", "unknown"),
    [
        pytest.param([], [], [], (), id="empty"),
        pytest.param([(0, 0, 64, 48)], [[0, 0, 64, 48]], [0], (), id="whole picture"),
        pytest.param([(0, 1, 10, 5)], [[54, 1, 64, 5]], [0], (), id="at the edge"),
        pytest.param([(5.5, 1, 10.25, 5)], [[53.75, 1, 58.5, 5]], [0], (), id="between pixels"),
        pytest.param([(-9, -9, 10, 99)], [[54, 0, 64, 48]], [0], (), id="beyond the picture"),
        pytest.param([(5, 5, 6, 6), (8, 8, 8.9, 20)], [[58, 5, 59, 6]], [0], ("b",), id="thinner than a pixel"),
        pytest.param([(5, 5, 5, 9), (8, 8, 9, 9)], [[55, 8, 56, 9]], [1], ("a",), id="nothing wide"),
        pytest.param([(70, 5, 90, 9)], [], [], (), id="outside"),
    ],
)
def test_mirror_images(boxes, mirrored, kept, unknown):
    record = drawn([], labels=())
    labels = ("a", "b")[: len(boxes)]
    positive_NL = one_label_each(range(len(boxes)), len(labels))
    record = replace(
        record,
        labels=labels,
        boxes_xyxy=np.array(boxes, np.float32).reshape(-1, 4),
        positive_NL=positive_NL,
        crowd_N=np.zeros(len(boxes), bool),
    )
    result = Augment(AugmentSettings(flip=1.0))(record, np.random.default_rng(0))
    assert result.boxes_xyxy.tolist() == mirrored
    assert result.kept.tolist() == kept
    assert result.unknown == unknown


def test_a_mirror_image_is_exact():
    pixels = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    record = replace(drawn([(1, 2, 30, 40)]), picture=Image.fromarray(pixels))
    result = Augment(AugmentSettings(flip=1.0))(record, np.random.default_rng(0))
    assert np.array_equal(np.asarray(result.picture), pixels[:, ::-1])


@pytest.mark.parametrize(
    ("words", "is_mirrored", "is_cut"),
    [
        pytest.param({"labels": ("",)}, True, True, id="empty"),
        pytest.param({"labels": ("bright star",)}, True, True, id="letters inside of a word"),
        pytest.param({"labels": ("left glove",)}, False, False, id="left"),
        pytest.param({"labels": ("man on the Right",)}, False, False, id="capital"),
        pytest.param({"labels": ("rightmost cup",)}, False, False, id="rightmost"),
        pytest.param({"labels": ("shoe_left",)}, False, False, id="underscore"),
        pytest.param({"labels": ("cup",), "absent": ("left glove",)}, False, True, id="absent"),
        pytest.param({"labels": ("the ring above the star",)}, True, False, id="above"),
        pytest.param({"labels": ("small star",)}, True, False, id="small"),
        pytest.param({"labels": ("farm",)}, True, True, id="far inside of farm"),
        pytest.param(
            {"labels": ("cup",), "caption": Caption("a cup to my left", ((2, 5),))}, False, False, id="caption"
        ),
    ],
)
def test_words_that_a_change_would_make_wrong(words, is_mirrored, is_cut):
    record = drawn([(2, 2, 30, 30)], **words)
    rng = np.random.default_rng(0)
    mirrored = [Augment(AugmentSettings(flip=1.0))(record, rng).boxes_xyxy[0, 0] == 34 for _ in range(3)]
    assert mirrored == [is_mirrored] * 3
    cut = [Augment(CROP)(record, rng).picture.size != (64, 48) for _ in range(3)]
    assert cut == [is_cut] * 3


def test_sizes_keep_the_proportions():
    record = drawn([(16, 12, 32, 24)])
    for seed in range(8):
        settings = AugmentSettings(shortest_edges=(24, 96), longest_edge=100)
        result = Augment(settings)(record, np.random.default_rng(seed))
        assert result.picture.size in ((32, 24), (100, 75))
        factor = result.picture.width / 64
        assert result.boxes_xyxy[0] == pytest.approx(record.boxes_xyxy[0] * factor, abs=1e-4)


def test_annotations_of_another_picture():
    record = replace(drawn([(1, 1, 9, 9)]), image_wh=(48, 64))
    with pytest.raises(DatasetError, match="one: the picture has 64 x 48 pixels, but its annotations say 48 x 64"):
        Augment(preset("none"))(record, np.random.default_rng(0))
