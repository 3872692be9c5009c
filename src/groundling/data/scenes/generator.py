"""From a seed and a number to a scene."""

from bisect import bisect_right
from dataclasses import dataclass
from functools import cache
from itertools import accumulate

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image

from groundling.data.scenes.paint import LARGEST_TURN, Cover, background, cover, fill, photograph
from groundling.data.scenes.things import COLORS, HELD_OUT, NEW_SHAPES, SHAPES, SIZES, TEXTURES, Thing
from groundling.errors import ConfigError

SPLITS = ("train", "seen", "held_out", "new")
"""Training; unseen pictures of the same pairs; pictures in nearly all of which a thing is of a held-out pair; pictures
in which at least one thing is of a shape that the others never show. A split's place here is part of its seed."""

SMALLEST_SIDE, LARGEST_SIDE = 64, 4096
"""Pixels of a picture."""

MOST_THINGS = 7
TEXTURE_ENDS = tuple(accumulate((0.4, 0.2, 0.2)))
"""Four in ten things are plain, two in ten of each other texture."""

SMALLEST_VISIBLE = 0.5
"""A thing of which less can be seen behind others is taken out again."""

SMALLEST_GAP = 0.7
"""Distance of two centres over the sum of the radii: things overlap a little, never coincide."""


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """A picture and everything in it.

    Attributes:
        image: RGB, square.
        things: what is in it, the farthest first.
        boxes_xyxy: [N, 4] float32, pixels; tight around what can be seen of each thing.
        masks: [N, H, W] bool, what can be seen of each thing.
    """

    image: Image.Image
    things: tuple[Thing, ...]
    boxes_xyxy: NDArray[np.float32]
    masks: NDArray[np.bool_]


def make_scene(seed: int, number: int, *, split: str = "train", size: int = 224) -> Scene:
    """Make one scene; the same arguments always give the same one.

    Args:
        seed: of the data set, from 0.
        number: of the scene in the data set, from 0.
        split: one of SPLITS; the splits share no scene.
        size: side of the picture in pixels, SMALLEST_SIDE to LARGEST_SIDE.

    Raises:
        ConfigError: an argument is out of range.
    """
    if split not in SPLITS:
        raise ConfigError(f"split={split!r} is unknown. Use one of {', '.join(SPLITS)}.")
    if number < 0:
        raise ConfigError(f"number={number} must be at least 0.")
    check_scenes(seed, size)
    rng = np.random.default_rng([seed, SPLITS.index(split), number])
    things, covers = _compose(rng, split, size)
    pixels = background(size, rng)
    for thing, its in zip(things, covers, strict=True):
        under = pixels[:, *its.part]
        under += (fill(thing, its.part, rng) - under) * its.share
    masks = np.zeros((len(things), size, size), bool)
    for mask, its, seen in zip(masks, covers, _seen(covers, size), strict=True):
        mask[its.part] = seen
    boxes = np.array([_tight_box(mask) for mask in masks], np.float32).reshape(-1, 4)
    return Scene(photograph(pixels, rng), tuple(things), boxes, masks)


def check_scenes(seed: int, size: int) -> None:
    """Refuse what no scene can be drawn with.

    Raises:
        ConfigError: an argument is out of range.
    """
    if seed < 0:
        raise ConfigError(f"seed={seed} must be at least 0.")
    if not SMALLEST_SIDE <= size <= LARGEST_SIDE:
        raise ConfigError(f"size={size} must be {SMALLEST_SIDE} to {LARGEST_SIDE} pixels.")


def _compose(rng: Generator, split: str, size: int) -> tuple[list[Thing], list[Cover]]:
    """Choose things that can be seen, and which pixels each covers."""
    while True:
        things = _things(rng, split, size)
        things, covers = _without_hidden(things, [cover(thing, size) for thing in things], size)
        if split != "new" or any(thing.shape in NEW_SHAPES for thing in things):
            return things, covers


def _things(rng: Generator, split: str, size: int) -> list[Thing]:
    """Choose things one after the other, where there is room for them."""
    things: list[Thing] = []
    for place in range(int(rng.integers(1, MOST_THINGS + 1))):
        is_special = split in ("held_out", "new") and (place == 0 or rng.random() < 0.5)
        pair = _pair(rng, split if is_special else "train")
        if things and rng.random() < 0.35:  # a near miss: the same shape or the same colour as one that is there
            other = things[int(rng.integers(len(things)))]
            near = (other.color, pair[1]) if rng.random() < 0.5 else (pair[0], other.shape)
            pair = near if split == "held_out" or near not in HELD_OUT else pair
        thing = _place(rng, pair, size)
        gaps = [np.hypot(*np.subtract(thing.center, o.center)) / (thing.radius + o.radius) for o in things]
        if min(gaps, default=1.0) >= SMALLEST_GAP:
            things.append(thing)
    return things


def _pair(rng: Generator, kind: str) -> tuple[str, str]:
    pairs = _pairs(kind)
    return pairs[int(rng.integers(len(pairs)))]


@cache
def _pairs(kind: str) -> list[tuple[str, str]]:
    """Return the pairs of colour and shape for "train", "held_out" or "new"."""
    if kind == "new":
        return [(color, shape) for color in COLORS for shape in NEW_SHAPES]
    held_out = kind == "held_out"
    return [(color, shape) for color in COLORS for shape in SHAPES if ((color, shape) in HELD_OUT) == held_out]


def _place(rng: Generator, pair: tuple[str, str], size: int) -> Thing:
    name = tuple(SIZES)[int(rng.integers(len(SIZES)))]
    radius = float(rng.uniform(*SIZES[name]) * size)
    x, y = rng.uniform(radius * 0.9, size - radius * 0.9, 2).tolist()
    return Thing(
        shape=pair[1],
        color=pair[0],
        texture=TEXTURES[bisect_right(TEXTURE_ENDS, rng.random())],
        size=name,
        center=(x, y),
        radius=radius,
        angle=float(rng.uniform(-LARGEST_TURN, LARGEST_TURN)),
        squeeze=float(rng.uniform(0.85, 1.0)),
    )


def _seen(covers: list[Cover], size: int) -> list[NDArray[np.bool_]]:
    """Return what can be seen of each thing in its window [h, w] when later ones lie on earlier ones."""
    taken = np.zeros((size, size), bool)
    seen = []
    for its in reversed(covers):
        seen.append(its.solid & ~taken[its.part])
        taken[its.part] |= its.solid
    return seen[::-1]


def _without_hidden(things: list[Thing], covers: list[Cover], size: int) -> tuple[list[Thing], list[Cover]]:
    """Take out things of which too little can be seen, until all can be seen."""
    while True:
        pairs = enumerate(zip(covers, _seen(covers, size), strict=True))
        hidden = [i for i, (its, seen) in pairs if seen.sum() < SMALLEST_VISIBLE * its.solid.sum()]
        if not hidden:
            return things, covers
        things = [thing for i, thing in enumerate(things) if i != hidden[0]]
        covers = [its for i, its in enumerate(covers) if i != hidden[0]]


def _tight_box(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
