"""Scenes: the same from the same seed, exact in boxes and masks, honest about what is held out."""

import numpy as np
import pytest

from groundling import ConfigError
from groundling.data.scenes import COLORS, HELD_OUT, SHAPES, SPLITS, TEXTURES, make_scene
from groundling.data.scenes.generator import SMALLEST_VISIBLE
from groundling.data.scenes.paint import cover

MANY = 150


@pytest.mark.parametrize("split", SPLITS)
def test_the_same_arguments_give_the_same_scene(split: str) -> None:
    first, again = (make_scene(3, 5, split=split) for _ in range(2))
    assert first.image.tobytes() == again.image.tobytes()
    assert first.things == again.things
    assert np.array_equal(first.masks, again.masks)
    assert make_scene(3, 6, split=split).image.tobytes() != first.image.tobytes()
    assert make_scene(4, 5, split=split).image.tobytes() != first.image.tobytes()


@pytest.mark.parametrize(
    ("split", "things"),
    [
        pytest.param(
            "train",
            [
                ("purple diamond", [36, 18, 45, 35]),
                ("orange oval", [72, 34, 123, 67]),
                ("orange diamond", [63, 46, 72, 60]),
                ("orange drop", [12, 13, 22, 34]),
                ("purple triangle", [67, 95, 82, 111]),
                ("brown drop", [72, 22, 82, 39]),
            ],
            id="train",
        ),
        pytest.param(
            "seen",
            [
                ("gray triangle", [83, 28, 118, 62]),
                ("yellow square", [101, 65, 116, 80]),
                ("gray house", [76, 67, 86, 80]),
            ],
            id="seen",
        ),
        pytest.param(
            "held_out",
            [
                ("pink ring", [14, 25, 35, 46]),
                ("gray ring", [20, 62, 70, 113]),
                ("pink ring", [74, 30, 126, 84]),
                ("pink circle", [96, 75, 117, 97]),
                ("green arrow", [111, 29, 122, 44]),
            ],
            id="held_out",
        ),
    ],
)
def test_scenes_stay_as_they_are(split: str, things: list[tuple[str, list[int]]]) -> None:
    """What a model was measured on must not change."""
    scene = make_scene(0, 1, split=split, size=128)
    boxes = scene.boxes_xyxy.astype(int).tolist()
    assert [(thing.name, box) for thing, box in zip(scene.things, boxes, strict=True)] == things


def test_splits_share_no_scene() -> None:
    assert len({make_scene(0, 0, split=split).image.tobytes() for split in SPLITS}) == len(SPLITS)


def test_the_vocabulary_is_as_rich_as_promised() -> None:
    assert len(SHAPES) >= 12
    assert len(COLORS) >= 10
    assert len(TEXTURES) >= 4
    shown = {(color, shape) for color in COLORS for shape in SHAPES} - HELD_OUT
    assert {color for color, _ in shown} == set(COLORS)
    assert {shape for _, shape in shown} == set(SHAPES)
    assert {color for color, _ in HELD_OUT} == set(COLORS), "each colour is tested in pairs that were never shown"
    assert {shape for _, shape in HELD_OUT} == set(SHAPES)


def test_held_out_pairs_are_only_where_they_belong() -> None:
    for split in ("train", "seen"):
        pairs = {(t.color, t.shape) for n in range(MANY) for t in make_scene(0, n, split=split, size=64).things}
        assert len(pairs) > 80
        assert not pairs & HELD_OUT
    with_held_out = [
        any((t.color, t.shape) in HELD_OUT for t in make_scene(0, n, split="held_out", size=64).things)
        for n in range(MANY)
    ]
    assert np.mean(with_held_out) > 0.95  # a near miss or a covered thing may take the held-out one's place


@pytest.mark.parametrize("size", [64, 192, 320])
def test_boxes_and_masks_are_exact(size: int) -> None:
    for number in range(12):
        scene = make_scene(1, number, size=size)
        assert scene.image.size == (size, size)
        assert scene.image.mode == "RGB"
        assert scene.masks.shape == (len(scene.things), size, size)
        assert scene.boxes_xyxy.shape == (len(scene.things), 4)
        assert len(scene.things) >= 1
        assert scene.masks.sum(axis=0).max() <= 1, "a pixel shows one thing"
        for thing, box, mask in zip(scene.things, scene.boxes_xyxy.astype(int), scene.masks, strict=True):
            left, top, right, bottom = box
            assert mask[top:bottom, left:right].sum() == mask.sum() > 0
            assert mask[top].any()
            assert mask[bottom - 1].any()
            assert mask[:, left].any()
            assert mask[:, right - 1].any()
            its = cover(thing, size)
            whole = np.zeros_like(mask)
            whole[its.part] = its.share > 0.5
            assert not (mask & ~whole).any()
            assert mask.sum() >= SMALLEST_VISIBLE * whole.sum()


def test_things_are_seen_in_their_colour() -> None:
    names, values = list(COLORS), np.array(list(COLORS.values()), float)
    right = []
    for number in range(60):
        scene = make_scene(2, number)
        pixels = np.asarray(scene.image, float)
        for thing, mask in zip(scene.things, scene.masks, strict=True):
            if thing.texture == "plain" and thing.size == "large":
                nearest = np.abs(values - np.median(pixels[mask], axis=0)).sum(axis=1).argmin()
                right.append(names[nearest] == thing.color)
    assert len(right) > 20
    assert np.mean(right) > 0.9  # light may turn a white into a gray


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param({"split": ""}, "split='' is unknown. Use one of train, seen, held_out", id="empty split"),
        pytest.param({"seed": -1}, "seed=-1", id="seed"),
        pytest.param({"number": -1}, "number=-1", id="number"),
        pytest.param({"size": 63}, "size=63 must be 64 to 4096", id="size"),
    ],
)
def test_bad_arguments(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_scene(**({"seed": 0, "number": 0} | arguments))  # type: ignore[arg-type]
