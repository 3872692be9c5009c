"""Suppression of boxes that say the same thing twice, in plain torch."""

import torch
from torch import Tensor

from groundling.errors import ConfigError
from groundling.ops.boxes import area, intersection, pairwise_iou

ROWS = 1024
"""Boxes that are compared with all others at a time; bounds memory where there are tens of thousands."""

INSIDE = 0.9
"""Share of a box's area that must lie in another box, for it to be inside."""


def class_wise_nms(box_xyxy_N4: Tensor, label_N: Tensor, iou_threshold: float) -> Tensor:
    """Return the indices [K] int64, ascending, of the boxes that no better box of their label overlaps.

    Args:
        box_xyxy_N4: corners, best first.
        label_N: the label of each box; boxes of different labels never suppress each other.
        iou_threshold: 0..1; a box is dropped when its IoU with a better kept one is greater.

    Raises:
        ConfigError: the threshold is outside 0..1.
    """
    if not 0 <= iou_threshold <= 1:
        raise ConfigError(f"nms_iou must be within 0..1, got {iou_threshold!r}.")
    kept = [_kept(box_xyxy_N4, index_M, iou_threshold) for index_M in _by_label(label_N)]
    if not kept:
        return torch.zeros(0, dtype=torch.int64, device=box_xyxy_N4.device)
    return torch.cat(kept).sort().values


def without_groups(box_xyxy_N4: Tensor, label_N: Tensor) -> Tensor:
    """Return the indices [K] int64, ascending, of the boxes that are not drawn around several others of their label.

    A box is a group when two or more boxes of its label, which are no groups themselves and of which none lies inside
    another, lie inside it. Boxes count as inside with nine tenths of their area.

    Args:
        box_xyxy_N4: corners.
        label_N: the label of each box.
    """
    kept = [index_M[~_is_group(box_xyxy_N4[index_M])] for index_M in _by_label(label_N)]
    if not kept:
        return torch.zeros(0, dtype=torch.int64, device=box_xyxy_N4.device)
    return torch.cat(kept).sort().values


def _by_label(label_N: Tensor) -> list[Tensor]:
    return [(label_N == label).nonzero().flatten() for label in sorted(set(label_N.tolist()))]


def _kept(box_xyxy_N4: Tensor, index_M: Tensor, iou_threshold: float) -> Tensor:
    """Return the rest of `index_M`, boxes of one label, best first."""
    boxes = box_xyxy_N4[index_M]
    dropped = torch.zeros(len(boxes), dtype=torch.bool).numpy()
    keep = []
    for start in range(0, len(boxes), ROWS):
        # the greedy walk is sequential: one copy to the CPU instead of a synchronisation for each box
        overlaps = (pairwise_iou(boxes[start : start + ROWS], boxes) > iou_threshold).cpu().numpy()
        for position, row in enumerate(overlaps, start):
            if not dropped[position]:
                keep.append(position)
                dropped |= row
    return index_M[torch.tensor(keep, device=index_M.device)]


def _is_group(box_xyxy_M4: Tensor) -> Tensor:
    """Say of the boxes of one label which are groups, [M] bool; smaller boxes are judged first."""
    area_M = area(box_xyxy_M4)
    is_group = torch.zeros(len(area_M), dtype=torch.bool, device=area_M.device)
    for row in area_M.argsort(stable=True).tolist():
        shared_M = intersection(box_xyxy_M4, box_xyxy_M4[row])
        inside = (shared_M >= INSIDE * area_M) & (area_M < INSIDE * area_M[row]) & ~is_group
        if int(inside.sum()) >= 2:
            is_group[row] = _outermost(box_xyxy_M4[inside]) >= 2
    return is_group


def _outermost(box_xyxy_M4: Tensor) -> int:
    """Count the boxes that lie inside no larger one."""
    by_size = box_xyxy_M4[area(box_xyxy_M4).argsort(stable=True)]
    inside_MM = intersection(by_size[:, None], by_size[None]) >= INSIDE * area(by_size)[:, None]
    return int((~inside_MM.triu(diagonal=1).any(dim=1)).sum())
