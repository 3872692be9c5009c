"""From token logits to one score for each of the caller's labels."""

# Shapes: Q query, T text token, L label, P token of one label

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from groundling.errors import ConfigError, PromptError

Aggregation = Literal["mean", "max"]


def label_scores(logit_QT: Tensor, label_tokens: Sequence[Sequence[int]], *, aggregate: Aggregation = "mean") -> Tensor:
    """Return float32 scores [Q, L] in 0..1, one for each box and label.

    A label's score depends on its own tokens alone.

    Args:
        logit_QT: token logits; -inf where there is no token.
        label_tokens: for each label the positions of its tokens, as in `Prompt.label_tokens`.
        aggregate: "mean" of the token scores, so that every word must agree (the usual evaluation rule), or "max".

    Raises:
        ConfigError: the aggregation does not exist.
        PromptError: there are no labels, or one has no tokens or tokens beyond the logits.
    """
    check_aggregation(aggregate)
    if not label_tokens:
        raise PromptError("There are no labels to score. Give the token positions of at least one label.")
    width = logit_QT.shape[1]
    for index, tokens in enumerate(label_tokens):
        if not tokens:
            raise PromptError(f"Label {index} has no tokens, so it has no score.")
        if not 0 <= min(tokens) <= max(tokens) < width:
            raise PromptError(f"Label {index} has the tokens {tuple(tokens)}, but the logits have {width} columns.")
    longest = max(len(tokens) for tokens in label_tokens)
    # a short label repeats its first token; the mask keeps the repeats out of the mean
    rows = [[*tokens, *([tokens[0]] * (longest - len(tokens)))] for tokens in label_tokens]
    token_LP = torch.tensor(rows, dtype=torch.int64, device=logit_QT.device)
    score_QLP = torch.sigmoid(logit_QT.float())[:, token_LP]
    if aggregate == "max":
        return score_QLP.amax(dim=2)
    count_L = torch.tensor([len(tokens) for tokens in label_tokens], device=logit_QT.device)
    own_LP = torch.arange(longest, device=logit_QT.device) < count_L[:, None]
    return (score_QLP * own_LP).sum(dim=2) / count_L


def check_aggregation(aggregate: str) -> None:
    """Check the name of an aggregation.

    Raises:
        ConfigError: it does not exist.
    """
    if aggregate not in ("mean", "max"):
        raise ConfigError(f"aggregate={aggregate!r} is not known. Use 'mean' or 'max'.")
