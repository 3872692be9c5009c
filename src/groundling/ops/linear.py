"""Matrix products of many tokens with a weight."""

import torch
from torch import Tensor
from torch.nn import functional as F

FEWEST_ROWS = 256
"""With fewer rows than this, arranging the weight costs more than is won."""


def linear(x: Tensor, weight_OI: Tensor, bias_O: Tensor | None) -> Tensor:
    """Return x Wᵀ + b over the last axis of x [..., I], as [..., O].

    In float32 on a CPU, `torch.nn.functional.linear` calls the BLAS library that torch was built with, but a 1 × 1
    convolution, which is the same product, calls oneDNN. That is up to 1.8 times as fast on AMD processors, where the
    usual BLAS (MKL) does not use all that they have, and as fast on Intel ones.
    """
    if not _by_convolution(x, weight_OI):
        return F.linear(x, weight_OI, bias_O)
    pixel_1IN1 = x.reshape(1, -1, 1, x.shape[-1]).permute(0, 3, 1, 2)
    result_1ON1 = F.conv2d(pixel_1IN1, weight_OI[:, :, None, None], bias_O)
    return result_1ON1.permute(0, 2, 3, 1).reshape(*x.shape[:-1], weight_OI.shape[0])


def _by_convolution(x: Tensor, weight_OI: Tensor) -> bool:
    if torch.compiler.is_compiling():
        return False
    return bool(
        x.dtype == weight_OI.dtype == torch.float32
        and x.device.type == "cpu"
        and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        and torch.backends.mkldnn.enabled
        and x.numel() >= FEWEST_ROWS * x.shape[-1]
        and not torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
    )
