"""The documented post-processing of the Grounding DINO model page, in tensors.

A box's score is its best token's, boxes are kept above a strict threshold, in the order of the queries, not clipped.
"""

# Shapes: B image, Q query, T text token, N kept box

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from groundling.ops.boxes import cxcywh_to_xyxy

TargetSizes = Tensor | Sequence[tuple[int, int]] | Sequence[Tensor]


class HasBoxes(Protocol):
    """The model's outputs, as far as post-processing reads them."""

    @property
    def logits(self) -> Tensor:
        """Token logits [B, Q, T]; -inf where there is no token."""

    @property
    def pred_boxes(self) -> Tensor:
        """Boxes [B, Q, 4]: centre x, centre y, width, height as fractions of the picture."""


class TokenDetections(NamedTuple):
    """Kept boxes of one picture: scores [N], best token positions [N] int64, corners [N, 4]."""

    scores: Tensor
    labels: Tensor
    boxes: Tensor


class PhraseDetections(NamedTuple):
    """Kept boxes of one picture: scores [N], corners [N, 4], which tokens belong to each box [N, T] bool."""

    scores: Tensor
    boxes: Tensor
    token_mask: Tensor


def detect_tokens(
    logit_BQT: Tensor, box_BQ4: Tensor, *, threshold: float, target_sizes: TargetSizes | None
) -> list[TokenDetections]:
    """Keep the boxes whose best token scores above `threshold`, each with the position of that token.

    Args:
        logit_BQT: token logits.
        box_BQ4: boxes in the unit square, centre-size.
        threshold: compared strictly with the score.
        target_sizes: (height, width) of each picture in pixels; None leaves boxes in the unit square.

    Raises:
        TypeError: `target_sizes` is neither a sequence nor a tensor.
        ValueError: there is not one target size for each picture.
    """
    best = logit_BQT.max(dim=-1)
    score_BQ, token_BQ = torch.sigmoid(best.values), best.indices
    box_xyxy_BQ4 = cxcywh_to_xyxy(box_BQ4)
    if target_sizes is not None:
        box_xyxy_BQ4 = box_xyxy_BQ4 * _scale(target_sizes, box_xyxy_BQ4, keep_dtype=True)
    kept = (score_BQ > threshold).unbind(0)
    return [TokenDetections(score_BQ[i][keep], token_BQ[i][keep], box_xyxy_BQ4[i][keep]) for i, keep in enumerate(kept)]


def detect_phrases(
    logit_BQT: Tensor, box_BQ4: Tensor, *, threshold: float, text_threshold: float, target_sizes: TargetSizes | None
) -> list[PhraseDetections]:
    """Keep the boxes whose best token scores above `threshold`, each with all tokens above `text_threshold`.

    Args:
        logit_BQT: token logits.
        box_BQ4: boxes in the unit square, centre-size.
        threshold: compared strictly with a box's best token score.
        text_threshold: compared strictly with each token's score.
        target_sizes: (height, width) of each picture in pixels; None leaves boxes in the unit square. A sequence makes
            the boxes float32; an integer tensor keeps their dtype.

    Raises:
        TypeError: `target_sizes` is neither a sequence nor a tensor.
        ValueError: there is not one target size for each picture.
    """
    probability_BQT = torch.sigmoid(logit_BQT)
    score_BQ = probability_BQT.amax(dim=-1)
    box_xyxy_BQ4 = cxcywh_to_xyxy(box_BQ4)
    if target_sizes is not None:
        box_xyxy_BQ4 = box_xyxy_BQ4 * _scale(target_sizes, box_xyxy_BQ4, keep_dtype=False)
    kept = (score_BQ > threshold).unbind(0)
    return [
        PhraseDetections(score_BQ[i][keep], box_xyxy_BQ4[i][keep], probability_BQT[i][keep] > text_threshold)
        for i, keep in enumerate(kept)
    ]


def phrase_token_ids(token_mask_NT: Tensor, token_ids: Iterable[int]) -> list[list[int]]:
    """Return for each box the ids of its tokens, in order.

    The first and the last column never count, as documented: [CLS] and the last place of the model's text. Columns
    beyond the prompt's tokens name none.

    Args:
        token_mask_NT: bool, which tokens belong to each box.
        token_ids: ids of the prompt.
    """
    ids = list(token_ids)
    inner = token_mask_NT.clone()
    inner[:, 0] = False
    inner[:, -1] = False
    chosen: list[list[int]] = [[] for _ in range(inner.shape[0])]
    for row, column in inner.nonzero().tolist():
        if column < len(ids):
            chosen[row].append(ids[column])
    return chosen


def _scale(target_sizes: TargetSizes, box_BQ4: Tensor, *, keep_dtype: bool) -> Tensor:
    """Return [B, 1, 4] (width, height, width, height); integers, where boxes are to keep a half precision."""
    if not isinstance(target_sizes, Tensor | list | tuple):
        raise TypeError(
            "`target_sizes` must be a list, tuple or torch.Tensor of (height, width), "
            f"got {type(target_sizes).__name__}."
        )
    if len(target_sizes) != box_BQ4.shape[0]:
        raise ValueError(
            f"Make sure that you pass in as many target sizes as images: got {len(target_sizes)} sizes for "
            f"{box_BQ4.shape[0]} images (the batch dimension of the logits)."
        )
    if isinstance(target_sizes, Tensor):
        sizes = target_sizes
    elif isinstance(target_sizes[0], Tensor):
        sizes = torch.stack([torch.as_tensor(size) for size in target_sizes])
    else:
        sizes = torch.tensor([tuple(size) for size in target_sizes])
    if not isinstance(target_sizes, Tensor) and not keep_dtype:
        sizes = sizes.to(torch.float32)
    if sizes.ndim != 2 or sizes.shape[1] != 2:
        raise ValueError(f"Each target size must be (height, width), got a tensor of shape {tuple(sizes.shape)}.")
    height, width = sizes.unbind(1)
    return torch.stack([width, height, width, height], dim=1).to(box_BQ4.device)[:, None]
