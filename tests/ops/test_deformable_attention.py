import pytest
import torch

from groundling.ops.deformable_attention import deformable_attention
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
def test_equals_the_naive_version(
    levels: list[tuple[int, int]], batch: int, queries: int, heads: int, points: int
) -> None:
    value, location, weight = sample(levels, batch=batch, queries=queries, heads=heads, points=points)
    torch.testing.assert_close(
        deformable_attention(value, levels, location, weight), naive(value, levels, location, weight)
    )


def test_gradients() -> None:
    levels = [(3, 4), (2, 2)]
    inputs = [x.requires_grad_() for x in sample(levels, batch=1, queries=2, heads=2, points=2)]
    assert torch.autograd.gradcheck(
        lambda value, location, weight: deformable_attention(value, levels, location, weight), inputs
    )


def test_cells_are_sampled_at_their_centres() -> None:
    value = torch.arange(6.0).reshape(1, 6, 1, 1)
    location = torch.tensor([[(0.5 + x) / 3, (0.5 + y) / 2] for y in range(2) for x in range(3)])
    found = deformable_attention(value, [(2, 3)], location.reshape(1, 6, 1, 1, 1, 2), torch.ones(1, 6, 1, 1, 1))
    torch.testing.assert_close(found.flatten(), torch.arange(6.0))
