"""Feature enhancer (section 3.1 of the paper): image and text look at each other and at themselves.

Shapes: B image, S image token, T text token, D width, H head, C width of a head, L level.
"""

import torch
from torch import Tensor, nn

from groundling.model.layers import DeformableAttention, DropPath, FeedForward, MultiHeadAttention
from groundling.model.position_encoding import token_position_encoding
from groundling.ops.reference_points import encoder_reference_points
from groundling.structures.features import EnhancedFeatures, EnhancerAttentions, ImageFeatures, TextFeatures


class FeatureEnhancer(nn.Module):
    """A stack of enhancer layers."""

    def __init__(self, layers: "list[FeatureEnhancerLayer]") -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(
        self, image: ImageFeatures, text: TextFeatures, *, states: bool = False, attentions: bool = False
    ) -> EnhancedFeatures:
        """Enhance both modalities.

        Args:
            image: image tokens with their positions.
            text: text tokens with their positions.
            states: also return the tokens around each layer.
            attentions: also return the attention weights of each layer.
        """
        image_BSD, text_BTD = image.token_BSD, text.token_BTD
        text_position_BTD = token_position_encoding(text.position_BT, text_BTD.shape[-1]).to(text_BTD.dtype)
        reference_BSL2 = encoder_reference_points(image.level_shapes, image.level_size_L2, image.valid_ratio_BL2)
        image_states, text_states, weights = [image_BSD], [text_BTD], []
        for layer in self.layers:
            image_BSD, text_BTD, layer_weights = layer(
                image._replace(token_BSD=image_BSD),
                text._replace(token_BTD=text_BTD),
                text_position_BTD,
                reference_BSL2,
                attentions,
            )
            if states:
                image_states.append(image_BSD)
                text_states.append(text_BTD)
            if attentions:
                weights.append(layer_weights)
        return EnhancedFeatures(
            image_BSD,
            text_BTD,
            tuple(image_states) if states else (),
            tuple(text_states) if states else (),
            tuple(weights),
        )


class FeatureEnhancerLayer(nn.Module):
    """Fusion, then self-attention of the text within phrases and deformable self-attention of the image."""

    def __init__(
        self,
        *,
        fusion: "ImageTextFusion",
        text_self_attention: "TextSelfAttention",
        image_self_attention: "ImageSelfAttention",
    ) -> None:
        super().__init__()
        self.fusion = fusion
        self.text_self_attention = text_self_attention
        self.image_self_attention = image_self_attention

    def forward(
        self,
        image: ImageFeatures,
        text: TextFeatures,
        text_position_BTD: Tensor,
        reference_BSL2: Tensor,
        attentions: bool,
    ) -> tuple[Tensor, Tensor, EnhancerAttentions | None]:
        """Return image tokens [B, S, D], text tokens [B, T, D] and, if asked for, the attention weights."""
        image_BSD, text_BTD, fusion_weights = self.fusion(image, text, attentions)
        text_BTD, text_BHTT = self.text_self_attention(text_BTD, text_position_BTD, text.same_phrase_BTT, attentions)
        image_BSD, image_BSHLP = self.image_self_attention(image._replace(token_BSD=image_BSD), reference_BSL2)
        if fusion_weights is None or text_BHTT is None:
            return image_BSD, text_BTD, None
        image_to_text_BHST, text_to_image_BHTS = fusion_weights
        weights = EnhancerAttentions(image_to_text_BHST, text_to_image_BHTS, text_BHTT, image_BSHLP)
        return image_BSD, text_BTD, weights


