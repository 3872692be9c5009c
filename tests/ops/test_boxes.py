import pytest
import torch

from groundling.ops.boxes import area, cxcywh_to_xyxy, generalized_iou, pairwise_iou, xyxy_to_cxcywh
from reference import boxes as naive


@pytest.mark.parametrize(
    ("cxcywh", "xyxy"),
    [
        pytest.param([], [], id="empty"),
        pytest.param([[0.5, 0.5, 1.0, 1.0]], [[0.0, 0.0, 1.0, 1.0]], id="whole picture"),
        pytest.param([[0.25, 0.75, 0.5, 0.0]], [[0.0, 0.75, 0.5, 0.75]], id="no height"),
        pytest.param([[10, 20, 4, 8], [1, 1, 2, 2]], [[8, 16, 12, 24], [0, 0, 2, 2]], id="pixels"),
    ],
)
def test_formats(cxcywh: list[list[float]], xyxy: list[list[float]]) -> None:
    centers, corners = torch.tensor(cxcywh).reshape(-1, 4).float(), torch.tensor(xyxy).reshape(-1, 4).float()
    torch.testing.assert_close(cxcywh_to_xyxy(centers), corners)
    torch.testing.assert_close(xyxy_to_cxcywh(corners), centers)
    torch.testing.assert_close(area(corners), centers[:, 2] * centers[:, 3])


def random_corners(count: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    low = torch.rand(count, 2, generator=generator, dtype=torch.float64)
    return torch.cat([low, low + torch.rand(count, 2, generator=generator, dtype=torch.float64)], dim=1)


@pytest.mark.parametrize(("first", "second"), [(0, 3), (3, 0), (5, 7)])
def test_overlaps_equal_the_naive_version(first: int, second: int) -> None:
    a, b = random_corners(first, 1), random_corners(second, 2)
    iou = [[naive.iou(x, y) for y in b.tolist()] for x in a.tolist()]
    giou = [[naive.generalized_iou(x, y) for y in b.tolist()] for x in a.tolist()]
    torch.testing.assert_close(pairwise_iou(a, b), torch.tensor(iou, dtype=torch.float64).reshape(first, second))
    torch.testing.assert_close(
        generalized_iou(a[:, None], b[None]), torch.tensor(giou, dtype=torch.float64).reshape(first, second)
    )


def test_boxes_without_area_give_no_nan() -> None:
    point = torch.tensor([[0.5, 0.5, 0.5, 0.5]], requires_grad=True)
    value = generalized_iou(point, point.detach())
    value.sum().backward()
    assert value.isfinite().all()
    assert point.grad is not None
    assert point.grad.isfinite().all()
