"""From what was found in overlapping parts of a picture to what is in the picture.

Views are the parts: tiles, and the picture as a whole. Two views see the same pixels where they overlap, which is what
all rules rest on: two boxes of one label are the same thing when they agree there.
"""

# Shapes: V view, N box, C box that is cut, K box that is kept

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

AGREE_IOU = 0.5
"""Two boxes are the same thing when, in what both views see, their IoU is greater."""

EDGE = 0.01
"""A box is cut when it ends nearer than this share of the tile's side to an edge inside the picture."""

_ROWS = 256  # boxes compared with all others at a time, which bounds memory

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class ViewBoxes:
    """Boxes that were found in several views, in pixels of the picture.

    Attributes:
        box_N4: corners.
        score_N: 0..1.
        label_N: which label each box has.
        view_N: index of the view in which each box was found.
    """

    box_N4: Floats
    score_N: Floats
    label_N: NDArray[np.int64]
    view_N: NDArray[np.int64]

    def __getitem__(self, rows: NDArray[Any] | slice) -> Self:
        return type(self)(self.box_N4[rows], self.score_N[rows], self.label_N[rows], self.view_N[rows])

    def __len__(self) -> int:
        return len(self.score_N)

    def joined_with(self, other: Self) -> Self:
        """Return these boxes followed by others."""
        return type(self)(
            np.concatenate([self.box_N4, other.box_N4]),
            np.concatenate([self.score_N, other.score_N]),
            np.concatenate([self.label_N, other.label_N]),
            np.concatenate([self.view_N, other.view_N]),
        )


def merge_views(found: ViewBoxes, window_V4: Floats, image_wh: tuple[int, int]) -> ViewBoxes:
    """Return each thing once, best first.

    1. A box that is cut by an edge of its tile is dropped when another tile sees all of it and beyond that edge.
    2. A box that is cut is dropped when a complete box agrees with it, of another tile or of the whole picture.
    3. Boxes that are cut and agree are parts of one thing and become the box around them.
    4. Of boxes that agree a complete one of a tile is kept before one of the whole picture, which was seen smaller, and
       this before a joined one; then the better one. It takes the best score. Boxes of one view never replace each
       other: what a single call would keep is kept.

    Args:
        found: all boxes, each within its view.
        window_V4: corners of the views in pixels of the picture; a view of all of it cuts nothing.
        image_wh: width and height of the picture.

    Returns:
        The boxes that are left; `view_N` is the view of a box, or -1 for a joined one.
    """
    cut_N4 = _cut_sides(found.box_N4, window_V4[found.view_N], image_wh)
    is_cut_N: Bools = np.any(cut_N4, axis=1)
    complete = found[~is_cut_N]
    cut, cut_C4 = found[is_cut_N], cut_N4[is_cut_N]
    whole_V: Bools = np.all(window_V4 == [0, 0, *image_wh], axis=1)
    cut = cut[~_seen_better(cut, cut_C4, window_V4[~whole_V], window_V4[cut.view_N])]
    merged: list[ViewBoxes] = [found[:0]]
    for label in np.unique(found.label_N):
        ours = complete[np.flatnonzero(complete.label_N == label)]
        parts = cut[np.flatnonzero(cut.label_N == label)]
        parts = parts[~_agree_with_any(parts, ours, window_V4)]
        candidates = ours.joined_with(_joined(parts, window_V4))
        rank_N = np.where(candidates.view_N < 0, 2, whole_V[candidates.view_N])
        merged.append(_without_repeats(candidates[np.lexsort((-candidates.score_N, rank_N))]))
    result = merged[0]
    for one in merged[1:]:
        result = result.joined_with(one)
    return result[np.argsort(-result.score_N, kind="stable")]


def _cut_sides(box_N4: Floats, window_N4: Floats, image_wh: tuple[int, int]) -> Bools:
    """Return which sides of each box, left, top, right, bottom, end at an edge of its window inside the picture."""
    size_N2 = window_N4[:, 2:] - window_N4[:, :2]
    is_inside_N4 = window_N4 != np.array([0, 0, *image_wh])
    is_cut_N4: Bools = is_inside_N4 & (np.abs(box_N4 - window_N4) <= EDGE * np.tile(size_N2, 2))
    return is_cut_N4


