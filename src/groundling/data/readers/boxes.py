"""Boxes as they stand in files: what can be wrong with one, and what is made of it."""

import math

import numpy as np
from numpy.typing import NDArray

from groundling.data.problems import Kind

Box = tuple[float, float, float, float]

OUTSIDE_TOLERANCE = 1.0
"""Pixels by which a box may reach outside its picture unremarked: rounding, and tools that count from 1."""


def four_numbers(value: object) -> Box | None:
    """Return a value as four numbers; None if it is not a list of exactly that."""
    if not isinstance(value, list | tuple) or len(value) != 4:
        return None
    if any(isinstance(number, bool) or not isinstance(number, int | float) for number in value):
        return None
    try:
        a, b, c, d = (float(number) for number in value)
    except OverflowError:  # an integer of hundreds of digits
        return (math.inf,) * 4
    return a, b, c, d


def box_fault(box_xyxy: Box, image_wh: tuple[int, int] | None) -> tuple[Kind, str] | None:
    """Say what is wrong with a box; None if nothing is.

    Args:
        box_xyxy: corners in pixels.
        image_wh: the picture's size, if it is known.

    Returns:
        The kind and the end of a sentence that begins with "the box [...]".
    """
    left, top, right, bottom = box_xyxy
    if not all(math.isfinite(number) for number in box_xyxy):
        return Kind.BOX_NOT_FINITE, "holds a number that is not finite. Measure the object again or remove it."
    if right < left or bottom < top:
        return Kind.BOX_INVERTED, "ends before it begins"
    if right == left or bottom == top:
        return Kind.BOX_EMPTY, "has no area and is left out."
    if image_wh is None:
        return None
    width, height = image_wh
    if right <= 0 or bottom <= 0 or left >= width or top >= height:
        return Kind.BOX_OUTSIDE, f"lies outside the picture of {width}x{height} and is left out."
    outside = max(-left, -top, right - width, bottom - height)
    if outside > OUTSIDE_TOLERANCE:
        return Kind.BOX_CLIPPED, f"reaches {outside:.1f} pixels outside the picture of {width}x{height} and is cut off."
    return None


def is_kept(fault: tuple[Kind, str] | None) -> bool:
    """Tell whether a box with this fault is used all the same."""
    return fault is None or fault[0] is Kind.BOX_CLIPPED


def clipped(boxes_xyxy: NDArray[np.float64], image_wh: tuple[int, int]) -> NDArray[np.float32]:
    """Cut boxes [N, 4] off at the edges of their picture."""
    return boxes_xyxy.clip(0, np.array(image_wh * 2)).astype(np.float32)


def written(box: Box) -> str:
    """Write four numbers as messages show them."""
    return f"[{', '.join(f'{number:g}' for number in box)}]"
