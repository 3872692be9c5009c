import pytest
import torch

from groundling.errors import ConfigError, PromptError
from groundling.postprocess import class_wise_nms, label_scores, select_detections

LABELS = ((1,), (3, 4), (6,))
HEIGHT_AND_WIDTH = (50, 80)


def predictions(queries: int = 60, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(queries, 9, generator=generator) * 2
    return logits, torch.rand(queries, 4, generator=generator)


def select(logits, boxes, labels=LABELS, **options):
    return select_detections(logits, boxes, labels, **{"image_hw": HEIGHT_AND_WIDTH, "threshold": 0.3, **options})


@pytest.mark.parametrize("aggregate", ["mean", "max"])
def test_every_query_above_the_threshold_is_kept_best_first(aggregate) -> None:
    logits, boxes = predictions()
    found = select(logits, boxes, aggregate=aggregate, threshold=0.7)
    scores = label_scores(logits, LABELS, aggregate=aggregate)
    best = scores.max(dim=1)
    expected = sorted(
        (query for query in range(60) if best.values[query] > 0.7),
        key=lambda query: (-best.values[query].item(), query),
    )
    assert 0 < len(expected) < 60
    assert found.query_ids.tolist() == expected
    assert torch.equal(found.scores, best.values[found.query_ids])
    assert torch.equal(found.label_ids, best.indices[found.query_ids])
    assert torch.equal(found.label_scores, scores[found.query_ids])
    assert (found.boxes_xyxy.dtype, found.scores.dtype) == (torch.float32, torch.float32)
    assert (found.label_ids.dtype, found.query_ids.dtype) == (torch.int64, torch.int64)


def test_boxes_are_corners_in_pixels_inside_the_picture() -> None:
    boxes = torch.tensor([[0.5, 0.5, 0.5, 0.2], [0.0, 1.0, 0.5, 0.5], [0.5, 0.5, 3.0, 3.0]])
    found = select(torch.tensor([[0.0, 3, 0], [0, 2, 0], [0, 1, 0]]), boxes, [(1,)])
    torch.testing.assert_close(found.boxes_xyxy, torch.tensor([[20.0, 20, 60, 30], [0, 37.5, 20, 50], [0, 0, 80, 50]]))


def test_ties_stand_in_the_order_of_the_queries() -> None:
    logits = torch.tensor([[0.0, 1], [0, 2], [0, 1], [0, 2], [0, 1]])
    assert select(logits, torch.rand(5, 4), [(1,)]).query_ids.tolist() == [1, 3, 0, 2, 4]


def test_the_threshold_is_strict() -> None:
    logits, boxes = torch.zeros(1, 3), torch.rand(1, 4)
    assert len(select(logits, boxes, [(1,)], threshold=0.5).scores) == 0
    assert len(select(logits, boxes, [(1,)], threshold=0.4999).scores) == 1


@pytest.mark.parametrize("queries", [0, 5])
@pytest.mark.parametrize("options", [{}, {"top_k": 3}, {"nms_iou": 0.5}])
def test_nothing_found_has_length_0_everywhere(queries, options) -> None:
    found = select(*predictions(queries), threshold=1.0, **options)
    assert [tuple(each.shape) for each in found] == [(0, 4), (0,), (0,), (0, 3), (0,)]


def test_top_k_is_the_head_of_the_list() -> None:
    every, some = select(*predictions()), select(*predictions(), top_k=4)
    assert len(some.scores) == 4
    for full, cut in zip(every, some, strict=True):
        assert torch.equal(full[:4], cut)
    assert len(select(*predictions(), top_k=1000).scores) == len(every.scores)


def test_suppression_comes_before_top_k() -> None:
    every = select(*predictions())
    kept = class_wise_nms(every.boxes_xyxy, every.label_ids, 0.2)
    found = select(*predictions(), nms_iou=0.2)
    assert 0 < len(kept) < len(every.scores)
    assert torch.equal(found.query_ids, every.query_ids[kept])
    assert torch.equal(select(*predictions(), nms_iou=0.2, top_k=5).query_ids, found.query_ids[:5])


def test_identical_boxes_of_different_labels_both_stay() -> None:
    logits = torch.tensor([[0.0, 3, -9], [0, -9, 2], [0, 1, -9]])
    boxes = torch.tensor([[0.5, 0.5, 0.4, 0.4]] * 3)
    assert select(logits, boxes, [(1,), (2,)], nms_iou=0.5).query_ids.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        pytest.param({"labels": []}, PromptError, "There are no labels to score", id="empty"),
        ({"threshold": 1.5}, ConfigError, r"threshold must be within 0\.\.1, got 1.5"),
        ({"threshold": -0.1}, ConfigError, r"threshold must be within 0\.\.1"),
        ({"threshold": float("nan")}, ConfigError, r"threshold must be within 0\.\.1"),
        ({"top_k": 0}, ConfigError, "top_k must be at least 1"),
        ({"nms_iou": 2.0}, ConfigError, r"nms_iou must be within 0\.\.1"),
        ({"image_hw": (0, 4)}, ConfigError, "image_hw must be the height and width"),
        ({"aggregate": "sum"}, ConfigError, "aggregate='sum' is not known"),
    ],
)
def test_bad_options(options, error, message) -> None:
    with pytest.raises(error, match=message):
        select(*predictions(), **options)
