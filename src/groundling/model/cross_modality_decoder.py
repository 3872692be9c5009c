"""Cross-modality decoder (section 3.3 of the paper): queries look at each other, the words and the picture.

Shapes: B image, S image token, T text token, Q query, D width, L level.
"""

import torch
from torch import Tensor, nn

from groundling.model.heads import MLP, head_of_layer
from groundling.model.layers import DeformableAttention, FeedForward, MultiHeadAttention
from groundling.model.position_encoding import box_position_encoding
from groundling.ops.reference_points import inverse_sigmoid
from groundling.structures.features import DecodedQueries, DecoderAttentions, ImageFeatures, Queries, TextFeatures


class CrossModalityDecoder(nn.Module):
    """A stack of decoder layers that refine the queries' boxes."""

    def __init__(self, *, width: int, norm_eps: float, layers: "list[CrossModalityDecoderLayer]") -> None:
        super().__init__()
        self.width = width
        self.reference_point_head = MLP(input_width=2 * width, hidden_width=width, output_width=width, num_layers=2)
        self.layers = nn.ModuleList(layers)
        self.norm = nn.LayerNorm(width, eps=norm_eps)

    def forward(
        self,
        queries: Queries,
        image: ImageFeatures,
        text: TextFeatures,
        box_heads: nn.ModuleList | None,
        *,
        query_mask: Tensor | None = None,
        attentions: bool = False,
    ) -> DecodedQueries:
        """Decode.

        Args:
            queries: contents and boxes to start from.
            image: enhanced image tokens.
            text: enhanced text tokens.
            box_heads: heads that refine the boxes after each layer, one or one for each; without them boxes stay.
            query_mask: True where a query may look at another one, broadcasts to [B, H, Q, Q]; None lets all see all.
            attentions: also return the attention weights of each layer.
        """
        x_BQD, box_BQ4 = queries.content_BQD, queries.box_BQ4
        ratio_B1L4 = torch.cat([image.valid_ratio_BL2, image.valid_ratio_BL2], dim=-1)[:, None]
        states, boxes, weights = [], [], []
        for number, layer in enumerate(self.layers):
            box_BQL4 = box_BQ4[:, :, None] * ratio_B1L4
            encoding_BQE = box_position_encoding(box_BQL4[:, :, 0], self.width).to(x_BQD.dtype)
            position_BQD = self.reference_point_head(encoding_BQE)
            x_BQD, layer_weights = layer(
                x_BQD, position_BQD, box_BQL4, image, text, query_mask=query_mask, attentions=attentions
            )
            refined_BQ4 = box_BQ4
            if box_heads is not None:
                change_BQ4 = head_of_layer(box_heads, number)(x_BQD).float()
                refined_BQ4 = (change_BQ4 + inverse_sigmoid(box_BQ4)).sigmoid()
            states.append(self.norm(x_BQD))
            boxes.append(refined_BQ4)
            box_BQ4 = refined_BQ4.detach()  # the prediction of the next layer still trains this one's head
            if attentions:
                weights.append(layer_weights)
        return DecodedQueries(tuple(states), tuple(boxes), self.norm(queries.content_BQD), tuple(weights))


class CrossModalityDecoderLayer(nn.Module):
    """Self-attention, cross-attention to the text, deformable cross-attention to the image, feed-forward network."""

    def __init__(
        self,
        *,
        self_attention: MultiHeadAttention,
        text_attention: MultiHeadAttention,
        image_attention: DeformableAttention,
        feed_forward: FeedForward,
        width: int,
        dropout: float,
        norm_eps: float,
    ) -> None:
        super().__init__()
        self.self_attention = self_attention
        self.self_attention_norm = nn.LayerNorm(width, eps=norm_eps)
        self.text_attention = text_attention
        self.text_attention_norm = nn.LayerNorm(width, eps=norm_eps)
        self.image_attention = image_attention
        self.image_attention_norm = nn.LayerNorm(width, eps=norm_eps)
        self.feed_forward = feed_forward
        self.feed_forward_norm = nn.LayerNorm(width, eps=norm_eps)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        x_BQD: Tensor,
        position_BQD: Tensor,
        box_BQL4: Tensor,
        image: ImageFeatures,
        text: TextFeatures,
        *,
        query_mask: Tensor | None,
        attentions: bool,
    ) -> tuple[Tensor, DecoderAttentions | None]:
        """Return the queries after this layer [B, Q, D] and, if asked for, the attention weights.

        Args:
            x_BQD: queries.
            position_BQD: encoding of their boxes.
            box_BQL4: their boxes on each level of the padded picture.
            image: enhanced image tokens.
            text: enhanced text tokens.
            query_mask: True where a query may look at another one, or None.
            attentions: also return the attention weights.
        """
        query_BQD = x_BQD + position_BQD
        attended_BQD, query_BHQQ = self.self_attention(query_BQD, query_BQD, x_BQD, mask=query_mask, weights=attentions)
        x_BQD = self.self_attention_norm(x_BQD + self.dropout(attended_BQD))

        attended_BQD, text_BHQT = self.text_attention(
            x_BQD + position_BQD,
            text.token_BTD,
            text.token_BTD,
            mask=text.valid_BT[:, None, None],
            weights=attentions,
        )
        x_BQD = self.text_attention_norm(x_BQD + self.dropout(attended_BQD))

        attended_BQD, image_BQHLP = self.image_attention(
            x_BQD + position_BQD, self.image_attention.values(image), image, box_BQL4
        )
        x_BQD = self.image_attention_norm(x_BQD + self.dropout(attended_BQD))
        x_BQD = self.feed_forward_norm(x_BQD + self.feed_forward(x_BQD))
        if query_BHQQ is None or text_BHQT is None:
            return x_BQD, None
        return x_BQD, DecoderAttentions(query_BHQQ, text_BHQT, image_BQHLP)
