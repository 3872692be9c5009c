"""Multi-scale deformable attention (Zhu et al. 2021, equation 3), the sampling part, in several implementations.

Shapes: B image, S image token, Q query, H head, C width of a head, L level, P point.
"""

from importlib.util import find_spec
from typing import Literal

import torch
from torch import Tensor

from groundling.ops.deformable_attention import bag, grid
from groundling.ops.tracing import is_traced

Implementation = Literal["grid", "bag", "triton"]

HAS_TRITON = find_spec("triton") is not None


def deformable_attention(
    value_BSHC: Tensor, level_shapes: list[tuple[int, int]], location_BQHLP2: Tensor, weight_BQHLP: Tensor
) -> Tensor:
    """Sample each level at a few points for each query and head, and add the samples up by weight.

    Args:
        value_BSHC: values of all levels, level after level, row by row.
        level_shapes: (height, width) of each level; their products sum to S.
        location_BQHLP2: where to sample, (x, y) in 0..1 of each level; bilinear, zero outside.
        weight_BQHLP: weights, which sum to 1 over levels and points.

    Returns:
        The weighted sums with the heads side by side, [B, Q, H * C], in the type of the values. They are computed in
        float32 at least: half precision cannot tell neighbouring cells of a large map apart.
    """
    match implementation(value_BSHC.device):
        case "triton":
            from groundling.ops.deformable_attention import triton_kernel  # it imports Triton

            sample = triton_kernel.deformable_attention
        case "bag":
            sample = bag.deformable_attention
        case "grid":
            sample = grid.deformable_attention
    return sample(value_BSHC, level_shapes, location_BQHLP2, weight_BQHLP)


def implementation(device: torch.device) -> Implementation:
    """Say which implementation is used.

    * `triton`: on CUDA, where Triton is installed; torch brings it along on Linux.
    * `bag`: on CPUs. While a graph is traced there, `grid` is used, which compilers understand.
    * `grid`: everywhere else.

    Args:
        device: where the values are.
    """
    if device.type == "cuda" and HAS_TRITON:
        return "triton"
    if device.type == "cpu" and not is_traced():
        return "bag"
    return "grid"
