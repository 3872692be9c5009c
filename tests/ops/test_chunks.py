import pytest
import torch

from groundling.ops import chunks
from groundling.ops.chunks import goes_in_chunks, in_chunks


@pytest.fixture(autouse=True)
def _few_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "ROWS", 6)


class Sum:
    """Adds two inputs and counts the tokens of each call."""

    def __init__(self) -> None:
        self.calls: list[int] = []

    def __call__(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        self.calls.append(x.shape[1])
        return (x + y)[..., :2]


@pytest.mark.parametrize(
    ("batch", "tokens", "calls"),
    [
        pytest.param(1, 0, [0], id="no tokens"),
        pytest.param(1, 6, [6], id="as many as go at once"),
        pytest.param(1, 13, [6, 6, 1], id="a rest"),
        pytest.param(2, 7, [3, 3, 1], id="two images"),
        pytest.param(8, 2, [1, 1], id="more images than go at once"),
    ],
)
def test_every_token_once(batch: int, tokens: int, calls: list[int]) -> None:
    x, y, function = torch.randn(batch, tokens, 4), torch.randn(batch, tokens, 4), Sum()
    with torch.no_grad():
        torch.testing.assert_close(in_chunks(function, x, y), (x + y)[..., :2], rtol=0, atol=0)
    assert function.calls == calls


def test_where_gradients_are_recorded_all_at_once() -> None:
    x, function = torch.randn(1, 13, 4, requires_grad=True), Sum()
    in_chunks(function, x, x).sum().backward()
    assert function.calls == [13]
    assert not goes_in_chunks(x)


def test_recomputed_gradients_are_the_same() -> None:
    torch.manual_seed(0)
    layers = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Dropout(0.5), torch.nn.Linear(8, 4))
    x, calls = torch.randn(2, 7, 4, requires_grad=True), []

    def function(chunk: torch.Tensor) -> torch.Tensor:
        calls.append(chunk.shape[1])
        return layers(chunk)

    torch.manual_seed(1)
    in_chunks(function, x, recompute=True).square().sum().backward()
    found = [x.grad, *(parameter.grad for parameter in layers.parameters())]
    assert calls[:3] == [3, 3, 1]
    assert len(calls) == 6, "each chunk is computed once more for the gradients"
    x.grad = None
    layers.zero_grad()
    torch.manual_seed(1)
    torch.cat([layers(chunk) for chunk in x.split(3, dim=1)], dim=1).square().sum().backward()
    expected = [x.grad, *(parameter.grad for parameter in layers.parameters())]
    torch.testing.assert_close(found, expected)
