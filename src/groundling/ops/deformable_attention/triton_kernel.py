"""Multi-scale deformable attention on GPUs: Triton kernels, forward and backward.

This module is imported where it is used, because it imports Triton. Importing it registers the operators
`groundling::deformable_attention` and `groundling::deformable_attention_backward`, which torch.compile, torch.export
and CUDA graphs hold as they are; a saved program with them needs this import before it is loaded.

A program of the kernel computes one head of a few neighbouring queries: neighbours sample neighbouring cells, which
then come from the cache. A thread reads 16 bytes of a cell at a time. Levels and points are loops inside the program.
The sizes of the levels are plain arguments of the launch: nothing is copied to the device and the host never waits.

A kernel is compiled for the types and the model's constants (heads, width of a head, levels, points) when it is first
needed, and kept on disk by Triton; pictures and prompts of other sizes compile nothing. Block sizes follow from a rule
and not from tuning at run time, which would compile and time a dozen variants at the first call.

Shapes: B image, S image token, Q query, H head, C width of a head, L level, P point; 1 stands for a broadcast axis.
"""

# Triton reads the annotations of a kernel as its own language, so kernels have no Python types.
# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators

import warnings
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from groundling.errors import ConfigError, MissingExtraError

try:
    import triton
    import triton.language as tl

    triton.jit  # noqa: B018  (a folder of that name is importable too)
except (ImportError, AttributeError, RuntimeError) as error:
    raise MissingExtraError(
        f"Triton's kernels need the package 'triton', which cannot be imported ({error}). "
        "torch for CUDA on Linux brings it along. Install both again."
    ) from error

WARPS = 4
THREADS_PER_WARP = 32
BYTES_PER_THREAD = 16
"""A thread's share of a block: the widest load there is."""

LEVELS_PER_LAUNCH = 4
"""A kernel has a fixed number of arguments; more levels take more launches."""

LARGEST_INT32 = 2**31 - 1

DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float64)

_RUN_TIME_INTEGERS = ["queries", "tokens", "start", "h_0", "w_0", "h_1", "w_1", "h_2", "w_2", "h_3", "w_3"]
"""Integers for whose values (1, multiples of 16) Triton shall not compile kernels of their own."""


@triton.jit
def _of_level(level: tl.constexpr, of_0, of_1, of_2, of_3):
    """Choose one of four values by a level that is known when the kernel is compiled."""
    return of_0 if level == 0 else of_1 if level == 1 else of_2 if level == 2 else of_3


