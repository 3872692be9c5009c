"""Points and boxes on the grid of a feature map.

Shapes: B image, S image token, L level, H grid height, W grid width.
"""

import torch
from torch import Tensor

INVERSE_SIGMOID_EPS = 1e-5
"""As in the documented API; the original release clamps at 1e-3, which moves boxes at the picture's border."""

PROPOSAL_SIZE = 0.05
"""Side of a proposed box on the finest level, in 0..1 of the picture; it doubles with each level (Deformable DETR)."""

PROPOSAL_BORDER = 0.01
"""A proposal with a coordinate outside (0.01, 0.99) is not used."""


def inverse_sigmoid(x: Tensor) -> Tensor:
    """Return log(x / (1 - x)) of values in 0..1, which are first moved at least 1e-5 away from 0 and 1."""
    return torch.logit(x, eps=INVERSE_SIGMOID_EPS)


def grid_centers(height: int, width: int, device: torch.device) -> Tensor:
    """Return the centres (x + 0.5, y + 0.5) of a grid's cells row by row, [H * W, 2] float32, in cells."""
    y_H = torch.linspace(0.5, height - 0.5, height, dtype=torch.float32, device=device)
    x_W = torch.linspace(0.5, width - 0.5, width, dtype=torch.float32, device=device)
    y_HW, x_HW = torch.meshgrid(y_H, x_W, indexing="ij")
    return torch.stack([x_HW.reshape(-1), y_HW.reshape(-1)], dim=-1)


def valid_size(valid_BHW: Tensor) -> Tensor:
    """Return how many columns and rows of a padded map are picture, [B, 2] as (width, height)."""
    return torch.stack([valid_BHW[:, 0, :].sum(1), valid_BHW[:, :, 0].sum(1)], dim=-1)


def level_sizes(level_shapes: list[tuple[int, int]], device: torch.device) -> Tensor:
    """Return (width, height) of each level, [L, 2] float32, filled on the device: a copy from the host would wait."""
    sizes = [torch.full((), float(size), device=device) for height, width in level_shapes for size in (width, height)]
    return torch.stack(sizes).view(-1, 2)


def encoder_reference_points(
    level_shapes: list[tuple[int, int]], level_size_L2: Tensor, valid_ratio_BL2: Tensor
) -> Tensor:
    """Return where each image token lies on every level, [B, S, L, 2] as (x, y) in 0..1 of the padded map."""
    points = []
    for level, (height, width) in enumerate(level_shapes):
        centers_S2 = grid_centers(height, width, valid_ratio_BL2.device)
        points.append(centers_S2[None] / (valid_ratio_BL2[:, level, None] * level_size_L2[level]))
    return torch.cat(points, dim=1)[:, :, None] * valid_ratio_BL2[:, None]


def proposal_boxes(level_shapes: list[tuple[int, int]], valid_BS: Tensor) -> Tensor:
    """Return one box around each image token, [B, S, 4] float32, (cx, cy, w, h) in 0..1 of the un-padded picture."""
    boxes = []
    sizes = [height * width for height, width in level_shapes]
    for level, (shape, valid_BN) in enumerate(zip(level_shapes, torch.split(valid_BS, sizes, dim=1), strict=True)):
        height, width = shape
        center_BN2 = (
            grid_centers(height, width, valid_BS.device)[None] / valid_size(valid_BN.view(-1, height, width))[:, None]
        )
        side = PROPOSAL_SIZE * 2.0**level
        boxes.append(torch.cat([center_BN2, torch.full_like(center_BN2, side)], dim=-1))
    return torch.cat(boxes, dim=1)


def proposal_logits(box_BS4: Tensor, valid_BS: Tensor) -> Tensor:
    """Return the inverse sigmoid of proposals, +inf where one is padding or too close to the picture's border."""
    inside_BS = ((box_BS4 > PROPOSAL_BORDER) & (box_BS4 < 1 - PROPOSAL_BORDER)).all(dim=-1)
    logit_BS4 = torch.log(box_BS4 / (1 - box_BS4))
    return logit_BS4.masked_fill(~(inside_BS & valid_BS)[..., None], torch.inf)
