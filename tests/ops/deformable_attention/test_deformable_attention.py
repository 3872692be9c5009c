from types import ModuleType

import pytest
import torch

from groundling.ops import deformable_attention as package
from groundling.ops.deformable_attention import bag, deformable_attention, grid, implementation
from reference.deformable_attention import deformable_attention as naive


def sample(
    levels: list[tuple[int, int]], *, batch: int, queries: int, heads: int, points: int
) -> tuple[torch.Tensor, ...]:
    torch.manual_seed(len(levels) + 10 * points)
    cells = sum(height * width for height, width in levels)
    value = torch.randn(batch, cells, heads, 3, dtype=torch.float64)
    location = torch.rand(batch, queries, heads, len(levels), points, 2, dtype=torch.float64) * 1.4 - 0.2
    weight = torch.rand(batch, queries, heads, len(levels), points, dtype=torch.float64)
    return value, location, weight / weight.sum((-1, -2), keepdim=True)


@pytest.mark.parametrize(
    ("levels", "batch", "queries", "heads", "points"),
    [
        pytest.param([(3, 4)], 1, 0, 1, 1, id="no queries"),
        pytest.param([(1, 1)], 1, 3, 1, 1, id="one cell"),
        pytest.param([(5, 3), (2, 2)], 2, 4, 2, 3, id="two levels, some samples outside"),
        pytest.param([(4, 6), (2, 3), (1, 2), (1, 1)], 1, 5, 4, 4, id="four levels"),
    ],
)
@pytest.mark.parametrize("module", [grid, bag], ids=["grid", "bag"])
def test_equals_the_naive_version(
    module: ModuleType, levels: list[tuple[int, int]], batch: int, queries: int, heads: int, points: int
) -> None:
    value, location, weight = sample(levels, batch=batch, queries=queries, heads=heads, points=points)
    torch.testing.assert_close(
        module.deformable_attention(value, levels, location, weight), naive(value, levels, location, weight)
    )


def random_places(seed: int) -> torch.Tensor:
    """Locations of one point on a map: far outside, on borders, on centres and between them, and not finite."""
    torch.manual_seed(seed)
    odd = [-1e30, -7.0, -0.5, 0.0, 0.125, 0.25, 0.5, 0.75, 1.0, 1.125, 1.5, 9.0, 1e30]
    return torch.cat([torch.tensor(odd), torch.rand(20) * 1.6 - 0.3])


@pytest.mark.parametrize("levels", [[(4, 4)], [(1, 4)], [(4, 1)], [(1, 1)], [(2, 1)]])
def test_bag_at_odd_places(levels: list[tuple[int, int]]) -> None:
    x, y = torch.meshgrid(random_places(0), random_places(1), indexing="ij")
    location = torch.stack([x, y], dim=-1).reshape(1, -1, 1, 1, 1, 2).double()
    value = torch.randn(1, levels[0][0] * levels[0][1], 1, 3, dtype=torch.float64)
    inputs = value, levels, location, torch.ones(location.shape[:-1], dtype=torch.float64)
    torch.testing.assert_close(bag.deformable_attention(*inputs), naive(*inputs))


def test_what_is_no_number_stays_none_and_touches_nothing_else() -> None:
    value, location, weight = sample([(5, 3), (2, 2)], batch=1, queries=3, heads=2, points=2)
    expected = bag.deformable_attention(value, [(5, 3), (2, 2)], location, weight)
    location[0, 1, 0, 0, 0, 0] = torch.nan
    found = bag.deformable_attention(value, [(5, 3), (2, 2)], location, weight)
    assert found[0, 1, :3].isnan().all()
    assert found.isnan().sum() == 3
    kept = ~found.isnan()
    torch.testing.assert_close(found[kept], expected[kept])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_half_precision_is_sampled_in_float32(dtype: torch.dtype) -> None:
    levels = [(50, 70)]
    value, location, weight = (x.float() for x in sample(levels, batch=1, queries=40, heads=2, points=4))
    found = bag.deformable_attention(value.to(dtype), levels, location, weight)
    assert found.dtype == dtype
    expected = naive(value.to(dtype).double(), levels, location.double(), weight.double())
    # one rounding of the result to its type
    torch.testing.assert_close(found.double(), expected, rtol=torch.finfo(dtype).eps, atol=1e-5)


def test_which_implementation_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    assert implementation(cpu) == "bag"
    monkeypatch.setattr(package, "HAS_TRITON", True)
    assert implementation(cuda) == "triton"
    monkeypatch.setattr(package, "HAS_TRITON", False)
    assert implementation(cuda) == implementation(torch.device("mps")) == "grid"


@pytest.mark.parametrize("module", [grid, bag], ids=["grid", "bag"])
@pytest.mark.parametrize("levels", [[(3, 4), (2, 2)], [(1, 3)], [(1, 1), (2, 1)]])
def test_gradients(module: ModuleType, levels: list[tuple[int, int]]) -> None:
    inputs = [x.requires_grad_() for x in sample(levels, batch=2, queries=3, heads=2, points=2)]
    assert torch.autograd.gradcheck(
        lambda value, location, weight: module.deformable_attention(value, levels, location, weight), inputs
    )


@pytest.mark.parametrize("size", [1, 2, 5])
def test_slopes_at_the_cells_centres(size: int) -> None:
    """Fresh models sample there. The slope is that of one side, on borders and outside too."""
    value = torch.randn(1, size, 1, 1, dtype=torch.float64).cumsum(1)
    center = (torch.arange(-2, size + 2, dtype=torch.float64) + 0.5) / size

    def sampled(x: torch.Tensor) -> torch.Tensor:
        location = torch.stack([x, torch.full_like(x, 0.5)], dim=-1).view(1, -1, 1, 1, 1, 2)
        return bag.deformable_attention(value, [(1, size)], location, torch.ones_like(location[..., 0])).flatten()

    x = center.clone().requires_grad_()
    (slope,) = torch.autograd.grad(sampled(x).sum(), x)
    step = 1e-3 / size
    left, here, right = sampled(center - step), sampled(center), sampled(center + step)
    sides = torch.stack([(here - left) / step, (right - here) / step])
    assert ((slope - sides).abs().amin(dim=0) < 1e-6).all()


@pytest.mark.parametrize("needed", [0, 1, 2], ids=["values", "locations", "weights"])
def test_gradients_of_one_input(needed: int) -> None:
    levels = [(5, 6), (3, 3)]
    inputs = sample(levels, batch=1, queries=7, heads=2, points=3)
    gradients = []
    for module in (grid, bag):
        x = [tensor.detach().requires_grad_(position == needed) for position, tensor in enumerate(inputs)]
        module.deformable_attention(x[0], levels, x[1], x[2]).square().sum().backward()
        gradients.append(x[needed].grad)
    torch.testing.assert_close(*gradients)


def test_cells_are_sampled_at_their_centres() -> None:
    value = torch.arange(6.0).reshape(1, 6, 1, 1)
    location = torch.tensor([[(0.5 + x) / 3, (0.5 + y) / 2] for y in range(2) for x in range(3)])
    found = deformable_attention(value, [(2, 3)], location.reshape(1, 6, 1, 1, 1, 2), torch.ones(1, 6, 1, 1, 1))
    torch.testing.assert_close(found.flatten(), torch.arange(6.0))
