"""Multi-scale deformable attention (Zhu et al. 2021, equation 3), the sampling part."""

from groundling.ops.deformable_attention.grid import deformable_attention

__all__ = ["deformable_attention"]
