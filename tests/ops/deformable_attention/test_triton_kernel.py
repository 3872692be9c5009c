"""Triton kernels of deformable attention.

They run on a GPU where there is one, and else in Triton's interpreter, which must be asked for before Triton is
imported: `test_triton_interpreted.py` runs this file in a process of its own.
"""

import os
from importlib.util import find_spec

import pytest
import torch
from torch import Tensor

from groundling.errors import ConfigError
from groundling.ops.deformable_attention.grid import deformable_attention as grid
from reference.deformable_attention import deformable_attention as naive
from reference.deformable_attention_gradients import gradients as naive_gradients

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = "cuda" if torch.cuda.is_available() and not INTERPRETED else "cpu"

pytestmark = [
    pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed"),
    pytest.mark.skipif(DEVICE == "cpu" and not INTERPRETED, reason="test_triton_interpreted.py runs it without a GPU"),
]
needs_cuda = pytest.mark.skipif(DEVICE != "cuda", reason="needs a GPU")

Levels = list[tuple[int, int]]
Inputs = tuple[Tensor, Tensor, Tensor]


def deformable_attention(value: Tensor, levels: Levels, location: Tensor, weight: Tensor) -> Tensor:
    from groundling.ops.deformable_attention.triton_kernel import deformable_attention as of_triton

    return of_triton(value, levels, location, weight)


def sample(
    levels: Levels,
    *,
    batch: int = 1,
    queries: int = 3,
    heads: int = 2,
    channels: int = 4,
    points: int = 2,
    dtype: torch.dtype = torch.float64,
) -> Inputs:
    """Random inputs; locations and weights are float32 at least. Four in ten locations lie outside along an axis."""
    torch.manual_seed(len(levels) + 10 * points + channels)
    other = torch.promote_types(dtype, torch.float32)
    value = torch.randn(batch, sum(height * width for height, width in levels), heads, channels, dtype=torch.float64)
    location = torch.rand(batch, queries, heads, len(levels), points, 2, dtype=torch.float64) * 1.4 - 0.2
    weight = torch.rand(batch, queries, heads, len(levels), points, dtype=torch.float64)
    weight /= weight.sum((-1, -2), keepdim=True)
    return value.to(DEVICE, dtype), location.to(DEVICE, other), weight.to(DEVICE, other)


def check(levels: Levels, inputs: Inputs, rtol: float, atol: float) -> None:
    """Compare the result and all gradients with the naive versions, which compute with the same inputs in float64."""
    value, location, weight = (x.detach().clone().requires_grad_() for x in inputs)
    found = deformable_attention(value, levels, location, weight)
    assert found.dtype == value.dtype
    gradient = torch.randn(found.shape, dtype=torch.float64).to(found)
    found.backward(gradient)
    exact = [x.detach().cpu().double() for x in (value, location, weight)]
    expected = (
        naive(exact[0], levels, *exact[1:]),
        *naive_gradients(gradient.cpu(), exact[0], levels, *exact[1:]),
    )
    for one, other in zip((found, value.grad, location.grad, weight.grad), expected, strict=True):
        assert one is not None
        torch.testing.assert_close(one.detach().cpu().double(), other, rtol=rtol, atol=atol)


SHAPES = [
    pytest.param([(2, 3)], {"queries": 0}, id="no queries"),
    pytest.param([(2, 3)], {"batch": 0}, id="no pictures"),
    pytest.param([(2, 3)], {"points": 0}, id="no points"),
    pytest.param([], {}, id="no levels"),
    pytest.param([(1, 1)], {"heads": 1, "channels": 1, "points": 1}, id="one of everything"),
    pytest.param([(1, 7), (5, 1)], {}, id="a row and a column"),
    pytest.param([(4, 3), (2, 2), (1, 1)], {"heads": 3, "channels": 5, "points": 3, "batch": 2}, id="all odd"),
    pytest.param([(2, 3)] * 5, {"queries": 2, "heads": 1, "points": 1}, id="more levels than a launch takes"),
    pytest.param([(3, 2)], {"channels": 33, "queries": 9, "heads": 1}, id="a wide head, two blocks of queries"),
]


