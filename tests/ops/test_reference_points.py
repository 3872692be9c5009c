import math

import pytest
import torch

from groundling.ops.reference_points import (
    encoder_reference_points,
    inverse_sigmoid,
    level_sizes,
    proposal_boxes,
    proposal_logits,
)


@pytest.mark.parametrize(
    ("x", "expected"),
    [
        pytest.param(0.5, 0.0, id="middle"),
        pytest.param(0.0, math.log(1e-5 / (1 - 1e-5)), id="zero is moved to 1e-5"),
        pytest.param(1.0, -math.log(1e-5 / (1 - 1e-5)), id="one is moved to 1 - 1e-5"),
        pytest.param(0.9, math.log(9.0), id="inside"),
    ],
)
def test_inverse_sigmoid(x: float, expected: float) -> None:
    assert inverse_sigmoid(torch.tensor(x, dtype=torch.float64)).item() == pytest.approx(expected)


def test_a_proposal_lies_around_each_cell_of_the_unpadded_picture() -> None:
    valid = torch.tensor([[[True, True, False], [True, True, False]]])  # 2 rows, 2 of 3 columns are picture
    boxes = proposal_boxes([(2, 3), (1, 1)], torch.cat([valid.flatten(1), torch.tensor([[True]])], 1))
    expected = [[(x + 0.5) / 2, (y + 0.5) / 2, 0.05, 0.05] for y in range(2) for x in range(3)] + [[0.5, 0.5, 0.1, 0.1]]
    torch.testing.assert_close(boxes[0], torch.tensor(expected))


def test_unusable_proposals_are_infinite() -> None:
    boxes = torch.tensor(
        [[[0.5, 0.5, 0.05, 0.05], [0.5, 0.5, 0.05, 0.05], [0.005, 0.5, 0.05, 0.05], [0.5, 1.5, 0.1, 0.1]]]
    )
    logits = proposal_logits(boxes, torch.tensor([[True, False, True, True]]))
    torch.testing.assert_close(logits[0, 0].sigmoid(), boxes[0, 0])
    assert logits[0, 1:].isposinf().all()


def test_reference_points_of_a_padded_map() -> None:
    ratios = torch.tensor([[[0.5, 1.0], [0.25, 1.0]]])  # half of level 0 and a quarter of level 1 is picture, in x
    points = encoder_reference_points([(1, 2), (1, 1)], level_sizes([(1, 2), (1, 1)], ratios.device), ratios)
    assert points.shape == (1, 3, 2, 2)
    # The first cell of level 0 has its centre at a quarter of the map, which is half of the picture; on level 1 half
    # of the picture is an eighth of the map.
    torch.testing.assert_close(points[0, 0], torch.tensor([[0.25, 0.5], [0.125, 0.5]]))
