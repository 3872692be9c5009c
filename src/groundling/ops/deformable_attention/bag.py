"""Multi-scale deformable attention by `embedding_bag`: for CPUs.

Each query and head adds up the rows of a table by weight, which is what an embedding bag is: 4 corners of a cell for
each of its points on each level.

Shapes: B image, S image token, Q query, H head, C width of a head, L level, P point, R row of the table (S H),
N = Q H.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.nn import functional as F


def deformable_attention(
    value_BSHC: Tensor, level_shapes: list[tuple[int, int]], location_BQHLP2: Tensor, weight_BQHLP: Tensor
) -> Tensor:
    """Sample each level at a few points for each query and head, and add the samples up by weight.

    See `groundling.ops.deformable_attention`.
    """
    batch, queries = location_BQHLP2.shape[:2]
    heads, channels = value_BSHC.shape[2:]
    if batch * queries == 0:
        return value_BSHC.new_zeros(batch, queries, heads * channels)
    levels = _levels(level_shapes, heads, location_BQHLP2.shape[4], value_BSHC.device)
    dtype = torch.promote_types(value_BSHC.dtype, torch.float32)
    images = [
        _Sampling.apply(  # type: ignore[no-untyped-call]
            value_SHC.to(dtype).reshape(-1, channels), location_QHLP2.to(dtype), weight_QHLP.to(dtype), levels
        )
        for value_SHC, location_QHLP2, weight_QHLP in zip(value_BSHC, location_BQHLP2, weight_BQHLP, strict=True)
    ]
    return torch.stack(images).to(value_BSHC.dtype).view(batch, queries, heads * channels)


class _Sampling(Function):
    """The sums [N, C] of one image; on the way back everything but its inputs is computed again."""

    @staticmethod
    def forward(
        ctx: FunctionCtx, row_RC: Tensor, location_QHLP2: Tensor, weight_QHLP: Tensor, levels: "_Levels"
    ) -> Tensor:
        ctx.save_for_backward(row_RC, location_QHLP2, weight_QHLP)
        ctx.levels = levels  # type: ignore[attr-defined]
        first, *others = (_weighted_sums(row_RC, *corner) for corner in _corners(location_QHLP2, weight_QHLP, levels))
        for other in others:
            first += other
        return first

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, gradient_NC: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
        row_RC, location_QHLP2, weight_QHLP = ctx.saved_tensors  # type: ignore[attr-defined]
        gradient_NC = gradient_NC.contiguous()
        with torch.enable_grad():
            inputs = location_QHLP2.detach().requires_grad_(), weight_QHLP.detach().requires_grad_()
            corners = _corners(*inputs, ctx.levels)  # type: ignore[attr-defined]
        products = [_products_with_rows(gradient_NC, row_RC, index_QHLP) for index_QHLP, _ in corners]
        location, weight = torch.autograd.grad([weight for _, weight in corners], inputs, products)
        needs_rows = ctx.needs_input_grad[0]  # type: ignore[attr-defined]
        return _sums_by_row(gradient_NC, corners, len(row_RC)) if needs_rows else None, location, weight, None


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
    place = location_QHLP2 * levels.size_LP2 - 0.5
    # fmin lets a place that is no number point into the table; its weight, and so the result, stays no number.
    cell = torch.fmin(place.detach().floor().clamp_(min=0.0), levels.last_LP2)
    distance = place - cell
    first, second = _hat(distance), _hat(distance - levels.step_LP2, left_at_0=True)

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


def _hat(distance: Tensor, *, left_at_0: bool = False) -> Tensor:
    """Return max(0, 1 - |distance|), with the slope of one side at 0.

    Points on a cell's centre are common: fresh models sample there. `abs` has no slope at 0, so that the weights of the
    two neighbours would not change together; with the right slope here and the left one there they do.
    """
    is_right = distance > 0 if left_at_0 else distance >= 0
    return torch.where(is_right, 1.0 - distance, 1.0 + distance).clamp(min=0.0)


def _weighted_sums(row_RC: Tensor, index_QHLP: Tensor, weight_QHLP: Tensor) -> Tensor:
    """Add up rows of the table by weight for each query and head, [N, C]."""
    samples = index_QHLP[0, 0].numel()
    offset_N = torch.arange(0, index_QHLP.numel(), samples, dtype=index_QHLP.dtype, device=index_QHLP.device)
    return F.embedding_bag(
        index_QHLP.reshape(-1), row_RC, offset_N, mode="sum", per_sample_weights=weight_QHLP.reshape(-1)
    )


def _products_with_rows(x_NC: Tensor, row_RC: Tensor, index_QHLP: Tensor) -> Tensor:
    """Return the dot product of each query's and head's vector with each of its rows, [Q, H, L, P]."""
    with torch.enable_grad():
        weight_QHLP = torch.ones_like(index_QHLP, dtype=x_NC.dtype).requires_grad_()
        sum_NC = _weighted_sums(row_RC.detach(), index_QHLP, weight_QHLP)
    return torch.autograd.grad(sum_NC, weight_QHLP, x_NC)[0]


def _sums_by_row(x_NC: Tensor, corners: list[tuple[Tensor, Tensor]], rows: int) -> Tensor:
    """Add up, for each row of the table, the vectors of the queries and heads that used it, by weight, [R, C].

    Sorted by row, these are embedding bags again; adding them to the table one by one is several times slower.
    """
    index_K = torch.cat([index_QHLP.flatten() for index_QHLP, _ in corners])
    weight_K = torch.cat([weight_QHLP.detach().flatten() for _, weight_QHLP in corners])
    row_K, order_K = index_K.sort()
    first_R = torch.searchsorted(row_K, torch.arange(rows, dtype=row_K.dtype, device=row_K.device))
    samples = len(index_K) // (len(corners) * len(x_NC))
    number_K = (order_K % (len(index_K) // len(corners))).div_(samples, rounding_mode="floor")
    return F.embedding_bag(number_K, x_NC, first_R, mode="sum", per_sample_weights=weight_K[order_K])