@pytest.mark.parametrize(("levels", "sizes"), SHAPES)
def test_equals_the_naive_version(levels: Levels, sizes: dict[str, int]) -> None:
    check(levels, sample(levels, **sizes), rtol=1e-12, atol=1e-12)


def test_a_map_without_cells_gives_zeros() -> None:
    inputs = [x.requires_grad_() for x in sample([(0, 3)])]
    found = deformable_attention(inputs[0], [(0, 3)], *inputs[1:])
    found.sum().backward()
    for x in (found, *(x.grad for x in inputs)):
        assert x is not None
        assert not x.any()


@pytest.mark.parametrize(
    ("dtype", "rtol", "atol"),
    [
        # A result is rounded once to the type of the values: 10 bits of a float16, 7 of a bfloat16. What is computed
        # in float32 has some rounding errors of numbers near one.
        pytest.param(torch.float32, 1e-5, 1e-5, id="float32"),
        pytest.param(torch.float16, 2**-10, 1e-5, id="float16"),
        pytest.param(torch.bfloat16, 2**-7, 1e-5, id="bfloat16"),
    ],
)
def test_types(dtype: torch.dtype, rtol: float, atol: float) -> None:
    levels = [(5, 3), (2, 2)]
    check(levels, sample(levels, channels=8, dtype=dtype), rtol=rtol, atol=atol)


def test_levels_of_several_launches_are_rounded_once() -> None:
    levels = [(2, 3)] * 5
    inputs = sample(levels, queries=2, heads=1, points=1, dtype=torch.bfloat16)
    check(levels, inputs, rtol=2**-7, atol=1e-5)


def test_weights_and_locations_of_half_precision() -> None:
    value, location, weight = sample([(4, 4)], dtype=torch.bfloat16)
    check([(4, 4)], (value, location.bfloat16(), weight.bfloat16()), rtol=2**-7, atol=1e-5)


@pytest.mark.parametrize(
    "place",
    [
        pytest.param(-1e30, id="far before"),
        pytest.param(-0.25, id="a quarter before"),
        pytest.param(-0.125, id="centre of the cell before the first"),
        pytest.param(0.0, id="edge"),
        pytest.param(0.125, id="centre of the first"),
        pytest.param(0.25, id="between two cells"),
        pytest.param(0.875, id="centre of the last"),
        pytest.param(1.0, id="other edge"),
        pytest.param(1.125, id="centre of the cell after the last"),
        pytest.param(1e30, id="far behind"),
    ],
)
def test_borders(place: float) -> None:
    """Along both axes of a map of 4 x 4 cells."""
    value, location, weight = sample([(4, 4)], queries=1, heads=1, points=2)
    location[..., 0, 0] = location[..., 1, 1] = place
    check([(4, 4)], (value, location, weight), rtol=1e-12, atol=1e-12)


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # of NumPy, in the interpreter
@pytest.mark.parametrize("place", [torch.nan, torch.inf, -torch.inf])
def test_a_location_that_is_not_finite_shows_in_its_query_alone(place: float) -> None:
    value, location, weight = sample([(4, 4)], queries=3, heads=1)
    location[0, 1, 0, 0, 1, 0] = place
    value.requires_grad_()
    found = deformable_attention(value, [(4, 4)], location, weight)
    assert found.isnan().all(dim=-1).tolist() == [[False, True, False]]
    found[:, 0].sum().backward()
    assert value.grad is not None
    assert value.grad.isfinite().all()


def test_gradcheck() -> None:
    levels = [(3, 2), (1, 2)]
    value, location, weight = sample(levels, queries=2, heads=1, channels=2)
    inputs = tuple(x.requires_grad_() for x in (value, location, weight))
    sampling = lambda *x: deformable_attention(x[0], levels, *x[1:])  # noqa: E731
    # Atomic additions come in any order on a GPU.
    assert torch.autograd.gradcheck(sampling, inputs, fast_mode=True, nondet_tol=0.0 if DEVICE == "cpu" else 1e-9)


