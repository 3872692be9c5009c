"""From the backbone's maps to image tokens of one width, on all levels.

Shapes: B image, C channel, H height, W width, S image token, D width, L level.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from groundling.configuration.grounding_dino import GROUP_NORM_GROUPS
from groundling.ops.reference_points import valid_size
from groundling.structures.features import ImageFeatures


class ImageProjection(nn.ModuleList):
    """Project each backbone map to the detector's width and make coarser levels from the last one.

    Args:
        input_widths: width of each backbone map.
        width: width of the image tokens.
        num_levels: number of levels; those beyond the backbone's maps halve the last map by strided convolutions.
    """

    def __init__(self, *, input_widths: list[int], width: int, num_levels: int) -> None:
        projections = [nn.Conv2d(input_width, width, kernel_size=1) for input_width in input_widths]
        for extra in range(num_levels - len(input_widths)):
            input_width = width if extra else input_widths[-1]
            projections.append(nn.Conv2d(input_width, width, kernel_size=3, stride=2, padding=1))
        super().__init__(nn.Sequential(conv, nn.GroupNorm(GROUP_NORM_GROUPS, width)) for conv in projections)

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
    tokens, positions, valids, ratios, shapes = [], [], [], [], []
    for level, map_BDHW in enumerate(levels):
        height, width = map_BDHW.shape[-2:]
        level_valid_BHW = F.interpolate(pixel_valid_B1HW, size=(height, width), mode="nearest")[:, 0] > 0
        position_BHWD = position_encoding(level_valid_BHW).to(map_BDHW.dtype) + level_embedding_LD[level]
        ratio_B2 = valid_size(level_valid_BHW) / torch.tensor([width, height], device=map_BDHW.device)
        tokens.append(map_BDHW.flatten(2).transpose(1, 2))
        positions.append(position_BHWD.flatten(1, 2))
        valids.append(level_valid_BHW.flatten(1))
        ratios.append(ratio_B2)
        shapes.append((height, width))
    return ImageFeatures(
        torch.cat(tokens, dim=1),
        torch.cat(positions, dim=1),
        torch.cat(valids, dim=1),
        torch.stack(ratios, dim=1),
        shapes,
    )
