"""Products of many rows take another way through torch than `linear`; the numbers are the same."""

import pytest
import torch
from torch.nn import functional as F

from groundling.model.layers import Linear
from groundling.ops.linear import FEWEST_ROWS, linear


@pytest.mark.parametrize(
    "shape",
    [
        pytest.param((0, 5), id="no rows"),
        pytest.param((1, 5), id="one row"),
        pytest.param((FEWEST_ROWS, 5), id="many rows"),
        pytest.param((2, FEWEST_ROWS, 5), id="a batch"),
        pytest.param((2, 16, 20, 5), id="a map"),
    ],
)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_equals_torch(shape: tuple[int, ...], bias: bool, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    x, weight = torch.randn(shape).to(dtype), torch.randn(7, 5).to(dtype)
    bias_O = torch.randn(7).to(dtype) if bias else None
    with torch.no_grad():
        found = linear(x, weight, bias_O)
    expected = F.linear(x.double(), weight.double(), None if bias_O is None else bias_O.double())
    assert found.shape == (*shape[:-1], 7)
    assert found.dtype == dtype
    tolerance = max(2 * torch.finfo(dtype).eps, 1e-12)
    torch.testing.assert_close(found.double(), expected, rtol=tolerance, atol=20 * tolerance)


def test_rows_that_do_not_lie_together() -> None:
    torch.manual_seed(0)
    x, weight = torch.randn(5, 600).T, torch.randn(14, 5)[::2]
    with torch.no_grad():
        torch.testing.assert_close(linear(x, weight, None), x @ weight.T, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "needed", [(True, True, True), (True, False, False), (False, True, False), (False, False, True)]
)
def test_gradients(needed: tuple[bool, bool, bool]) -> None:
    torch.manual_seed(0)
    inputs = torch.randn(2, 150, 5), torch.randn(7, 5), torch.randn(7)
    gradient = torch.randn(7, 2, 150).permute(1, 2, 0)
    found = []
    for function in (linear, F.linear):
        leaves = [x.clone().requires_grad_(need) for x, need in zip(inputs, needed, strict=True)]
        function(*leaves).backward(gradient)
        found.append([leaf.grad for leaf in leaves])
    for ours, expected in zip(*found, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-4)


def test_gradients_of_gradients() -> None:
    torch.manual_seed(0)
    x, weight = torch.randn(300, 5, requires_grad=True), torch.randn(7, 5, requires_grad=True)
    found = []
    for function in (linear, F.linear):
        (slope,) = torch.autograd.grad(function(x, weight, None).square().sum(), x, create_graph=True)
        found.append(torch.autograd.grad(slope.square().sum(), [x, weight]))
    torch.testing.assert_close(*found, rtol=1e-5, atol=1e-2)


def test_a_wrong_width_is_named_as_torch_does() -> None:
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        linear(torch.randn(300, 6), torch.randn(7, 5), None)


def test_a_model_with_it_can_be_traced() -> None:
    layer = Linear(5, 7)
    with torch.no_grad():
        traced = torch.jit.trace(layer, torch.randn(300, 5))
        x = torch.randn(400, 5)
        torch.testing.assert_close(traced(x), layer(x))
