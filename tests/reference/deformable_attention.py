"""Multi-scale deformable attention with loops, in float64: one sample at a time."""

import math

import torch
from torch import Tensor


def bilinear(grid: Tensor, x: float, y: float) -> Tensor:
    """Value [C] of a map [H, W, C] at a place in cells, where cell (0, 0) has its centre at (0.5, 0.5); 0 outside."""
    height, width, channels = grid.shape
    left, top = math.floor(x - 0.5), math.floor(y - 0.5)
    total = torch.zeros(channels, dtype=torch.float64)
    for column in (left, left + 1):
        for row in (top, top + 1):
            if 0 <= column < width and 0 <= row < height:
                share = (1 - abs(x - 0.5 - column)) * (1 - abs(y - 0.5 - row))
                total += share * grid[row, column]
    return total


def deformable_attention(
    value: Tensor, level_shapes: list[tuple[int, int]], location: Tensor, weight: Tensor
) -> Tensor:
    """The same arguments and result as groundling.ops.deformable_attention.deformable_attention."""
    batch, _, heads, channels = value.shape
    queries, levels, points = location.shape[1], location.shape[3], location.shape[4]
    result = torch.zeros(batch, queries, heads, channels, dtype=torch.float64)
    starts = [sum(height * width for height, width in level_shapes[:level]) for level in range(levels)]
    for b in range(batch):
        for h in range(heads):
            for level, (height, width) in enumerate(level_shapes):
                grid = value[b, starts[level] : starts[level] + height * width, h].double().view(height, width, -1)
                for q in range(queries):
                    for p in range(points):
                        x, y = location[b, q, h, level, p].tolist()
                        result[b, q, h] += weight[b, q, h, level, p].item() * bilinear(grid, x * width, y * height)
    return result.flatten(2)