def test_inputs_that_are_not_contiguous() -> None:
    levels = [(3, 2)]
    inputs = tuple(x.transpose(0, -1).contiguous().transpose(0, -1) for x in sample(levels))
    assert not any(x.is_contiguous() for x in inputs)
    check(levels, inputs, rtol=1e-12, atol=1e-12)


def test_offsets_of_64_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    from groundling.ops.deformable_attention import triton_kernel

    monkeypatch.setattr(triton_kernel, "LARGEST_INT32", 0)
    check([(3, 2), (2, 2)], sample([(3, 2), (2, 2)], batch=2), rtol=1e-12, atol=1e-12)


def test_the_operators_keep_the_rules_of_torch() -> None:
    """Schema, fake tensors, gradients and dynamic shapes, as torch.compile and torch.export rely on them."""
    from groundling.ops.deformable_attention import triton_kernel

    inputs = sample([(3, 2), (1, 2)], queries=2, heads=1, channels=2)
    value, location, weight = (x.requires_grad_() for x in inputs)
    torch.library.opcheck(triton_kernel._forward, (value, [3, 2, 1, 2], location, weight))
    gradient = torch.ones(1, 2, 2, dtype=value.dtype, device=DEVICE)
    value, location, weight = (x.detach() for x in inputs)
    torch.library.opcheck(triton_kernel._backward, (gradient, value, [3, 2, 1, 2], location, weight))


class Sampling(torch.nn.Module):
    def forward(self, value: Tensor, location: Tensor, weight: Tensor) -> Tensor:
        return deformable_attention(2 * value, [(3, 2), (1, 2)], location, weight) + 1


def test_compiled_and_exported() -> None:
    from groundling.ops.deformable_attention import triton_kernel  # noqa: F401  (registers the operators)

    inputs = tuple(x.requires_grad_() for x in sample([(3, 2), (1, 2)]))
    results = []
    for module in (Sampling(), torch.compile(Sampling(), backend="aot_eager", fullgraph=True)):
        result = module(*inputs)
        results.append((result, *torch.autograd.grad(result.square().sum(), inputs)))
    torch.testing.assert_close(results[1], results[0])
    program = torch.export.export(Sampling(), tuple(x.detach() for x in inputs))
    assert [str(n.target) for n in program.graph.nodes if "groundling" in str(n.target)] == [
        "groundling.deformable_attention.default"
    ]
    torch.testing.assert_close(program.module()(*(x.detach() for x in inputs)), results[0][0].detach())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({"value": lambda x: x.int()}, "The values are torch.int32, but must be one of torch.f", id="type"),
        pytest.param(
            {"weight": lambda x: x.cpu()}, "The weights are on cpu, but the values on", id="device", marks=needs_cuda
        ),
        pytest.param({"value": lambda x: x[:, :-1]}, r"values \[1, 5, 2, 4\], .* 1 levels of 6 tokens", id="cell"),
        pytest.param({"value": lambda x: x.flatten(2)}, "do not fit together. They must be", id="values without heads"),
        pytest.param({"location": lambda x: x[:, :-1]}, "do not fit together", id="query"),
        pytest.param({"location": lambda x: x[..., :1]}, "do not fit together", id="x alone"),
        pytest.param({"weight": lambda x: x[..., :-1]}, "do not fit together", id="point"),
        pytest.param({"value": lambda x: x[:, :, :1]}, "do not fit together", id="head"),
        pytest.param({"levels": lambda x: [(3, 1), (3, 1)]}, "2 levels of 6 tokens do not fit", id="level"),
        pytest.param({"levels": lambda x: [(-2, -3)]}, "do not fit together", id="negative"),
    ],
)
def test_what_cannot_be_computed_is_refused(change: dict, message: str) -> None:
    value, location, weight = sample([(2, 3)])
    inputs = {"value": value, "levels": [(2, 3)], "location": location, "weight": weight}
    for name, changed in change.items():
        inputs[name] = changed(inputs[name])
    with pytest.raises(ConfigError, match=message):
        deformable_attention(**inputs)


