"""From the backbone's maps to image tokens of one width, on all levels.

Shapes: B image, C channel, H height, W width, S image token, D width, L level.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from groundling.ops.reference_points import level_sizes, valid_size
from groundling.structures.features import ImageFeatures


class ImageProjection(nn.ModuleList):
    """Project each backbone map to the detector's width and make coarser levels from the last one.

    Args:
        input_widths: width of each backbone map.
        width: width of the image tokens.
        num_levels: number of levels; those beyond the backbone's maps halve the last map by strided convolutions.
        num_groups: groups of the norm after each projection.
    """

    def __init__(self, *, input_widths: list[int], width: int, num_levels: int, num_groups: int) -> None:
        projections = [nn.Conv2d(input_width, width, kernel_size=1) for input_width in input_widths]
        for extra in range(num_levels - len(input_widths)):
            input_width = width if extra else input_widths[-1]
            projections.append(nn.Conv2d(input_width, width, kernel_size=3, stride=2, padding=1))
        super().__init__(nn.Sequential(conv, nn.GroupNorm(num_groups, width)) for conv in projections)

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """Return one map [B, D, H, W] for each level; the first extra level starts from the raw last backbone map."""
        levels = [project(map_BCHW) for project, map_BCHW in zip(self, maps, strict=False)]
        coarsest_BCHW = maps[-1]
        for project in list(self)[len(maps) :]:
            coarsest_BCHW = project(coarsest_BCHW)
            levels.append(coarsest_BCHW)
        return levels


def image_tokens(
    levels: list[Tensor], valid_BHW: Tensor, position_encoding: nn.Module, level_embedding_LD: Tensor
) -> ImageFeatures:
    """Flatten the levels into one sequence of tokens with their positions.

    Args:
        levels: maps [B, D, H, W].
        valid_BHW: True where a pixel is picture, False on padding.
        position_encoding: gives the encoding [B, H, W, D] of a validity map.
        level_embedding_LD: what is added to the positions of each level.
    """
    pixel_valid_B1HW = valid_BHW[:, None].float()
    shapes = [(map_BDHW.shape[-2], map_BDHW.shape[-1]) for map_BDHW in levels]
    level_size_L2 = level_sizes(shapes, valid_BHW.device)
    tokens, positions, valids, ratios = [], [], [], []
    for level, map_BDHW in enumerate(levels):
        level_valid_BHW = F.interpolate(pixel_valid_B1HW, size=shapes[level], mode="nearest")[:, 0] > 0
        position_BHWD = position_encoding(level_valid_BHW).to(map_BDHW.dtype) + level_embedding_LD[level]
        tokens.append(map_BDHW.flatten(2).transpose(1, 2))
        positions.append(position_BHWD.flatten(1, 2))
        valids.append(level_valid_BHW.flatten(1))
        ratios.append(valid_size(level_valid_BHW) / level_size_L2[level])
    return ImageFeatures(
        torch.cat(tokens, dim=1),
        torch.cat(positions, dim=1),
        torch.cat(valids, dim=1),
        torch.stack(ratios, dim=1),
        level_size_L2,
        shapes,
        padded=True,
    )
