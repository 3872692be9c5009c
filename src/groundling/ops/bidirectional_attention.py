"""Cross-attention in both directions with one score matrix (after GLIP, Li et al. 2022).

Shapes: B image, S image token, T text token, H head, N = H T, D width of an image token.
"""

import torch
from torch import Tensor

from groundling.ops import chunks
from groundling.ops.linear import linear

MOST_SCORES = 2**22
"""As many float32 numbers take 16 MB, and fit in a cache."""


def bidirectional_weights(
    image_BSD: Tensor, key_BHTD: Tensor, offset_BHT1: Tensor, valid_BS: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return the weights of the text tokens for each image token and the other way round, both [B, H, T, S].

    Args:
        image_BSD: image tokens.
        key_BHTD: text tokens, whose dot products with the image tokens are the scores.
        offset_BHT1: added to the scores of each text token where image tokens choose among them; -inf for padding.
            Where text tokens choose among image tokens, the softmax would not see it.
        valid_BS: False on padding of the pictures; None where there is none.
    """
    score_BHTS = (key_BHTD.flatten(1, 2) @ image_BSD.mT).view(*key_BHTD.shape[:3], image_BSD.shape[1])
    to_text_BHTS = (score_BHTS + offset_BHT1).softmax(dim=2)
    if valid_BS is not None:
        score_BHTS = score_BHTS.masked_fill(~valid_BS[:, None, None], -torch.inf)
    return to_text_BHTS, score_BHTS.softmax(dim=3)


def is_large(image_BSD: Tensor, key_BHTD: Tensor) -> bool:
    """Say whether there are so many scores that `bidirectional_attention` is the better choice."""
    return chunks.goes_in_chunks(image_BSD) and image_BSD.shape[1] * key_BHTD[0, ..., 0].numel() > MOST_SCORES


def bidirectional_attention(
    image_BSD: Tensor, key_BHTD: Tensor, offset_BHT1: Tensor, value_BHTD: Tensor, valid_BS: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Apply the weights of `bidirectional_weights` without holding all of them, a few image tokens at a time.

    Args:
        image_BSD: image tokens.
        key_BHTD: see `bidirectional_weights`.
        offset_BHT1: see `bidirectional_weights`.
        value_BHTD: what each text token tells the image tokens.
        valid_BS: see `bidirectional_weights`.

    Returns:
        What the text tokens tell each image token, [B, S, D], and the image tokens that each text token sees, averaged,
        [B, H, T, D]. No gradient flows back.
    """
    told_BSD, seen_BHTD = torch.empty_like(image_BSD), torch.empty_like(key_BHTD)
    for image in range(image_BSD.shape[0]):
        text = key_BHTD[image], offset_BHT1[image], value_BHTD[image]
        valid_S = None if valid_BS is None else valid_BS[image]
        seen_BHTD[image] = _attend(image_BSD[image], *text, valid_S, told_SD=told_BSD[image])
    return told_BSD, seen_BHTD


def _attend(
    image_SD: Tensor, key_HTD: Tensor, offset_HT1: Tensor, value_HTD: Tensor, valid_S: Tensor | None, *, told_SD: Tensor
) -> Tensor:
    """Fill in `told_SD` and return what the text tokens of one image see, [H, T, D].

    The softmax over the image tokens is computed on the way: what was added up is scaled down whenever a larger score
    appears (Milakov and Gimelshein 2018).
    """
    key_ND, value_DN = key_HTD.flatten(0, 1), value_HTD.flatten(0, 1).T.contiguous()
    number = torch.promote_types(key_ND.dtype, torch.float32)
    largest_N = torch.full_like(key_ND[:, 0], torch.finfo(number).min, dtype=number)
    total_N, sum_ND = torch.zeros_like(largest_N), torch.zeros_like(key_ND, dtype=number)
    for start in range(0, image_SD.shape[0], chunks.ROWS):
        chunk = slice(start, start + chunks.ROWS)
        score_nN = linear(image_SD[chunk], key_ND, None)
        to_text_nHT = (score_nN.view(-1, *key_HTD.shape[:2]) + offset_HT1[..., 0]).softmax(dim=2)
        told_SD[chunk] = linear(to_text_nHT.flatten(1), value_DN, None)
        if valid_S is not None:
            score_nN = score_nN.masked_fill(~valid_S[chunk, None], -torch.inf)
        previous_N = largest_N
        largest_N = torch.maximum(previous_N, score_nN.amax(dim=0))
        weight_nN = score_nN.to(number).sub_(largest_N).exp_()
        shrink_N = (previous_N - largest_N).exp_()
        total_N = total_N * shrink_N + weight_nN.sum(dim=0)
        sum_ND = sum_ND * shrink_N[:, None] + weight_nN.to(image_SD.dtype).T @ image_SD[chunk]
    return (sum_ND / total_N[:, None]).to(image_SD.dtype).view_as(key_HTD)
