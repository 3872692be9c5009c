"""Layers that several stages use.

Shapes: B image, Q query, K key, S image token, H head, C width of a head, L level, P point, D width.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from groundling.ops.attention import attention, attention_weights
from groundling.ops.chunks import in_chunks
from groundling.ops.deformable_attention import deformable_attention
from groundling.ops.linear import linear
from groundling.structures.features import ImageFeatures

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "gelu": F.gelu,
    "silu": F.silu,
    "swish": F.silu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "leaky_relu": F.leaky_relu,
}


class Linear(nn.Linear):
    """A linear layer whose product is `groundling.ops.linear`, which is fast on CPUs.

    What replaces layers by their exact class, as `torch.ao.quantization.quantize_dynamic` does, must name this one.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Apply to the last axis."""
        return linear(input, self.weight, self.bias)


class FeedForward(nn.Module):
    """Two linear layers with an activation between them."""

    def __init__(
        self, *, width: int, hidden_width: int, activation: str, dropout: float, activation_dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.fc1 = Linear(width, hidden_width)
        self.fc2 = Linear(hidden_width, width)
        self.activation = ACTIVATIONS[activation]
        self.dropout = nn.Dropout(dropout)
        self.activation_dropout = nn.Dropout(activation_dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Apply to the last axis."""
        output_1ND = in_chunks(self._apply_to_tokens, x.reshape(1, -1, x.shape[-1]), recompute=True)
        return output_1ND.reshape(x.shape)

    def _apply_to_tokens(self, x: Tensor) -> Tensor:
        hidden: Tensor = self.activation_dropout(self.activation(self.fc1(x)))
        output: Tensor = self.dropout(self.fc2(hidden))
        return output


class MultiHeadAttention(nn.Module):
    """Attention with query, key, value and output projections (Vaswani et al. 2017).

    Args:
        width: width of queries, keys, values and output.
        num_heads: number of heads; divides `width`.
        dropout: chance that an attention weight is dropped in training.
        bias: whether query, key and value projections have a bias.
    """

    def __init__(self, *, width: int, num_heads: int, dropout: float, bias: bool = True) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.dropout = dropout
        self.query = Linear(width, width, bias=bias)
        self.key = Linear(width, width, bias=bias)
        self.value = Linear(width, width, bias=bias)
        self.output = Linear(width, width)

    def forward(
        self, query_BQD: Tensor, key_BKD: Tensor, value_BKD: Tensor, mask: Tensor | None = None, weights: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """Return the attended values [B, Q, D] and, if asked for, the weights [B, H, Q, K].

        Args:
            query_BQD: queries.
            key_BKD: keys.
            value_BKD: values.
            mask: boolean (True = attend) or added to the scores; broadcasts to [B, H, Q, K].
            weights: also return the attention weights; the first result does not depend on it.
        """
        query_BHQC = self._split(self.query(query_BQD))
        key_BHKC = self._split(self.key(key_BKD))
        value_BHKC = self._split(self.value(value_BKD))
        mixed_BHQC = attention(query_BHQC, key_BHKC, value_BHKC, mask, self.dropout if self.training else 0.0)
        output_BQD: Tensor = self.output(mixed_BHQC.transpose(1, 2).flatten(2))
        return output_BQD, attention_weights(query_BHQC, key_BHKC, mask) if weights else None

    def _split(self, x_BND: Tensor) -> Tensor:
        batch, length, width = x_BND.shape
        return x_BND.view(batch, length, self.num_heads, width // self.num_heads).transpose(1, 2)


class DeformableAttention(nn.Module):
    """Multi-scale deformable attention (Zhu et al. 2021): each query looks at a few learned points on every level.

    Args:
        width: width of queries and values.
        num_heads: number of heads; divides `width`.
        num_levels: number of feature levels.
        num_points: points that each query and head samples on each level.
    """

    def __init__(self, *, width: int, num_heads: int, num_levels: int, num_points: int) -> None:
        super().__init__()
        self.shape = (num_heads, num_levels, num_points)
        self.sampling_offsets = Linear(width, num_heads * num_levels * num_points * 2)
        self.attention_weights = Linear(width, num_heads * num_levels * num_points)
        self.value = Linear(width, width)
        self.output = Linear(width, width)

    def values(self, image: ImageFeatures) -> Tensor:
        """Return what can be sampled: a value for each image token and head [B, S, H, C], zero on padding.

        On a CPU they are float32 at least, as they are sampled.
        """
        value_BSD: Tensor = self.value(image.token_BSD)
        if image.padded:
            value_BSD = value_BSD.masked_fill(~image.valid_BS[..., None], 0.0)
        if value_BSD.device.type == "cpu":
            value_BSD = value_BSD.to(torch.promote_types(value_BSD.dtype, torch.float32))
        return value_BSD.view(*value_BSD.shape[:2], self.shape[0], -1)

    def forward(
        self, query_BQD: Tensor, value_BSHC: Tensor, image: ImageFeatures, reference_BQLR: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the sampled values [B, Q, D] and the weights of all points [B, Q, H, L, P].

        Args:
            query_BQD: queries with their positions added.
            value_BSHC: from `values`.
            image: says how the tokens lie on the levels.
            reference_BQLR: where to look on each level: points (x, y) or boxes (cx, cy, w, h), in 0..1.
        """
        num_heads, _, num_points = self.shape
        number = torch.promote_types(query_BQD.dtype, torch.float32)
        offset_BQHE = self.sampling_offsets(query_BQD).to(number).unflatten(2, (num_heads, -1))
        logit_BQHN = self.attention_weights(query_BQD).to(number).unflatten(2, (num_heads, -1))
        weight_BQHLP = logit_BQHN.softmax(dim=-1).view(*query_BQD.shape[:2], *self.shape)
        center_BQL2 = reference_BQLR[..., :2].float()
        if reference_BQLR.shape[-1] == 2:
            unit_BQL2 = image.level_size_L2.reciprocal()[None, None]
        else:
            unit_BQL2 = reference_BQLR[..., 2:].float() * (0.5 / num_points)
        location_BQHE = torch.addcmul(self._at_points(center_BQL2), offset_BQHE, self._at_points(unit_BQL2))
        location_BQHLP2 = location_BQHE.view(*weight_BQHLP.shape, 2)
        mixed_BQD = deformable_attention(value_BSHC, image.level_shapes, location_BQHLP2, weight_BQHLP)
        return self.output(mixed_BQD.to(query_BQD.dtype)), weight_BQHLP.to(query_BQD.dtype)

    def _at_points(self, x_BQL2: Tensor) -> Tensor:
        """Repeat for all points of a level, [B, Q, 1, L * P * 2]; long rows are added faster than pairs."""
        return x_BQL2[:, :, :, None].expand(-1, -1, -1, self.shape[2], -1).flatten(2)[:, :, None]


class DropPath(nn.Module):
    """Drop a residual branch for whole samples in training (stochastic depth, Huang et al. 2016)."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, x: Tensor) -> Tensor:
        """Zero whole samples with the given probability and scale the others up; the identity outside training."""
        if not self.training or self.probability == 0.0:
            return x
        keep = 1.0 - self.probability
        kept = x.new_empty(x.shape[0], *[1] * (x.ndim - 1)).bernoulli_(keep)
        return x * kept / keep
