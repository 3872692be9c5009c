"""Working through many tokens a few at a time, so that what lies between stays in the processor's cache."""

from collections.abc import Callable

import torch
from torch import Tensor

ROWS = 2048
"""Tokens at a time: their widest activations (2,048 numbers each) still fit in a cache of 16 MB, and matrix products of
this height are as fast as larger ones."""


def goes_in_chunks(x_BND: Tensor) -> bool:
    """Say whether tokens [B, N, ...] are handled a few at a time: many tokens on a CPU, where nothing is recorded."""
    recorded = torch.is_grad_enabled() or torch.compiler.is_compiling()
    return not recorded and x_BND.device.type == "cpu" and x_BND.shape[0] * x_BND.shape[1] > ROWS


def in_chunks(function: Callable[..., Tensor], *inputs_BN: Tensor) -> Tensor:
    """Apply a function that treats each token by itself to chunks of tokens, and join the results.

    On a CPU this saves the memory of large intermediate results, and the time to fetch it from the system. Where
    gradients are recorded, where a graph is traced, and on other devices all tokens are handed over at once.

    Args:
        function: takes slices [B, n, ...] of the inputs and returns [B, n, ...].
        *inputs_BN: tensors [B, N, ...].

    Returns:
        The result for all tokens, [B, N, ...].
    """
    if not goes_in_chunks(inputs_BN[0]):
        return function(*inputs_BN)
    batch, tokens = inputs_BN[0].shape[:2]
    step = max(ROWS // batch, 1)
    first_Bn = function(*(x_BN[:, :step] for x_BN in inputs_BN))
    output_BN = first_Bn.new_empty(batch, tokens, *first_Bn.shape[2:])
    output_BN[:, :step] = first_Bn
    for start in range(step, tokens, step):
        chunk = slice(start, start + step)
        output_BN[:, chunk] = function(*(x_BN[:, chunk] for x_BN in inputs_BN))
    return output_BN
