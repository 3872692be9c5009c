"""Multi-scale deformable attention by `embedding_bag`: for CPUs, without gradients.

Each query and head adds up the rows of a table by weight, which is what an embedding bag is: 4 corners of a cell for
each of its points on each level.

Shapes: B image, S image token, Q query, H head, C width of a head, L level, P point.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F


def deformable_attention(
    value_BSHC: Tensor, level_shapes: list[tuple[int, int]], location_BQHLP2: Tensor, weight_BQHLP: Tensor
) -> Tensor:
    """Sample each level at a few points for each query and head, and add the samples up by weight.

    See `groundling.ops.deformable_attention`. No gradient flows back.
    """
    batch, tokens, heads, channels = value_BSHC.shape
    queries = location_BQHLP2.shape[1]
    dtype = torch.promote_types(value_BSHC.dtype, torch.float32)
    output_BQD = value_BSHC.new_empty(batch, queries, heads * channels)
    if queries == 0:
        return output_BQD
    levels = _levels(level_shapes, heads, location_BQHLP2.shape[4], value_BSHC.device)
    for image in range(batch):
        row_RC = value_BSHC[image].to(dtype).reshape(tokens * heads, channels)
        corners = _corners(location_BQHLP2[image].to(dtype), weight_BQHLP[image].to(dtype), levels)
        first, *others = (_weighted_sums(row_RC, index, weight) for index, weight in corners)
        for other in others:
            first += other
        output_BQD[image] = first.view(queries, heads * channels)
    return output_BQD


class _Levels(NamedTuple):
    """Where the rows of the table are, repeated for all points: long rows are added faster than short ones.

    Attributes:
        size_LP2: (width, height) in cells.
        last_LP2: the last cell, as (x, y), that has a right or lower neighbour; 0 where there is only one.
        step_LP2: distance to the neighbour in cells; infinite, so that its weight becomes 0, where there is only one.
        stride_LP2: how many rows of the table one cell right or below is.
        neighbour_LP2: how many rows away the neighbours are; 0 where there is only one cell.
        start_HLP: row of each head's first cell.
    """

    size_LP2: Tensor
    last_LP2: Tensor
    step_LP2: Tensor
    stride_LP2: Tensor
    neighbour_LP2: Tensor
    start_HLP: Tensor


def _levels(level_shapes: list[tuple[int, int]], heads: int, points: int, device: torch.device) -> _Levels:
    size_L2 = torch.tensor([[width, height] for height, width in level_shapes], device=device)
    stride_L2 = torch.tensor([[heads, heads * width] for _, width in level_shapes], device=device, dtype=torch.int32)
    cells_L = size_L2.prod(dim=-1)
    start_L = ((cells_L.cumsum(0) - cells_L) * heads).to(torch.int32)
    start_HL = start_L + torch.arange(heads, device=device, dtype=torch.int32)[:, None]
    single_L2 = size_L2 == 1

    def at_points(x_L2: Tensor) -> Tensor:
        return x_L2[:, None].repeat(1, points, 1)

    return _Levels(
        size_LP2=at_points(size_L2.float()),
        last_LP2=at_points((size_L2 - 2).clamp(min=0).float()),
        step_LP2=at_points(torch.where(single_L2, torch.inf, 1.0)),
        stride_LP2=at_points(stride_L2),
        neighbour_LP2=at_points(stride_L2.masked_fill(single_L2, 0)),
        start_HLP=start_HL[..., None].repeat(1, 1, points),
    )


def _corners(location_QHLP2: Tensor, weight_QHLP: Tensor, levels: _Levels) -> list[tuple[Tensor, Tensor]]:
    """Return row and weight [Q, H, L, P] of the four cells around each point.

    The first cell is moved inside so far that its neighbours are too; a cell's bilinear weight along an axis is then
    max(0, 1 - distance), which is 0 for cells that are not next to the point. So nothing asks what lies outside.
    """
    place = (location_QHLP2 * levels.size_LP2).sub_(0.5)
    # fmin lets a place that is no number point into the table; its weight, and so the result, stays no number.
    cell = torch.fmin(place.floor().clamp_(min=0.0), levels.last_LP2)
    distance = place.sub_(cell)
    first = (1.0 - distance.abs()).clamp_(min=0.0)
    second = distance.sub_(levels.step_LP2).abs_().neg_().add_(1.0).clamp_(min=0.0)

    rows = cell.to(torch.int32).mul_(levels.stride_LP2)
    upper_left = rows[..., 0] + rows[..., 1] + levels.start_HLP
    right, below = levels.neighbour_LP2.unbind(dim=-1)
    lower_left = upper_left + below
    upper, lower = first[..., 1] * weight_QHLP, second[..., 1] * weight_QHLP
    return [
        (upper_left, upper * first[..., 0]),
        (upper_left + right, upper * second[..., 0]),
        (lower_left, lower * first[..., 0]),
        (lower_left + right, lower * second[..., 0]),
    ]


def _weighted_sums(row_RC: Tensor, index_QHLP: Tensor, weight_QHLP: Tensor) -> Tensor:
    bag = index_QHLP[0, 0].numel()
    offset_N = torch.arange(0, index_QHLP.numel(), bag, dtype=index_QHLP.dtype, device=index_QHLP.device)
    return F.embedding_bag(
        index_QHLP.reshape(-1), row_RC, offset_N, mode="sum", per_sample_weights=weight_QHLP.reshape(-1)
    )
