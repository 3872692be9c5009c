"""Working through many tokens a few at a time, so that what lies between stays in the processor's cache."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from groundling.ops.tracing import is_traced

ROWS = 2048
"""Tokens at a time: their widest activations (2,048 numbers each) still fit in a cache of 16 MB, and matrix products of
this height are as fast as larger ones."""


def goes_in_chunks(x_BND: Tensor) -> bool:
    """Say whether tokens [B, N, ...] are handled a few at a time: many tokens on a CPU, where nothing is recorded."""
    return not torch.is_grad_enabled() and _are_many(x_BND)


def in_chunks(function: Callable[..., Tensor], *inputs_BN: Tensor, recompute: bool = False) -> Tensor:
    """Apply a function that treats each token by itself to chunks of tokens, and join the results.

    On a CPU this saves the memory of large intermediate results, and the time to fetch it from the system. Where a
    graph is traced, and on other devices, all tokens are handed over at once.

    Args:
        function: takes slices [B, n, ...] of the inputs and returns [B, n, ...].
        *inputs_BN: tensors [B, N, ...].
        recompute: what to do where gradients are recorded: hand over all tokens at once, or forget what lies between
            and compute it again for the gradients (Chen et al. 2016), which `torch.func` cannot follow.

    Returns:
        The result for all tokens, [B, N, ...].
    """
    if not (goes_in_chunks(inputs_BN[0]) or (recompute and _are_many(inputs_BN[0]))):
        return function(*inputs_BN)
    step = max(ROWS // inputs_BN[0].shape[0], 1)
    chunks = zip(*(torch.split(x_BN, step, dim=1) for x_BN in inputs_BN), strict=True)
    if torch.is_grad_enabled():
        return torch.cat([checkpoint(function, *chunk, use_reentrant=False) for chunk in chunks], dim=1)
    output_BN, done = None, 0
    for chunk in chunks:
        result_Bn = function(*chunk)
        if output_BN is None:
            output_BN = result_Bn.new_empty(*inputs_BN[0].shape[:2], *result_Bn.shape[2:])
        output_BN[:, done : done + result_Bn.shape[1]] = result_Bn
        done += result_Bn.shape[1]
    assert output_BN is not None
    return output_BN


def _are_many(x_BND: Tensor) -> bool:
    return x_BND.device.type == "cpu" and not is_traced() and x_BND.shape[0] * x_BND.shape[1] > ROWS
