"""Multi-scale deformable attention (Zhu et al. 2021, equation 3), the sampling part.

Shapes: B image, S image token, Q query, H head, C width of a head, L level, P point.
"""

import torch
from torch import Tensor
from torch.nn import functional as F


def deformable_attention(
    value_BSHC: Tensor, level_shapes: list[tuple[int, int]], location_BQHLP2: Tensor, weight_BQHLP: Tensor
) -> Tensor:
    """Sample each level at a few points for each query and head, and add the samples up by weight.

    See `groundling.ops.deformable_attention`. The sums are computed in float32 at least: torch's sampling in half
    precision returns garbage on CPUs.
    """
    batch, _, heads, channels = value_BSHC.shape
    queries, points = location_BQHLP2.shape[1], location_BQHLP2.shape[4]
    dtype = value_BSHC.dtype
    value_BSHC, location_BQHLP2, weight_BQHLP = map(_at_least_float32, (value_BSHC, location_BQHLP2, weight_BQHLP))
    grid_BQHLP2 = 2 * location_BQHLP2 - 1
    samples = []
    sizes = [height * width for height, width in level_shapes]
    for level, (shape, value_BNHC) in enumerate(zip(level_shapes, torch.split(value_BSHC, sizes, dim=1), strict=True)):
        map_GCN = value_BNHC.permute(0, 2, 3, 1).reshape(batch * heads, channels, *shape)
        grid_GQP2 = grid_BQHLP2[:, :, :, level].transpose(1, 2).reshape(batch * heads, queries, points, 2)
        samples.append(F.grid_sample(map_GCN, grid_GQP2, mode="bilinear", padding_mode="zeros", align_corners=False))
    sample_GCQN = torch.cat(samples, dim=-1)
    weight_G1QN = weight_BQHLP.transpose(1, 2).flatten(3).flatten(0, 1)[:, None]
    sum_GCQ = (sample_GCQN * weight_G1QN).sum(dim=-1)
    return sum_GCQ.view(batch, heads * channels, queries).transpose(1, 2).to(dtype)


def _at_least_float32(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))
