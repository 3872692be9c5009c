"""Holes and islands of a mask, found one pixel after the other."""

import numpy as np
from numpy.typing import NDArray

_EDGES = ((0, 1), (1, 0), (0, -1), (-1, 0))
_CORNERS = (*_EDGES, (1, 1), (1, -1), (-1, 1), (-1, -1))


def parts(inside: NDArray[np.bool_], steps: tuple[tuple[int, int], ...]) -> list[set[tuple[int, int]]]:
    """Return the pixels of each connected part, from the top left."""
    left = {(int(y), int(x)) for y, x in np.argwhere(inside)}
    found = []
    for start in sorted(left):
        if start not in left:
            continue
        part, waiting = {start}, [start]
        while waiting:
            y, x = waiting.pop()
            new = {(y + down, x + right) for down, right in steps} & left - part
            part |= new
            waiting += new
        left -= part
        found.append(part)
    return found


def clean(mask: NDArray[np.bool_], fill_holes: int, drop_islands: int) -> NDArray[np.bool_]:
    """Fill holes that do not reach the picture's edge, then drop small parts but the first of the largest."""
    cleaned = mask.copy()
    bottom, right = mask.shape[0] - 1, mask.shape[1] - 1
    for hole in parts(~mask, _EDGES):
        if len(hole) <= fill_holes and all(0 < y < bottom and 0 < x < right for y, x in hole):
            for pixel in hole:
                cleaned[pixel] = True
    islands = parts(cleaned, _CORNERS)
    for island in islands:
        if len(island) < drop_islands and island is not max(islands, key=len):
            for pixel in island:
                cleaned[pixel] = False
    return cleaned
