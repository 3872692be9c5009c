"""Non-maximum suppression within each class, in plain torch."""

import torch
from torch import Tensor

from groundling.errors import ConfigError
from groundling.ops.boxes import pairwise_iou


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
    kept = [
        _kept(box_xyxy_N4, (label_N == label).nonzero().flatten(), iou_threshold)
        for label in sorted(set(label_N.tolist()))
    ]
    if not kept:
        return torch.zeros(0, dtype=torch.int64, device=box_xyxy_N4.device)
    return torch.cat(kept).sort().values


def _kept(box_xyxy_N4: Tensor, index_M: Tensor, iou_threshold: float) -> Tensor:
    """Return the rest of `index_M`, boxes of one label, best first."""
    boxes = box_xyxy_N4[index_M]
    # the greedy walk is sequential: one copy to the CPU instead of a synchronisation for each box
    overlaps = (pairwise_iou(boxes, boxes) > iou_threshold).cpu().numpy()
    dropped = overlaps[0] & False
    keep = []
    for position in range(len(overlaps)):
        if not dropped[position]:
            keep.append(position)
            dropped |= overlaps[position]
    return index_M[torch.tensor(keep, device=index_M.device)]
