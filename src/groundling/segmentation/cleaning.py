"""Small holes and islands of a mask."""

import cv2
import numpy as np
from numpy.typing import NDArray

_BY_EDGES, _BY_CORNERS = 4, 8


def clean(mask: NDArray[np.bool_], *, fill_holes: int = 0, drop_islands: int = 0) -> NDArray[np.bool_]:
    """Fill small holes of a mask, then drop its small parts.

    Pixels of a part touch at edges or corners, pixels of a hole at edges.

    Args:
        mask: [H, W]; it stays as it is.
        fill_holes: fill holes of up to so many pixels; background that reaches the picture's edge is no hole.
        drop_islands: drop parts with fewer pixels than this, but not the largest part (of equal ones, the first
            from the top left).

    Returns:
        [H, W]; the mask itself where there is nothing to do.
    """
    if not (fill_holes or drop_islands):
        return mask
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return mask
    place = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    # The ring of background around the part joins all background that reaches its edge.
    part = np.pad(mask[place], 1).astype(np.uint8)
    if fill_holes:
        part = _filled(part, fill_holes)
    if drop_islands:
        part = _without_islands(part, drop_islands)
    cleaned = mask.copy()
    cleaned[place] = part[1:-1, 1:-1].astype(np.bool_)
    return cleaned


def _filled(part: NDArray[np.uint8], most: int) -> NDArray[np.uint8]:
    _, labels, measured, _ = cv2.connectedComponentsWithStats(1 - part, connectivity=_BY_EDGES)
    is_hole = measured[:, cv2.CC_STAT_AREA] <= most
    is_hole[[0, labels[0, 0]]] = False  # the mask itself, and what lies around it
    filled: NDArray[np.uint8] = part | is_hole[labels]
    return filled


def _without_islands(part: NDArray[np.uint8], least: int) -> NDArray[np.uint8]:
    _, labels, measured, _ = cv2.connectedComponentsWithStats(part, connectivity=_BY_CORNERS)
    areas = measured[:, cv2.CC_STAT_AREA]
    is_kept = areas >= least
    is_kept[0] = False  # the background
    is_largest = areas == areas[1:].max()
    is_largest[0] = False
    # Of equal parts the first in reading order: the numbers of parts have none.
    is_kept[labels.flat[is_largest[labels].argmax()]] = True
    kept: NDArray[np.uint8] = is_kept[labels].astype(np.uint8)
    return kept
