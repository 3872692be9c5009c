"""The heads: similarity with the words, and boxes.

Shapes: B image, N query or image token, T text token, D width.
"""

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from groundling.model.layers import Linear


class MLP(nn.Module):
    """Linear layers with ReLU between them; all hidden layers have the width of the second."""

    def __init__(self, *, input_width: int, hidden_width: int, output_width: int, num_layers: int) -> None:
        super().__init__()
        widths = [input_width, *[hidden_width] * (num_layers - 1), output_width]
        self.layers = nn.ModuleList(Linear(a, b) for a, b in pairwise(widths))

    def forward(self, x: Tensor) -> Tensor:
        """Apply to the last axis."""
        for layer in self.layers[:-1]:
            x = F.relu(layer(x))
        output: Tensor = self.layers[-1](x)
        return output


def box_head(width: int) -> MLP:
    """Build the head that turns a query into the change of its box, before the sigmoid."""
    return MLP(input_width=width, hidden_width=width, output_width=4, num_layers=3)


class ContrastiveHead(nn.Module):
    """Similarity of queries with text tokens: their dot product (section 3.3 of the paper)."""

    def forward(self, query_BND: Tensor, text_BTD: Tensor, valid_BT: Tensor) -> Tensor:
        """Return logits [B, N, T] in float32, -inf at padding."""
        similarity_BNT = self.similarity(query_BND, text_BTD)
        return similarity_BNT.float().masked_fill(~valid_BT[:, None], -math.inf)

    def similarity(self, query_BND: Tensor, text_BTD: Tensor) -> Tensor:
        """Return the similarity before masking [B, N, T]."""
        return query_BND @ text_BTD.transpose(1, 2)


class ScaledContrastiveHead(ContrastiveHead):
    """The dot product divided by √D plus a learned bias (MM-Grounding-DINO); stable when trained from scratch."""

    INITIAL_BIAS = -math.log(99)
    """A fresh head says 0.01 everywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.tensor(self.INITIAL_BIAS))

    def similarity(self, query_BND: Tensor, text_BTD: Tensor) -> Tensor:
        """Return the similarity before masking [B, N, T]."""
        return super().similarity(query_BND, text_BTD) / math.sqrt(query_BND.shape[-1]) + self.bias


def head_of_layer(heads: nn.ModuleList, layer: int) -> nn.Module:
    """Return the head of a decoder layer; a list of one head is shared by all layers."""
    return heads[layer if len(heads) > 1 else 0]
