"""Boxes as tensors; "cxcywh" is centre and size, "xyxy" is two corners. Any unit, any leading shape."""

import torch
from torch import Tensor


def cxcywh_to_xyxy(box: Tensor) -> Tensor:
    """Convert centre and size to corners."""
    center, half = box[..., :2], 0.5 * box[..., 2:]
    return torch.cat([center - half, center + half], dim=-1)


def xyxy_to_cxcywh(box: Tensor) -> Tensor:
    """Convert corners to centre and size."""
    low, high = box[..., :2], box[..., 2:]
    return torch.cat([(low + high) / 2, high - low], dim=-1)


def area(box_xyxy: Tensor) -> Tensor:
    """Return width times height; negative for inverted boxes."""
    size = box_xyxy[..., 2:] - box_xyxy[..., :2]
    return size[..., 0] * size[..., 1]


def intersection(first: Tensor, second: Tensor) -> Tensor:
    """Return the area that corner boxes, which broadcast against each other, have in common."""
    low = torch.maximum(first[..., :2], second[..., :2])
    high = torch.minimum(first[..., 2:], second[..., 2:])
    size = (high - low).clamp(min=0)
    return size[..., 0] * size[..., 1]


def iou_and_union(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Return intersection over union and union of corner boxes that broadcast against each other."""
    shared = intersection(first, second)
    union = area(first) + area(second) - shared
    return shared / union.clamp(min=torch.finfo(union.dtype).tiny), union


def pairwise_iou(first_N4: Tensor, second_M4: Tensor) -> Tensor:
    """Return the intersection over union of every pair of corner boxes, [N, M] in 0..1."""
    return iou_and_union(first_N4[:, None], second_M4[None])[0]


def generalized_iou(first: Tensor, second: Tensor) -> Tensor:
    """Return the generalized IoU (Rezatofighi et al. 2019), in -1..1, of corner boxes that broadcast."""
    iou, union = iou_and_union(first, second)
    low = torch.minimum(first[..., :2], second[..., :2])
    high = torch.maximum(first[..., 2:], second[..., 2:])
    size = (high - low).clamp(min=0)
    hull = (size[..., 0] * size[..., 1]).clamp(min=torch.finfo(union.dtype).tiny)
    return iou - (hull - union) / hull