def _seen_better(cut: ViewBoxes, cut_C4: Bools, window_V4: Floats, own_C4: Floats) -> Bools:
    """Return which boxes lie in one of the windows that goes on beyond an edge at which they are cut."""
    is_better_C = np.zeros(len(cut), bool)
    for rows in _blocks(len(cut)):
        box, own, sides = cut.box_N4[rows, None], own_C4[rows, None], cut_C4[rows, None]
        holds = np.all(window_V4[:, :2] <= box[..., :2], axis=-1) & np.all(window_V4[:, 2:] >= box[..., 2:], axis=-1)
        goes_on = np.concatenate([window_V4[:, :2] < own[..., :2], window_V4[:, 2:] > own[..., 2:]], axis=-1)
        is_better_C[rows] = np.any(holds & np.any(goes_on & sides, axis=-1), axis=1)
    return is_better_C


def _agree_with_any(parts: ViewBoxes, others: ViewBoxes, window_V4: Floats) -> Bools:
    """Return which boxes agree with a box of another view."""
    agrees_N = np.zeros(len(parts), bool)
    for rows in _blocks(len(parts)):
        agrees_N[rows] = np.any(_agreement(parts[rows], others, window_V4), axis=1)
    return agrees_N


def _joined(parts: ViewBoxes, window_V4: Floats) -> ViewBoxes:
    """Put the parts of each thing together; a part that has no other stays as it is."""
    if not len(parts):
        return parts
    blocks = ((rows.start, np.nonzero(_agreement(parts[rows], parts, window_V4))) for rows in _blocks(len(parts)))
    pairs = [(first + start, second) for start, (first, second) in blocks]
    first, second = np.concatenate(pairs, axis=1)
    graph = coo_array((np.ones(len(first), bool), (first, second)), shape=(len(parts), len(parts)))
    count, thing_N = connected_components(graph, directed=False)
    box_K4 = np.tile(np.array([np.inf, np.inf, -np.inf, -np.inf]), (count, 1))
    score_K = np.zeros(count)
    np.minimum.at(box_K4[:, :2], thing_N, parts.box_N4[:, :2])
    np.maximum.at(box_K4[:, 2:], thing_N, parts.box_N4[:, 2:])
    np.maximum.at(score_K, thing_N, parts.score_N)
    return ViewBoxes(box_K4, score_K, np.full(count, parts.label_N[0]), np.full(count, -1))


def _agreement(first: ViewBoxes, second: ViewBoxes, window_V4: Floats) -> Bools:
    """Return [N, M] whether two boxes of different views agree in what both views see."""
    own_N4, other_M4 = window_V4[first.view_N], window_V4[second.view_N]
    seen = _intersection(first.box_N4[:, None], other_M4[None])
    iou = _iou(seen, _intersection(second.box_N4[None], own_N4[:, None]))
    agrees_NM: Bools = (iou > AGREE_IOU) & (first.view_N[:, None] != second.view_N[None])
    return agrees_NM


def _without_repeats(boxes: ViewBoxes) -> ViewBoxes:
    """Keep the first of the boxes that agree and are of different views, with the best score of them."""
    score_N, is_left_N = boxes.score_N.copy(), np.ones(len(boxes), bool)
    view_N = np.where(boxes.view_N < 0, -1 - np.arange(len(boxes)), boxes.view_N)  # joined ones share no view
    kept: list[int] = []
    for row in range(len(boxes)):
        if not is_left_N[row]:
            continue
        kept.append(row)
        rest = np.flatnonzero(is_left_N[row + 1 :]) + row + 1
        same = rest[(_iou(boxes.box_N4[row], boxes.box_N4[rest]) > AGREE_IOU) & (view_N[rest] != view_N[row])]
        is_left_N[same] = False
        score_N[row] = max(score_N[row], score_N[same].max(initial=0))
    return ViewBoxes(boxes.box_N4, score_N, boxes.label_N, boxes.view_N)[np.array(kept, np.int64)]


def _intersection(first: Floats, second: Floats) -> Floats:
    """Return the corners of what corner boxes that broadcast have in common; inverted where that is nothing."""
    low = np.maximum(first[..., :2], second[..., :2])
    return np.concatenate([low, np.minimum(first[..., 2:], second[..., 2:])], axis=-1)


def _area(box: Floats) -> Floats:
    size = (box[..., 2:] - box[..., :2]).clip(min=0)
    area: Floats = size[..., 0] * size[..., 1]
    return area


def _iou(first: Floats, second: Floats) -> Floats:
    common = _area(_intersection(first, second))
    union = _area(first) + _area(second) - common
    return np.divide(common, union, out=np.zeros_like(union), where=union > 0)


def _blocks(count: int) -> Iterator[slice]:
    for start in range(0, count, _ROWS):
        yield slice(start, min(start + _ROWS, count))
