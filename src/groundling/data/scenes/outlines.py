"""The outlines of the things in a scene, as polygons around the origin that reach about 1 away from it."""

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Outline = NDArray[np.float64]
"""Corners [N, 2] as (x, y), y down."""


def _around(angles: NDArray[Any], radii: NDArray[Any] | float = 1.0) -> Outline:
    corners: Outline = np.stack([np.sin(angles) * radii, -np.cos(angles) * radii], axis=1)
    return corners


def _regular(corners: int) -> Outline:
    return _around(np.arange(corners) * (2 * math.pi / corners))


def _circle() -> Outline:
    return _regular(64)


def _oval() -> Outline:
    return _regular(64) * [1.0, 0.55]


def _square() -> Outline:
    return _around(np.arange(4) * (math.pi / 2) + math.pi / 4)


def _diamond() -> Outline:
    return _regular(4) * [0.6, 1.0]


def _star() -> Outline:
    return _around(np.arange(10) * (math.pi / 5), np.where(np.arange(10) % 2, 0.42, 1.0))


def _cross() -> Outline:
    a, b = 0.32, 0.95
    return np.array(
        [(-a, -b), (a, -b), (a, -a), (b, -a), (b, a), (a, a), (a, b), (-a, b), (-a, a), (-b, a), (-b, -a), (-a, -a)]
    )


def _heart() -> Outline:
    t = np.linspace(0, 2 * math.pi, 64, endpoint=False)
    x = 16 * np.sin(t) ** 3
    y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return np.stack([x, -y - 2.5], axis=1) / 17.5


def _moon() -> Outline:
    outer = np.linspace(-0.75 * math.pi, 0.75 * math.pi, 40)
    inner = np.linspace(0.62 * math.pi, -0.62 * math.pi, 40)
    outside = np.stack([-np.cos(outer), np.sin(outer)], axis=1)
    inside = np.stack([0.55 - 0.86 * np.cos(inner), 0.78 * np.sin(inner)], axis=1)
    return np.concatenate([outside, inside])


def _arrow() -> Outline:
    return np.array([(0, -1), (0.75, -0.1), (0.3, -0.1), (0.3, 0.95), (-0.3, 0.95), (-0.3, -0.1), (-0.75, -0.1)])


def _drop() -> Outline:
    t = np.linspace(0, 2 * math.pi, 64, endpoint=False)
    return np.stack([0.62 * np.sin(t) * np.sin(t / 2), -np.cos(t)], axis=1)


def _bolt() -> Outline:
    return np.array([(0.25, -1), (-0.6, 0.15), (-0.05, 0.15), (-0.3, 1), (0.6, -0.25), (0.05, -0.25)])


def _house() -> Outline:
    return np.array([(0, -0.95), (0.8, -0.15), (0.55, -0.15), (0.55, 0.8), (-0.55, 0.8), (-0.55, -0.15), (-0.8, -0.15)])


def _crown() -> Outline:
    return np.array([(-0.85, 0.6), (-0.85, -0.6), (-0.4, 0.05), (0, -0.75), (0.4, 0.05), (0.85, -0.6), (0.85, 0.6)])


def _flag() -> Outline:
    return np.array(
        [(-0.6, -0.95), (0.75, -0.95), (0.45, -0.45), (0.75, 0.05), (-0.38, 0.05), (-0.38, 0.95), (-0.6, 0.95)]
    )


def _key() -> Outline:
    bow = np.linspace(0.12 * math.pi, 1.88 * math.pi, 40)  # open below, where the shaft begins
    round_part = np.stack([-0.42 * np.sin(bow), 0.42 * np.cos(bow) - 0.55], axis=1)
    shaft = [(0.15, 0.95), (-0.15, 0.95)]
    teeth = [(0.15, 0.3), (0.5, 0.3), (0.5, 0.48), (0.15, 0.48), (0.15, 0.68), (0.5, 0.68), (0.5, 0.86), (0.15, 0.86)]
    return np.concatenate([round_part, teeth, shaft])


def _tree() -> Outline:
    right = [(0.42, -0.4), (0.22, -0.4), (0.6, 0.12), (0.32, 0.12), (0.78, 0.65), (0.14, 0.65), (0.14, 0.95)]
    return np.array([(0, -1), *right, *((-x, y) for x, y in reversed(right))])


OUTLINES: dict[str, Callable[[], Outline]] = {
    "circle": _circle,
    "square": _square,
    "triangle": lambda: _regular(3),
    "star": _star,
    "cross": _cross,
    "ring": _circle,
    "diamond": _diamond,
    "heart": _heart,
    "moon": _moon,
    "hexagon": lambda: _regular(6),
    "arrow": _arrow,
    "oval": _oval,
    "drop": _drop,
    "bolt": _bolt,
    "house": _house,
}
NEW_OUTLINES: dict[str, Callable[[], Outline]] = {"crown": _crown, "flag": _flag, "key": _key, "tree": _tree}
"""Shapes that no other split shows: what a trained model can be taught afterwards."""

HOLES = {"ring": 0.55}
"""Shapes with a round hole, and its radius."""


@cache
def outline_of(shape: str) -> Outline:
    """Return the outline of one of OUTLINES or NEW_OUTLINES; not to be changed, since it is made once."""
    outline = (OUTLINES | NEW_OUTLINES)[shape]()
    outline.flags.writeable = False
    return outline
