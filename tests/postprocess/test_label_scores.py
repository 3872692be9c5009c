import pytest
import torch

from groundling.errors import ConfigError, PromptError
from groundling.postprocess import label_scores
from reference import selection as naive

LABELS = ((1,), (3, 4, 5), (7, 8), (1,), (2, 9))


def logits(queries: int = 40) -> torch.Tensor:
    values = torch.randn(queries, 12, generator=torch.Generator().manual_seed(0)) * 3
    values[:, 9:] = -torch.inf
    return values


@pytest.mark.parametrize("aggregate", ["mean", "max"])
def test_scores_equal_the_loops(aggregate) -> None:
    logit_QT = logits()
    score_QL = label_scores(logit_QT, LABELS, aggregate=aggregate)
    expected = [[naive.label_score(row, tokens, aggregate) for tokens in LABELS] for row in logit_QT.tolist()]
    assert score_QL.dtype == torch.float32
    torch.testing.assert_close(score_QL, torch.tensor(expected), rtol=0, atol=1e-6)


@pytest.mark.parametrize("aggregate", ["mean", "max"])
def test_a_label_does_not_depend_on_the_others(aggregate) -> None:
    together = label_scores(logits(), LABELS, aggregate=aggregate)
    for index, tokens in enumerate(LABELS):
        alone = label_scores(logits(), [tokens], aggregate=aggregate)
        torch.testing.assert_close(alone[:, 0], together[:, index], rtol=0, atol=1e-7)


def test_half_precision_is_scored_in_float32() -> None:
    logit_QT = logits().half()
    assert torch.equal(label_scores(logit_QT, LABELS), label_scores(logit_QT.float(), LABELS))


def test_no_queries_give_no_rows() -> None:
    assert label_scores(logits(0), LABELS).shape == (0, 5)


@pytest.mark.parametrize(
    ("labels", "aggregate", "error", "message"),
    [
        pytest.param([], "mean", PromptError, "There are no labels to score", id="empty"),
        ([(1,), ()], "mean", PromptError, "Label 1 has no tokens"),
        ([(1, 12)], "mean", PromptError, r"Label 0 has the tokens \(1, 12\), but the logits have 12 columns"),
        ([(-1,)], "mean", PromptError, "Label 0 has the tokens"),
        ([(1,)], "sum", ConfigError, "aggregate='sum' is not known. Use 'mean' or 'max'"),
    ],
)
def test_bad_labels(labels, aggregate, error, message) -> None:
    with pytest.raises(error, match=message):
        label_scores(logits(), labels, aggregate=aggregate)