class ImageTextFusion(nn.Module):
    """Cross-attention from image to text and from text to image with one score matrix (after GLIP, Li et al. 2022).

    The normalised inputs are also what the results are added to.

    Args:
        width: width of both modalities.
        attention_width: width in which they meet; `num_heads` divides it.
        num_heads: number of heads.
        dropout: chance to drop an attention weight.
        drop_path: chance to skip the fusion for a sample in training.
        norm_eps: epsilon of the norms.
    """

    INITIAL_SCALE = 1e-4
    """The fusion starts almost switched off."""

    def __init__(
        self,
        *,
        width: int,
        attention_width: int,
        num_heads: int,
        dropout: float,
        drop_path: float,
        norm_eps: float,
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.image_norm = nn.LayerNorm(width, eps=norm_eps)
        self.text_norm = nn.LayerNorm(width, eps=norm_eps)
        self.image_query = nn.Linear(width, attention_width)
        self.text_key = nn.Linear(width, attention_width)
        self.image_value = nn.Linear(width, attention_width)
        self.text_value = nn.Linear(width, attention_width)
        self.image_output = nn.Linear(attention_width, width)
        self.text_output = nn.Linear(attention_width, width)
        self.image_scale = nn.Parameter(torch.full((width,), self.INITIAL_SCALE))
        self.text_scale = nn.Parameter(torch.full((width,), self.INITIAL_SCALE))
        self.dropout = nn.Dropout(dropout)
        self.drop_path = DropPath(drop_path)

    def forward(
        self, image: ImageFeatures, text: TextFeatures, attentions: bool
    ) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor] | None]:
        """Return image tokens [B, S, D], text tokens [B, T, D] and, if asked for, both weights.

        The softmax is shift-invariant, so nothing is subtracted from the scores beforehand.
        """
        image_BSD, text_BTD = self.image_norm(image.token_BSD), self.text_norm(text.token_BTD)
        query_BHSC = self._split(self.image_query(image_BSD))
        key_BHTC = self._split(self.text_key(text_BTD))
        score_BHST = query_BHSC * query_BHSC.shape[-1] ** -0.5 @ key_BHTC.transpose(-2, -1)

        image_to_text_BHST = _masked_softmax(score_BHST, text.valid_BT[:, None, None])
        text_to_image_BHTS = _masked_softmax(score_BHST.transpose(-2, -1), image.valid_BS[:, None, None])
        image_update_BSD = self.image_output(
            self._merge(self.dropout(image_to_text_BHST) @ self._split(self.text_value(text_BTD)))
        )
        text_update_BTD = self.text_output(
            self._merge(self.dropout(text_to_image_BHTS) @ self._split(self.image_value(image_BSD)))
        )
        image_BSD = image_BSD + self.drop_path(self.image_scale * image_update_BSD)
        text_BTD = text_BTD + self.drop_path(self.text_scale * text_update_BTD)
        return image_BSD, text_BTD, (image_to_text_BHST, text_to_image_BHTS) if attentions else None

    def _split(self, x_BNE: Tensor) -> Tensor:
        return x_BNE.view(*x_BNE.shape[:2], self.num_heads, -1).transpose(1, 2)

    def _merge(self, x_BHNC: Tensor) -> Tensor:
        return x_BHNC.transpose(1, 2).flatten(2)


def _masked_softmax(score: Tensor, valid: Tensor) -> Tensor:
    return score.masked_fill(~valid, -torch.inf).softmax(dim=-1)


class TextSelfAttention(nn.Module):
    """Self-attention of the text tokens within their phrases, then a feed-forward network."""

    def __init__(
        self, *, attention: MultiHeadAttention, feed_forward: FeedForward, width: int, dropout: float, norm_eps: float
    ) -> None:
        super().__init__()
        self.attention = attention
        self.dropout = nn.Dropout(dropout)
        self.attention_norm = nn.LayerNorm(width, eps=norm_eps)
        self.feed_forward = feed_forward
        self.feed_forward_norm = nn.LayerNorm(width, eps=norm_eps)

    def forward(
        self, text_BTD: Tensor, position_BTD: Tensor, same_phrase_BTT: Tensor, attentions: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Return text tokens [B, T, D] and, if asked for, the attention weights [B, H, T, T]."""
        query_BTD = text_BTD + position_BTD
        attended_BTD, weights = self.attention(
            query_BTD, query_BTD, text_BTD, mask=same_phrase_BTT[:, None], weights=attentions
        )
        text_BTD = self.attention_norm(text_BTD + self.dropout(attended_BTD))
        text_BTD = self.feed_forward_norm(text_BTD + self.feed_forward(text_BTD))
        return text_BTD, weights


class ImageSelfAttention(nn.Module):
    """Deformable self-attention of the image tokens over all levels, then a feed-forward network."""

    def __init__(
        self, *, attention: DeformableAttention, feed_forward: FeedForward, width: int, dropout: float, norm_eps: float
    ) -> None:
        super().__init__()
        self.attention = attention
        self.dropout = nn.Dropout(dropout)
        self.attention_norm = nn.LayerNorm(width, eps=norm_eps)
        self.feed_forward = feed_forward
        self.feed_forward_norm = nn.LayerNorm(width, eps=norm_eps)

    def forward(self, image: ImageFeatures, reference_BSL2: Tensor) -> tuple[Tensor, Tensor]:
        """Return image tokens [B, S, D] and the weights of the sampled points [B, S, H, L, P]."""
        image_BSD = image.token_BSD
        attended_BSD, weights = self.attention(image_BSD + image.position_BSD, image, reference_BSL2)
        image_BSD = self.attention_norm(image_BSD + self.dropout(attended_BSD))
        image_BSD = self.feed_forward_norm(image_BSD + self.feed_forward(image_BSD))
        return image_BSD, weights
