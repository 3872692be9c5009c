"""From boxes as the model says them to corners in pixels."""

import torch
from torch import Tensor

from groundling.ops.boxes import cxcywh_to_xyxy


def pixel_corners(box_cxcywh: Tensor, image_hw: tuple[int, int]) -> Tensor:
    """Turn boxes in the unit square [N, 4] into corners (x1, y1, x2, y2) in pixels, float32, clipped to the picture.

    Args:
        box_cxcywh: centre x, centre y, width, height as fractions of the picture.
        image_hw: height and width of the picture, pixels.
    """
    height, width = image_hw
    scale = torch.tensor([width, height, width, height], dtype=torch.float32, device=box_cxcywh.device)
    box_xyxy = cxcywh_to_xyxy(box_cxcywh.float()) * scale
    return torch.minimum(box_xyxy.clamp(min=0), scale)
