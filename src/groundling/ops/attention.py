"""Scaled dot-product attention with the project's convention: a boolean mask is True where attention is allowed.

Shapes: B image, H head, Q query, K key, C width of a head.
"""

import math

from torch import Tensor
from torch.nn import functional as F


def attention(query_BHQC: Tensor, key_BHKC: Tensor, value_BHKC: Tensor, mask: Tensor | None, dropout: float) -> Tensor:
    """Return softmax(query keyᵀ / √C) value, [B, H, Q, C].

    Args:
        query_BHQC: queries.
        key_BHKC: keys.
        value_BHKC: values.
        mask: boolean (True = attend) or added to the scores; broadcasts to [B, H, Q, K].
        dropout: chance that an attention weight is dropped.
    """
    return F.scaled_dot_product_attention(query_BHQC, key_BHKC, value_BHKC, attn_mask=mask, dropout_p=dropout)


def attention_weights(query_BHQC: Tensor, key_BHKC: Tensor, mask: Tensor | None) -> Tensor:
    """Return the weights that `attention` uses without showing them, [B, H, Q, K]; each row sums to 1."""
    score_BHQK = query_BHQC @ key_BHKC.transpose(-2, -1) / math.sqrt(query_BHQC.shape[-1])
    if mask is not None and mask.dtype.is_floating_point:
        score_BHQK = score_BHQK + mask
    elif mask is not None:
        score_BHQK = score_BHQK.masked_fill(~mask, -math.inf)
    return score_BHQK.softmax(dim=-1)
