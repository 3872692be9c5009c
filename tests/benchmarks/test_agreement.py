from types import SimpleNamespace

import pytest
import torch
from benchmarks.speed.agreement import largest_difference, matched_differences, relative_difference
from benchmarks.speed.contenders import Agreement


def prediction(boxes: torch.Tensor, logits: torch.Tensor) -> SimpleNamespace:
    return SimpleNamespace(pred_boxes=boxes, logits=logits)


def test_equal_infinities_do_not_differ() -> None:
    left = torch.tensor([1.0, -torch.inf])
    assert largest_difference(left, torch.tensor([1.5, -torch.inf])) == 0.5
    assert largest_difference(left, torch.tensor([1.0, 0.0])) == torch.inf


def test_relative_difference() -> None:
    assert relative_difference(torch.tensor([3.0, 4.0]), torch.tensor([3.0, 4.5])) == pytest.approx(0.1)


def test_the_order_of_the_queries_does_not_matter() -> None:
    torch.manual_seed(0)
    boxes, logits = torch.rand(2, 7, 4), torch.randn(2, 7, 5)
    logits[..., 3:] = -torch.inf
    order = torch.randperm(7)
    shuffled = prediction(boxes[:, order], logits[:, order])
    assert matched_differences(prediction(boxes, logits), shuffled) == (0.0, 0.0)
    moved = prediction(boxes[:, order] + 1e-3, logits[:, order])
    box, probability = matched_differences(prediction(boxes, logits), moved)
    assert box == pytest.approx(1e-3, rel=1e-3)
    assert probability == 0.0


def test_what_is_not_a_number_does_not_agree() -> None:
    boxes = torch.full((1, 3, 4), torch.nan)
    expected = prediction(torch.rand(1, 3, 4), torch.randn(1, 3, 5))
    box, probability = matched_differences(expected, prediction(boxes, expected.logits))
    assert not Agreement("ours", "boxes", box, limit=1.0).holds
    assert not Agreement("ours", "probabilities", probability, limit=1.0).holds


@pytest.mark.parametrize(("value", "limit", "holds"), [(1.0, None, True), (1.0, 1.0, True), (1.1, 1.0, False)])
def test_a_difference_holds_within_its_limit(value: float, limit: float | None, holds: bool) -> None:
    assert Agreement("ours", "boxes", value, limit).holds is holds
