import pytest
import torch

from groundling.errors import ConfigError, PromptError
from groundling.postprocess import SelectionRules, Words, choose_boxes, class_wise_nms, label_scores, score_boxes
from groundling.structures.prompt import NEGATIVE

LABELS = ((1,), (3, 4), (6,))
HEIGHT_AND_WIDTH = (50, 80)


def predictions(queries: int = 60, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(queries, 9, generator=generator) * 2
    return logits, torch.rand(queries, 4, generator=generator)


def score(logits, boxes, words, *, image_hw=HEIGHT_AND_WIDTH, **options):
    return score_boxes(logits, boxes, words, image_hw=image_hw, rules=SelectionRules(**options))


def select(logits, boxes, labels=LABELS, *, image_hw=HEIGHT_AND_WIDTH, **options):
    words = Words(labels, range(len(labels)), [None] * len(labels))
    rules = SelectionRules(**options)
    return choose_boxes([score_boxes(logits, boxes, words, image_hw=image_hw, rules=rules)], rules)


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
        ({"nms_across_labels": True, "nms_iou": None}, ConfigError, "needs an overlap to suppress from"),
    ],
)
def test_bad_options(options, error, message) -> None:
    with pytest.raises(error, match=message):
        select(*predictions(), **options)


def test_synonyms_take_the_best_word() -> None:
    logits, boxes = predictions()
    found = score(logits, boxes, Words(((1,), (3,), (6,)), (0, 1, 0), (None, None)), threshold=0.0)
    probability = logits.sigmoid()
    expected = torch.stack([probability[:, [1, 6]].amax(dim=1), probability[:, 3]], dim=1)
    assert torch.equal(found.label_scores, expected)
    assert torch.equal(found.scores, expected.amax(dim=1))


def test_what_a_negative_describes_better_is_dropped() -> None:
    logits = torch.tensor([[0.0, 2, 1], [0, 1, 2], [0, 1, 1]])  # the label's token, then the negative's
    found = score(logits, torch.rand(3, 4), Words(((1,), (2,)), (0, NEGATIVE), (None,)))
    assert found.query_ids.tolist() == [0, 2]
    assert found.label_scores.shape == (2, 1)


def test_labels_have_thresholds_of_their_own() -> None:
    logits = torch.tensor([[0.0, 1, -9], [0, -9, 1], [0, 3, -9]])
    words = Words(((1,), (2,)), (0, 1), (0.9, None))
    assert score(logits, torch.rand(3, 4), words, threshold=0.5).query_ids.tolist() == [1, 2]


def test_prompts_are_merged_into_one_order() -> None:
    logits, boxes = predictions()
    first = score(logits, boxes, Words(((1,),), (2,), (None,) * 3))
    second = score(logits, boxes, Words(((3, 4), (6,)), (0, 1), (None,) * 3))
    found = choose_boxes([first, second], SelectionRules(nms_iou=1.0))
    assert sorted(found.scores.tolist(), reverse=True) == found.scores.tolist()
    assert len(found.scores) == len(first.scores) + len(second.scores)
    assert set(found.label_ids.tolist()) == {0, 1, 2}
    assert found.label_scores is None
    fewer = choose_boxes([first, second], SelectionRules())
    assert torch.equal(fewer.query_ids, choose_boxes([first, second], SelectionRules(nms_iou=0.7)).query_ids)
    assert len(fewer.scores) < len(found.scores)


def test_one_label_for_each_thing() -> None:
    logits = torch.tensor([[0.0, 3, -9], [0, -9, 2], [0, 1, -9]])
    boxes = torch.tensor([[0.5, 0.5, 0.4, 0.4]] * 2 + [[0.2, 0.2, 0.1, 0.1]])
    assert select(logits, boxes, [(1,), (2,)], nms_iou=0.5, nms_across_labels=True).query_ids.tolist() == [0, 2]


def test_a_box_around_a_group_is_dropped() -> None:
    logits = torch.tensor([[0.0, 3], [0, 2], [0, 1]])
    boxes = torch.tensor([[0.5, 0.5, 0.8, 0.4], [0.3, 0.5, 0.2, 0.3], [0.7, 0.5, 0.2, 0.3]])
    assert select(logits, boxes, [(1,)], drop_groups=True).query_ids.tolist() == [1, 2]
    assert select(logits, boxes, [(1,)]).query_ids.tolist() == [0, 1, 2]