@triton.jit
def _program(queries, HEADS: tl.constexpr, BLOCK_Q: tl.constexpr):
    """First query, head and image of this program; the image in 64 bits, as it is multiplied by large numbers."""
    blocks = tl.cdiv(queries, BLOCK_Q)
    head_and_image = tl.program_id(0) // blocks
    return tl.program_id(0) % blocks * BLOCK_Q, head_and_image % HEADS, (head_and_image // HEADS).to(tl.int64)


@triton.jit
def _cell_before(location, size):
    """Find the last cell whose centre is not beyond a location along one axis, and the next cell's share (0..1).

    Where neither cell exists, the first is -2 and the share 0, or NaN for a location that is not finite.
    """
    place = location * size - 0.5
    reached = (place >= -1.0) & (place < size)
    before = tl.floor(tl.where(reached, place, -2.0))
    return before.to(tl.int32), tl.where(reached, place - before, place * 0.0)


@triton.jit(do_not_specialize=_RUN_TIME_INTEGERS)
def _forward_kernel(  # noqa: PLR0913
    value_BSHC, location_BQHLP2, weight_BQHLP, output_BQHC,
    queries, tokens, start, h_0, w_0, h_1, w_1, h_2, w_2, h_3, w_3,
    HEADS: tl.constexpr, CHANNELS: tl.constexpr, LEVELS: tl.constexpr, POINTS: tl.constexpr,
    FIRST_LEVEL: tl.constexpr, LEVELS_HERE: tl.constexpr,
    COMPUTE: tl.constexpr, OFFSET: tl.constexpr, BLOCK_Q: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    """Sum of the samples of some levels; from the second launch on it is added to what is there."""
    first_query, head, image = _program(queries, HEADS, BLOCK_Q)
    first_row = (image * queries + first_query) * HEADS + head
    row_Q1 = tl.arange(0, BLOCK_Q)[:, None]
    channel_1C = tl.arange(0, BLOCK_C)[None, :]
    exists_Q1 = first_query + row_Q1 < queries
    exists_QC = exists_Q1 & (channel_1C < CHANNELS)
    sample_Q1 = first_row * (LEVELS * POINTS) + row_Q1 * (HEADS * LEVELS * POINTS) + FIRST_LEVEL * POINTS
    output_QC = output_BQHC + first_row * CHANNELS + row_Q1 * (HEADS * CHANNELS) + channel_1C
    value_1C = value_BSHC + (image * tokens * HEADS + head) * CHANNELS + channel_1C

    total_QC = tl.zeros([BLOCK_Q, BLOCK_C], COMPUTE)
    for level in tl.static_range(LEVELS_HERE):
        height = _of_level(level, h_0, h_1, h_2, h_3)
        width = _of_level(level, w_0, w_1, w_2, w_3)
        for point in range(POINTS):
            n_Q1 = sample_Q1 + level * POINTS + point
            x_Q1 = tl.load(location_BQHLP2 + 2 * n_Q1, exists_Q1, 0.0).to(COMPUTE)
            y_Q1 = tl.load(location_BQHLP2 + 2 * n_Q1 + 1, exists_Q1, 0.0).to(COMPUTE)
            weight_Q1 = tl.load(weight_BQHLP + n_Q1, exists_Q1, 0.0).to(COMPUTE)
            left_Q1, x_share_Q1 = _cell_before(x_Q1, width)
            top_Q1, y_share_Q1 = _cell_before(y_Q1, height)
            for corner in tl.static_range(4):
                column = left_Q1 + corner % 2
                row = top_Q1 + corner // 2
                inside = exists_QC & (row >= 0) & (row < height) & (column >= 0) & (column < width)
                cell = (start + row * width + column).to(OFFSET)
                value_QC = tl.load(value_1C + cell * (HEADS * CHANNELS), inside, 0.0).to(COMPUTE)
                x_part = x_share_Q1 if corner % 2 else 1.0 - x_share_Q1
                y_part = y_share_Q1 if corner // 2 else 1.0 - y_share_Q1
                total_QC += weight_Q1 * x_part * y_part * value_QC
        start += height * width
    if FIRST_LEVEL > 0:
        total_QC += tl.load(output_QC, exists_QC, 0.0)
    tl.store(output_QC, total_QC.to(output_BQHC.dtype.element_ty), exists_QC)


@triton.jit(do_not_specialize=_RUN_TIME_INTEGERS)
def _backward_kernel(  # noqa: PLR0913
    gradient_BQHC, value_BSHC, location_BQHLP2, weight_BQHLP,
    value_gradient_BSHC, location_gradient_BQHLP2, weight_gradient_BQHLP,
    queries, tokens, start, h_0, w_0, h_1, w_1, h_2, w_2, h_3, w_3,
    HEADS: tl.constexpr, CHANNELS: tl.constexpr, LEVELS: tl.constexpr, POINTS: tl.constexpr,
    FIRST_LEVEL: tl.constexpr, LEVELS_HERE: tl.constexpr,
    COMPUTE: tl.constexpr, OFFSET: tl.constexpr, BLOCK_Q: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    """Gradients of the samples of some levels; those of the values are added to what is there."""
    first_query, head, image = _program(queries, HEADS, BLOCK_Q)
    first_row = (image * queries + first_query) * HEADS + head
    row_Q1 = tl.arange(0, BLOCK_Q)[:, None]
    channel_1C = tl.arange(0, BLOCK_C)[None, :]
    exists_Q1 = first_query + row_Q1 < queries
    exists_QC = exists_Q1 & (channel_1C < CHANNELS)
    sample_Q1 = first_row * (LEVELS * POINTS) + row_Q1 * (HEADS * LEVELS * POINTS) + FIRST_LEVEL * POINTS
    row_QC = first_row * CHANNELS + row_Q1 * (HEADS * CHANNELS) + channel_1C
    head_1C = (image * tokens * HEADS + head) * CHANNELS + channel_1C
    gradient_QC = tl.load(gradient_BQHC + row_QC, exists_QC, 0.0).to(COMPUTE)

    for level in tl.static_range(LEVELS_HERE):
        height = _of_level(level, h_0, h_1, h_2, h_3)
        width = _of_level(level, w_0, w_1, w_2, w_3)
        for point in range(POINTS):
            n_Q1 = sample_Q1 + level * POINTS + point
            x_Q1 = tl.load(location_BQHLP2 + 2 * n_Q1, exists_Q1, 0.0).to(COMPUTE)
            y_Q1 = tl.load(location_BQHLP2 + 2 * n_Q1 + 1, exists_Q1, 0.0).to(COMPUTE)
            weight_Q1 = tl.load(weight_BQHLP + n_Q1, exists_Q1, 0.0).to(COMPUTE)
            left_Q1, x_share_Q1 = _cell_before(x_Q1, width)
            top_Q1, y_share_Q1 = _cell_before(y_Q1, height)
            sample = tl.zeros([BLOCK_Q, 1], COMPUTE)  # the sample, and its slopes from cell to cell, times the gradient
            x_slope = tl.zeros([BLOCK_Q, 1], COMPUTE)
            y_slope = tl.zeros([BLOCK_Q, 1], COMPUTE)
            for corner in tl.static_range(4):
                column = left_Q1 + corner % 2
                row = top_Q1 + corner // 2
                inside = exists_QC & (row >= 0) & (row < height) & (column >= 0) & (column < width)
                place_QC = head_1C + (start + row * width + column).to(OFFSET) * (HEADS * CHANNELS)
                x_part = x_share_Q1 if corner % 2 else 1.0 - x_share_Q1
                y_part = y_share_Q1 if corner // 2 else 1.0 - y_share_Q1
                value_QC = tl.load(value_BSHC + place_QC, inside, 0.0).to(COMPUTE)
                product_Q1 = tl.sum(gradient_QC * value_QC, axis=1, keep_dims=True)
                sample += x_part * y_part * product_Q1
                x_slope += (y_part if corner % 2 else -y_part) * product_Q1
                y_slope += (x_part if corner // 2 else -x_part) * product_Q1
                tl.atomic_add(
                    value_gradient_BSHC + place_QC, weight_Q1 * x_part * y_part * gradient_QC, inside, sem="relaxed"
                )
            element = location_gradient_BQHLP2.dtype.element_ty
            tl.store(location_gradient_BQHLP2 + 2 * n_Q1, (weight_Q1 * width * x_slope).to(element), exists_Q1)
            tl.store(location_gradient_BQHLP2 + 2 * n_Q1 + 1, (weight_Q1 * height * y_slope).to(element), exists_Q1)
            tl.store(weight_gradient_BQHLP + n_Q1, sample.to(weight_gradient_BQHLP.dtype.element_ty), exists_Q1)
        start += height * width


INTERPRETED = not isinstance(_forward_kernel, triton.runtime.JITFunction)
"""Whether the kernels run in Triton's interpreter: TRITON_INTERPRET was 1 when this module was imported."""


def deformable_attention(
    value_BSHC: Tensor, level_shapes: list[tuple[int, int]], location_BQHLP2: Tensor, weight_BQHLP: Tensor
) -> Tensor:
    """Sample each level at a few points for each query and head, and add the samples up by weight.

    Gradients of the values are added up by atomic additions in float32, in the order in which programs happen to come:
    two runs differ by rounding. The sum itself and the other gradients are the same in each run.

    Args:
        value_BSHC: values of all levels, level after level, row by row: float16, bfloat16, float32 or float64.
        level_shapes: (height, width) of each level; their products sum to S.
        location_BQHLP2: where to sample, (x, y) in 0..1 of each level; bilinear, zero outside. float32 tells the cells
            of a large map apart, half precision does not.
        weight_BQHLP: weights, which sum to 1 over levels and points.

    Returns:
        The weighted sums with the heads side by side, [B, Q, H * C], in the type of the values, computed in float32
        (float64 for values of float64).

    Raises:
        ConfigError: the tensors are not on one CUDA device (any one device with TRITON_INTERPRET=1), have another type,
            or do not fit together; or torch is asked for deterministic algorithms and gradients are computed.
    """
    sizes = list(chain.from_iterable(level_shapes))
    output_BQD: Tensor = _forward(value_BSHC, sizes, location_BQHLP2, weight_BQHLP)
    return output_BQD


@torch.library.custom_op(
    "groundling::deformable_attention",
    mutates_args=(),
    schema="(Tensor value, SymInt[] level_sizes, Tensor location, Tensor weight) -> Tensor",
)
def _forward(value: Tensor, level_sizes: Sequence[int], location: Tensor, weight: Tensor) -> Tensor:
    _check(value, level_sizes, location, weight)
    batch, _, heads, channels = value.shape
    queries = location.shape[1]
    dtype = value.dtype
    if len(level_sizes) > 2 * LEVELS_PER_LAUNCH:  # launches add to what the one before has written
        dtype = torch.promote_types(dtype, torch.float32)
    output = torch.empty(batch, queries, heads * channels, dtype=dtype, device=value.device)
    if value.numel() == 0 or weight.numel() == 0:
        return output.zero_().to(value.dtype)
    tensors = (value.contiguous(), location.contiguous(), weight.contiguous(), output)
    _launch(_forward_kernel, tensors, value, level_sizes, location, value.element_size())
    return output.to(value.dtype)


@_forward.register_fake
def _(value: Tensor, level_sizes: Sequence[int], location: Tensor, weight: Tensor) -> Tensor:
    return value.new_empty(value.shape[0], location.shape[1], value.shape[2] * value.shape[3])


@torch.library.custom_op(
    "groundling::deformable_attention_backward",
    mutates_args=(),
    schema="(Tensor gradient, Tensor value, SymInt[] level_sizes, Tensor location, Tensor weight)"
    " -> (Tensor, Tensor, Tensor)",
)
def _backward(
    gradient: Tensor, value: Tensor, level_sizes: Sequence[int], location: Tensor, weight: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    _check_determinism()
    total = torch.promote_types(value.dtype, torch.float32)
    value_gradient = torch.zeros(value.shape, dtype=total, device=value.device)
    location_gradient = torch.empty(location.shape, dtype=location.dtype, device=value.device)
    weight_gradient = torch.empty(weight.shape, dtype=weight.dtype, device=value.device)
    if value.numel() == 0:
        location_gradient.zero_()
        weight_gradient.zero_()
    elif weight.numel() > 0:
        inputs = (gradient.contiguous(), value.contiguous(), location.contiguous(), weight.contiguous())
        outputs = (value_gradient, location_gradient, weight_gradient)
        # The additions are the widest access here; values in another layout than theirs would change it at a barrier.
        _launch(_backward_kernel, (*inputs, *outputs), value, level_sizes, location, value_gradient.element_size())
    return value_gradient.to(value.dtype), location_gradient, weight_gradient


@_backward.register_fake
def _(
    gradient: Tensor, value: Tensor, level_sizes: Sequence[int], location: Tensor, weight: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    return value.new_empty(value.shape), location.new_empty(location.shape), weight.new_empty(weight.shape)


def _keep_inputs(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    value, ctx.level_sizes, location, weight = inputs
    ctx.save_for_backward(value, location, weight)


def _differentiate(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, Tensor, Tensor]:
    value, location, weight = ctx.saved_tensors
    of_value, of_location, of_weight = _backward(gradient, value, ctx.level_sizes, location, weight)
    return of_value, None, of_location, of_weight


_forward.register_autograd(_differentiate, setup_context=_keep_inputs)


def _launch(
    kernel: Any,
    tensors: tuple[Tensor, ...],
    value: Tensor,
    level_sizes: Sequence[int],
    location: Tensor,
    element_size: int,
) -> None:
    """Start a kernel on the device and stream of the values, once for each few levels.

    A block is as large as its threads' shares of `BYTES_PER_THREAD`, with elements of `element_size` bytes.
    """
    batch, tokens, heads, channels = value.shape
    _, queries, _, levels, points, _ = location.shape
    block_c = triton.next_power_of_2(channels)
    block_q = max(1, WARPS * THREADS_PER_WARP * BYTES_PER_THREAD // (element_size * block_c))
    grid = (triton.cdiv(queries, block_q) * heads * batch,)
    with torch.cuda.device_of(value):  # type: ignore[no-untyped-call]
        for start, first, sizes in _groups(level_sizes):
            kernel[grid](
                *tensors, queries, tokens, start, *sizes, *[1] * (2 * LEVELS_PER_LAUNCH - len(sizes)),
                HEADS=heads, CHANNELS=channels, LEVELS=levels, POINTS=points,
                FIRST_LEVEL=first, LEVELS_HERE=len(sizes) // 2,
                COMPUTE=tl.float64 if value.dtype == torch.float64 else tl.float32,
                OFFSET=tl.int32 if tokens * heads * channels <= LARGEST_INT32 else tl.int64,
                BLOCK_Q=block_q, BLOCK_C=block_c, num_warps=WARPS, enable_fp_fusion=True,
            )  # fmt: skip


def _groups(level_sizes: Sequence[int]) -> Iterator[tuple[int, int, Sequence[int]]]:
    """Yield the first token, the first level, and the heights and widths of a few levels at a time."""
    start = 0
    for first in range(0, len(level_sizes) // 2, LEVELS_PER_LAUNCH):
        sizes = level_sizes[2 * first : 2 * (first + LEVELS_PER_LAUNCH)]
        yield start, first, sizes
        start += sum(height * width for height, width in zip(sizes[::2], sizes[1::2], strict=True))


def _check(value: Tensor, level_sizes: Sequence[int], location: Tensor, weight: Tensor) -> None:
    """Check what a kernel relies on: with other shapes it would read and write where it must not."""
    tensors = {"values": value, "locations": location, "weights": weight}
    if value.device.type != "cuda" and not INTERPRETED:
        raise ConfigError(
            f"Triton's kernels run on CUDA devices, but the values are on {value.device}. "
            "groundling.ops.deformable_attention chooses by the device; TRITON_INTERPRET=1, set before Python starts, "
            "lets the kernels run slowly anywhere."
        )
    for name, tensor in tensors.items():
        if tensor.dtype not in DTYPES:
            raise ConfigError(f"The {name} are {tensor.dtype}, but must be one of {', '.join(map(str, DTYPES))}.")
        if tensor.device != value.device:
            raise ConfigError(f"The {name} are on {tensor.device}, but the values on {value.device}. Use one device.")
    levels = len(level_sizes) // 2
    tokens = sum(height * width for height, width in zip(level_sizes[::2], level_sizes[1::2], strict=True))
    fits = value.ndim == 4 and location.ndim == 6 and location.shape[:-1] == weight.shape and location.shape[5] == 2
    if not (
        fits
        and (location.shape[0], location.shape[2]) == (value.shape[0], value.shape[2])
        and (location.shape[3], value.shape[1]) == (levels, tokens)
        and min(level_sizes, default=0) >= 0
    ):
        shapes = ", ".join(f"{name} {list(tensor.shape)}" for name, tensor in tensors.items())
        raise ConfigError(
            f"{shapes} and {levels} levels of {tokens} tokens do not fit together. "
            "They must be [B, S, H, C], [B, Q, H, L, P, 2], [B, Q, H, L, P], L levels and S tokens."
        )


def _check_determinism() -> None:
    if not torch.are_deterministic_algorithms_enabled():
        return
    message = "Triton's gradients of deformable attention are not deterministic: atomic additions come in any order."
    if not torch.is_deterministic_algorithms_warn_only_enabled():
        raise ConfigError(f"{message} Allow it with torch.use_deterministic_algorithms(True, warn_only=True).")
    warnings.warn(message, stacklevel=2)