def test_deterministic_algorithms() -> None:
    value, location, weight = sample([(2, 3)], heads=1, queries=1, points=1)
    result = deformable_attention(value.requires_grad_(), [(2, 3)], location, weight).sum()
    torch.use_deterministic_algorithms(True)
    try:
        with pytest.raises(ConfigError, match="not deterministic"):
            result.backward(retain_graph=True)
        torch.use_deterministic_algorithms(True, warn_only=True)
        with pytest.warns(UserWarning, match="not deterministic"):
            result.backward()
    finally:
        torch.use_deterministic_algorithms(False)


# What only a GPU can show


LARGE = [(100, 134), (50, 67), (25, 34), (13, 17)]


@needs_cuda
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_many_programs(dtype: torch.dtype) -> None:
    """The sizes of a picture of 800 x 1066 pixels, against sampling in float64."""
    inputs = sample(LARGE, batch=2, queries=17821, heads=8, channels=32, points=4, dtype=dtype)
    ours = [x.detach().requires_grad_() for x in inputs]
    exact = [x.detach().double().requires_grad_() for x in inputs]
    found, expected = deformable_attention(ours[0], LARGE, *ours[1:]), grid(exact[0], LARGE, *exact[1:])
    gradient = torch.randn_like(found)
    found.backward(gradient)
    expected.backward(gradient.double())
    rtol = max(torch.finfo(dtype).eps, 1e-4)
    torch.testing.assert_close(found.double(), expected, rtol=rtol, atol=1e-4)
    for one, other in zip(ours, exact, strict=True):
        # A location next to the centre of a cell may fall on its other side in float32, where the slope is another.
        assert (one.grad.double() - other.grad).abs().gt(2e-3 + 2e-2 * other.grad.abs()).float().mean() < 1e-3


@needs_cuda
def test_more_values_than_32_bits_count() -> None:
    levels, channels = [(1024, 1024)], 1025
    value = torch.zeros(1, 1024 * 1024, 2, channels, dtype=torch.float16, device=DEVICE)
    value[:, -1] = 1.0
    location = torch.ones(1, 1, 2, 1, 1, 2, device=DEVICE) - 0.5 / 1024
    found = deformable_attention(value, levels, location, torch.ones(1, 1, 2, 1, 1, device=DEVICE))
    assert found.unique().tolist() == [1.0]


@needs_cuda
def test_the_host_never_waits() -> None:
    inputs = [x.requires_grad_() for x in sample([(8, 8), (4, 4)], channels=32, dtype=torch.float32)]
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        deformable_attention(inputs[0], [(8, 8), (4, 4)], *inputs[1:]).sum().backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")


@needs_cuda
def test_in_a_cuda_graph() -> None:
    value, location, weight = sample([(8, 8), (4, 4)], channels=32, dtype=torch.float32)
    expected = deformable_attention(value, [(8, 8), (4, 4)], location, weight)
    graph, place = torch.cuda.CUDAGraph(), torch.zeros_like(value)
    with torch.cuda.graph(graph):
        found = deformable_attention(place, [(8, 8), (4, 4)], location, weight)
    place.copy_(value)
    graph.replay()
    assert torch.equal(found, expected)


@pytest.mark.skipif(DEVICE != "cuda" or torch.cuda.device_count() < 2, reason="needs two GPUs")
def test_values_of_another_gpu_than_the_current_one() -> None:
    inputs = sample([(4, 4)], dtype=torch.float32)
    expected = deformable_attention(inputs[0], [(4, 4)], *inputs[1:])
    value, location, weight = (x.to("cuda:1") for x in inputs)
    assert torch.cuda.current_device() == 0
    found = deformable_attention(value, [(4, 4)], location, weight)
    assert found.device == torch.device("cuda:1")
    assert torch.equal(found.cpu(), expected.cpu())
