"""Gradients of multi-scale deformable attention with loops, in float64: one sample at a time."""

import math

import torch
from torch import Tensor


def gradients(
    gradient: Tensor, value: Tensor, level_shapes: list[tuple[int, int]], location: Tensor, weight: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of values, locations and weights, where `gradient` [B, Q, H * C] is that of the result.

    At the centre of a cell, where the slope changes, it is the slope towards the next cell.
    """
    batch, _, heads, channels = value.shape
    queries, points = location.shape[1], location.shape[4]
    gradient = gradient.double().view(batch, queries, heads, channels)
    of_value, of_location, of_weight = (torch.zeros(x.shape, dtype=torch.float64) for x in (value, location, weight))
    start = 0
    for level, (height, width) in enumerate(level_shapes):
        for b, q, h, p in torch.cartesian_prod(*map(torch.arange, (batch, queries, heads, points))).tolist():
            x, y = location[b, q, h, level, p].tolist()
            share = weight[b, q, h, level, p].item()
            left, top = math.floor(x * width - 0.5), math.floor(y * height - 0.5)
            for column, x_slope in ((left, -1), (left + 1, 1)):
                for row, y_slope in ((top, -1), (top + 1, 1)):
                    if not (0 <= column < width and 0 <= row < height):
                        continue
                    x_part, y_part = 1 - abs(x * width - 0.5 - column), 1 - abs(y * height - 0.5 - row)
                    cell = start + row * width + column
                    change = torch.dot(gradient[b, q, h], value[b, cell, h].double()).item()
                    of_value[b, cell, h] += share * x_part * y_part * gradient[b, q, h]
                    of_location[b, q, h, level, p, 0] += share * change * x_slope * width * y_part
                    of_location[b, q, h, level, p, 1] += share * change * y_slope * height * x_part
                    of_weight[b, q, h, level, p] += change * x_part * y_part
        start += height * width
    return of_value, of_location, of_weight
