"""From what was found in overlapping parts of a picture to what is in the picture.

Views are the parts: tiles, and the picture as a whole. Two views see the same pixels where they overlap, which is what
all rules rest on: two boxes of one label are the same thing when they agree there. A view shows a thing once, so that a
box has at most one partner in each other view, and where things of one label overlap each finds its own.
"""

# Shapes: V view, N and M box, C box that is cut, K thing, P pair

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from groundling.ops.boxes import iou_and_union

AGREE_IOU = 0.5
"""Two boxes are the same thing when, in what both views see, their IoU is greater."""

EDGE = 0.01
"""A box is cut when it ends nearer than this share of the tile's side to an edge inside the picture."""

_AT_A_TIME = 1 << 16  # pairs that are compared at a time, each in about 200 bytes

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Indices = NDArray[np.int64]


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

    Two boxes of different views are partners when they agree and each is, of all boxes in its view, the one that agrees
    best with the other.

    1. A box that is cut by an edge of its tile is dropped when another tile sees all of it and beyond that edge.
    2. A box that is cut is dropped when it has a complete partner, in another tile or in the whole picture.
    3. Boxes that are cut and partners are parts of one thing and become the box around them.
    4. Of partners a complete one of a tile is kept before one of the whole picture, which was seen smaller, and this
       before a joined one; then the better one. It takes the best score.

    By rule 4 boxes of one view never replace each other, nor do joined ones: of two that are complete in a view both
    are kept, or a partner of each.

    Args:
        found: all boxes, each within its view.
        window_V4: corners of the views in pixels of the picture; a view of all of it cuts nothing.
        image_wh: width and height of the picture.

    Returns:
        The boxes that are left; `view_N` is the view of a box, or -1 for a joined one.
    """
    cut_N4 = _cut_sides(found.box_N4, window_V4[found.view_N], image_wh)
    is_cut_N: Bools = np.any(cut_N4, axis=1)
    whole_V: Bools = np.all(window_V4 == [0, 0, *image_wh], axis=1)
    cut_C = np.flatnonzero(is_cut_N)
    better_C = _seen_better(found[cut_C], cut_N4[cut_C], window_V4[~whole_V], window_V4[found.view_N[cut_C]])
    is_left_N = np.ones(len(found), bool)
    is_left_N[cut_C[better_C]] = False
    merged: list[ViewBoxes] = [found[:0]]
    for label in np.unique(found.label_N):
        rows = np.flatnonzero(is_left_N & (found.label_N == label))
        candidates = _whole_things(found[rows], is_cut_N[rows], window_V4)
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
    step = max(1, _AT_A_TIME // max(1, len(window_V4)))
    for start in range(0, len(cut), step):
        rows = slice(start, start + step)
        box, own, sides = cut.box_N4[rows, None], own_C4[rows, None], cut_C4[rows, None]
        holds = np.all(window_V4[:, :2] <= box[..., :2], axis=-1) & np.all(window_V4[:, 2:] >= box[..., 2:], axis=-1)
        goes_on = np.concatenate([window_V4[:, :2] < own[..., :2], window_V4[:, 2:] > own[..., 2:]], axis=-1)
        is_better_C[rows] = np.any(holds & np.any(goes_on & sides, axis=-1), axis=1)
    return is_better_C


def _whole_things(boxes: ViewBoxes, is_cut_N: Bools, window_V4: Floats) -> ViewBoxes:
    """Return the complete ones of the boxes of one label, and put together the parts of what is cut everywhere."""
    first_P, second_P = _partners(boxes, window_V4)
    is_part_N = is_cut_N.copy()
    is_part_N[first_P[~is_cut_N[second_P]]] = False  # a complete one is there in its place
    are_parts_P = is_part_N[first_P] & is_part_N[second_P]
    number_N = np.cumsum(is_part_N) - 1
    parts = _joined(boxes[is_part_N], number_N[first_P[are_parts_P]], number_N[second_P[are_parts_P]])
    return boxes[~is_cut_N].joined_with(parts)


def _joined(parts: ViewBoxes, first_P: Indices, second_P: Indices) -> ViewBoxes:
    """Put the parts of each thing together; a part that has no other stays as it is."""
    if not len(parts):
        return parts
    graph = coo_array((np.ones(len(first_P), bool), (first_P, second_P)), shape=(len(parts), len(parts)))
    count, thing_N = connected_components(graph, directed=False)
    box_K4 = np.tile(np.array([np.inf, np.inf, -np.inf, -np.inf]), (count, 1))
    score_K = np.zeros(count)
    np.minimum.at(box_K4[:, :2], thing_N, parts.box_N4[:, :2])
    np.maximum.at(box_K4[:, 2:], thing_N, parts.box_N4[:, 2:])
    np.maximum.at(score_K, thing_N, parts.score_N)
    return ViewBoxes(box_K4, score_K, np.full(count, parts.label_N[0]), np.full(count, -1))


def _without_repeats(boxes: ViewBoxes) -> ViewBoxes:
    """Keep the first of the boxes of one label that are partners, with the best score of them."""
    score_N, is_left_N = boxes.score_N.copy(), np.ones(len(boxes), bool)
    first_P, second_P = _partners(boxes)
    start_N = np.searchsorted(first_P, np.arange(len(boxes) + 1))
    kept: list[int] = []
    for row in range(len(boxes)):
        if not is_left_N[row]:
            continue
        kept.append(row)
        same = second_P[start_N[row] : start_N[row + 1]]
        same = same[same > row]
        same = same[is_left_N[same]]
        is_left_N[same] = False
        score_N[row] = max(score_N[row], score_N[same].max(initial=0))
    return ViewBoxes(boxes.box_N4, score_N, boxes.label_N, boxes.view_N)[np.array(kept, np.int64)]


def _partners(boxes: ViewBoxes, window_V4: Floats | None = None) -> tuple[Indices, Indices]:
    """Return all pairs of partners, in both orders, by the first of them.

    Args:
        boxes: boxes of one label.
        window_V4: corners of the views: boxes are compared in what both views see; None compares all of them.
    """
    box_N4, view_N = torch.from_numpy(boxes.box_N4), boxes.view_N
    window_N4 = None if window_V4 is None else torch.from_numpy(window_V4[view_N])
    found: list[tuple[Indices, Indices, Floats]] = []
    for first_P, second_P in _near_each_other(boxes.box_N4):
        differ_P = view_N[first_P] != view_N[second_P]
        first_P, second_P = first_P[differ_P], second_P[differ_P]
        one_P4, other_P4 = box_N4[first_P], box_N4[second_P]
        if window_N4 is not None:
            one_P4, other_P4 = _clipped(one_P4, window_N4[second_P]), _clipped(other_P4, window_N4[first_P])
        iou_P = iou_and_union(one_P4, other_P4)[0].numpy()
        agrees_P = iou_P > AGREE_IOU
        first_P, second_P, iou_P = first_P[agrees_P], second_P[agrees_P], iou_P[agrees_P]
        found += [(first_P, second_P, iou_P), (second_P, first_P, iou_P)]
    if not found:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    first_P, second_P, iou_P = (np.concatenate(column) for column in zip(*found, strict=True))
    is_best_P = _is_best(first_P, view_N[second_P], iou_P, second_P)
    is_best_P &= _is_best(second_P, view_N[first_P], iou_P, first_P)
    first_P, second_P = first_P[is_best_P], second_P[is_best_P]
    order_P = np.lexsort((second_P, first_P))
    return first_P[order_P], second_P[order_P]


def _near_each_other(box_N4: Floats) -> Iterator[tuple[Indices, Indices]]:
    """Yield all pairs of boxes that share a column of pixels, each pair once, some at a time.

    From left to right, these are a box and those that begin before it ends: few of all pairs in a large picture.
    """
    order_N = np.argsort(box_N4[:, 0], kind="stable")
    end_N = np.searchsorted(box_N4[order_N, 0], box_N4[order_N, 2])
    count_N = (end_N - np.arange(len(box_N4)) - 1).clip(min=0)
    total_N = np.concatenate([[0], np.cumsum(count_N)])
    start = 0
    while start < len(box_N4):
        stop = max(start + 1, int(np.searchsorted(total_N, total_N[start] + _AT_A_TIME, side="right")) - 1)
        first_P = np.repeat(np.arange(start, stop), count_N[start:stop])
        second_P = first_P + 1 + np.arange(len(first_P)) - (total_N[first_P] - total_N[start])
        yield order_N[first_P], order_N[second_P]
        start = stop


def _is_best(row_P: Indices, view_P: Indices, iou_P: Floats, other_P: Indices) -> Bools:
    """Return which pairs have the greatest IoU of all that one box has with a view, of equal ones the first other."""
    order_P = np.lexsort((other_P, -iou_P, view_P, row_P))
    row, view = row_P[order_P], view_P[order_P]
    is_best_P = np.ones(len(order_P), bool)
    is_best_P[order_P[1:]] = (row[1:] != row[:-1]) | (view[1:] != view[:-1])
    return is_best_P


def _clipped(box: Tensor, window: Tensor) -> Tensor:
    """Return what of corner boxes is in windows that broadcast against them; inverted, of IoU 0, where nothing is."""
    low, high = torch.maximum(box[..., :2], window[..., :2]), torch.minimum(box[..., 2:], window[..., 2:])
    return torch.cat([low, high], dim=-1)
