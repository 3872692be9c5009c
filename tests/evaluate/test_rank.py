"""Which pairs of a box and a label are kept."""

from dataclasses import replace

import pytest
import torch

from groundling.evaluate import PROTOCOLS
from groundling.evaluate.rank import Pairs, merge_pairs, rank_pairs

COCO, REFERRING = PROTOCOLS["coco"], PROTOCOLS["refcoco"]
BOXES = torch.tensor([[0.5, 0.5, 0.2, 0.2], [0.5, 0.5, 0.4, 0.4]])
TOKENS = ((1,), (3, 4))


def logits(*rows):
    """Token logits [Q, 5] from the scores of tokens 1, 3 and 4."""
    logit_QT = torch.full((len(rows), 5), -torch.inf)
    logit_QT[:, [1, 3, 4]] = torch.logit(torch.tensor(rows))
    return logit_QT


def ranked(protocol, *rows, label_ids=(5, 7)):
    return rank_pairs(logits(*rows), BOXES[: len(rows)], TOKENS, label_ids, image_hw=(100, 200), protocol=protocol)


def test_a_query_is_kept_with_each_label():
    pairs = ranked(COCO, (0.9, 0.2, 0.4), (0.1, 0.8, 0.6))
    assert pairs.scores.tolist() == pytest.approx([0.9, 0.7, 0.3, 0.1])
    assert pairs.label_ids.tolist() == [5, 7, 7, 5]
    assert pairs.boxes_xyxy[0].tolist() == pytest.approx([80, 40, 120, 60])
    assert pairs.boxes_xyxy[1].tolist() == pytest.approx([60, 30, 140, 70])


def test_the_best_token_may_be_the_score():
    pairs = ranked(replace(COCO, aggregate="max"), (0.1, 0.2, 0.4))
    assert pairs.scores.tolist() == pytest.approx([0.4, 0.1])


def test_equal_scores_stand_in_the_order_of_queries_then_labels():
    pairs = ranked(COCO, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    assert pairs.label_ids.tolist() == [5, 7, 5, 7]
    assert pairs.boxes_xyxy[:, 0].tolist() == pytest.approx([80, 80, 60, 60])


@pytest.mark.parametrize(
    ("changes", "kept"),
    [
        pytest.param({}, 4, id="empty"),
        pytest.param({"top_k": 1}, 1, id="top k of the picture"),
        pytest.param({"threshold": 0.3}, 2, id="threshold"),
        pytest.param({"threshold": 0.95}, 0, id="nothing above the threshold"),
        pytest.param({"nms_iou": 0.2}, 2, id="suppression in each label"),
    ],
)
def test_what_is_cut(changes, kept):
    pairs = ranked(replace(COCO, **changes), (0.9, 0.2, 0.3), (0.1, 0.8, 0.6))
    assert len(pairs.scores) == kept
    assert len(pairs.label_ids) == len(pairs.boxes_xyxy) == kept


def test_top_k_of_each_phrase():
    many = torch.linspace(0.1, 0.9, 25)
    logit_QT = logits(*[(float(score), 0.01, 0.01) for score in many])
    pairs = rank_pairs(logit_QT, BOXES[:1].expand(25, 4), TOKENS, (0, 1), image_hw=(10, 10), protocol=REFERRING)
    assert sorted(pairs.label_ids.tolist()) == [0] * 10 + [1] * 10
    assert pairs.scores[:10].tolist() == pytest.approx(many.flip(0)[:10].tolist())


def test_merging_prompts():
    first = Pairs(torch.tensor([0.9, 0.5]), torch.tensor([0, 1]), torch.zeros(2, 4))
    second = Pairs(torch.tensor([0.7, 0.5]), torch.tensor([2, 3]), torch.ones(2, 4))
    merged = merge_pairs([first, second], replace(COCO, top_k=3))
    assert merged.scores.tolist() == pytest.approx([0.9, 0.7, 0.5])
    assert merged.label_ids.tolist() == [0, 2, 1]  # of equal scores the earlier prompt's
    assert merged.boxes_xyxy[:, 0].tolist() == [0, 1, 0]
