"""Feature enhancer (section 3.1 of the paper): image and text look at each other and at themselves.

Shapes: B image, S image token, T text token, D width, H head, C width of a head, L level.
"""

import torch
from torch import Tensor, nn

from groundling.model.layers import DeformableAttention, DropPath, FeedForward, Linear, MultiHeadAttention
from groundling.model.position_encoding import token_position_encoding
from groundling.ops.bidirectional_attention import bidirectional_attention, bidirectional_weights, is_large
from groundling.ops.chunks import in_chunks
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
        image_BSD, image_BSHLP = self.image_self_attention(
            image._replace(token_BSD=image_BSD), reference_BSL2, attentions
        )
        if fusion_weights is None or text_BHTT is None or image_BSHLP is None:
            return image_BSD, text_BTD, None
        image_to_text_BHST, text_to_image_BHTS = fusion_weights
        weights = EnhancerAttentions(image_to_text_BHST, text_to_image_BHTS, text_BHTT, image_BSHLP)
        return image_BSD, text_BTD, weights


class ImageTextFusion(nn.Module):
    """Cross-attention from image to text and from text to image with one score matrix (after GLIP, Li et al. 2022).

    The normalised inputs are also what the results are added to.

    There are thousands of image tokens and a few text tokens, so everything is multiplied with the text tokens first:
    (x Wq) Kᵀ = x (Wq Kᵀ), A (V Wo) = (A V) Wo and Aᵀ (x Wv) = (Aᵀ x) Wv. No image token is ever projected to the
    attention's width, which would be most of the work. The bias bq adds the same to all
    image tokens of a text token, which the softmax over image tokens does not see.

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
        self.image_query = Projection(width, attention_width)
        self.text_key = Linear(width, attention_width)
        self.image_value = Projection(width, attention_width)
        self.text_value = Linear(width, attention_width)
        self.image_output = Projection(attention_width, width)
        self.text_output = Linear(attention_width, width)
        self.image_scale = nn.Parameter(torch.full((width,), self.INITIAL_SCALE))
        self.text_scale = nn.Parameter(torch.full((width,), self.INITIAL_SCALE))
        self.dropout = nn.Dropout(dropout)
        self.drop_path = DropPath(drop_path)

    def forward(
        self, image: ImageFeatures, text: TextFeatures, attentions: bool
    ) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor] | None]:
        """Return image tokens [B, S, D], text tokens [B, T, D] and, if asked for, both weights."""
        image_BSD, text_BTD = self.image_norm(image.token_BSD), self.text_norm(text.token_BTD)
        key_BHTD, offset_BHT1 = self._keys(text_BTD, text.valid_BT)
        value_BHTD, bias_D = self._values(text_BTD)
        valid_BS = image.valid_BS if image.padded else None
        weights = None
        if attentions or self.training or not is_large(image_BSD, key_BHTD):
            to_text_BHTS, to_image_BHTS = bidirectional_weights(image_BSD, key_BHTD, offset_BHT1, valid_BS)
            weights = to_text_BHTS.mT, to_image_BHTS
            told_BSD = self.dropout(to_text_BHTS).flatten(1, 2).mT @ value_BHTD.flatten(1, 2)
            kept_BNS = self.dropout(to_image_BHTS).flatten(1, 2)
            seen_BHTD = (kept_BNS @ image_BSD).view_as(value_BHTD)
            total_BHT1 = kept_BNS.sum(dim=-1).view_as(offset_BHT1)
        else:
            told_BSD, seen_BHTD = bidirectional_attention(image_BSD, key_BHTD, offset_BHT1, value_BHTD, valid_BS)
            total_BHT1 = torch.ones_like(offset_BHT1)
        image_BSD = image_BSD + self.drop_path(told_BSD + bias_D)
        text_BTD = text_BTD + self.drop_path(self._text_update(seen_BHTD, total_BHT1))
        return image_BSD, text_BTD, weights if attentions else None

    def _keys(self, text_BTD: Tensor, valid_BT: Tensor) -> tuple[Tensor, Tensor]:
        """Return what each text token compares image tokens with [B, H, T, D], and its score without any [B, H, T, 1].

        Padding has the score -inf.
        """
        key_BHTC = self._split(self.text_key(text_BTD))
        key_BHTC = key_BHTC * key_BHTC.shape[-1] ** -0.5
        weight_ED, bias_E = self.image_query()
        query_HCD, query_HC1 = self._heads(weight_ED), self._heads(bias_E)[..., None]
        offset_BHT1 = (key_BHTC @ query_HC1).masked_fill(~valid_BT[:, None, :, None], -torch.inf)
        return key_BHTC @ query_HCD, offset_BHT1

    def _values(self, text_BTD: Tensor) -> tuple[Tensor, Tensor]:
        """Return what each text token tells the image tokens that see it [B, H, T, D], and what all are told [D]."""
        weight_DE, bias_D = self.image_output()
        value_BHTD = self._split(self.text_value(text_BTD)) @ self._heads(weight_DE.mT)
        return value_BHTD * self.image_scale, bias_D * self.image_scale

    def _text_update(self, seen_BHTD: Tensor, total_BHT1: Tensor) -> Tensor:
        """Return what the image tells each text token, [B, T, D].

        Args:
            seen_BHTD: sum of the image tokens by their weights.
            total_BHT1: sum of the weights; not 1 where some were dropped.
        """
        weight_ED, bias_E = self.image_value()
        value_HCD, value_H1C = self._heads(weight_ED), self._heads(bias_E)[:, None]
        seen_BHTC = seen_BHTD @ value_HCD.mT + total_BHT1 * value_H1C
        update_BTD: Tensor = self.text_output(seen_BHTC.transpose(1, 2).flatten(2))
        return self.text_scale * update_BTD

    def _split(self, x_BNE: Tensor) -> Tensor:
        return x_BNE.view(*x_BNE.shape[:2], self.num_heads, x_BNE.shape[2] // self.num_heads).transpose(1, 2)

    def _heads(self, weight_E: Tensor) -> Tensor:
        """Split the first axis into heads and the width of a head."""
        return weight_E.reshape(self.num_heads, -1, *weight_E.shape[1:])


class Projection(nn.Module):
    """Weight and bias of a linear layer that is multiplied with others before it meets any token."""

    def __init__(self, input_width: int, output_width: int) -> None:
        super().__init__()
        layer = nn.Linear(input_width, output_width)
        self.weight, self.bias = layer.weight, layer.bias

    def forward(self) -> tuple[Tensor, Tensor]:
        """Return weight [O, I] and bias [O]; it is called for them, so that what wraps a module can change them."""
        return self.weight, self.bias


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

    def forward(self, image: ImageFeatures, reference_BSL2: Tensor, attentions: bool) -> tuple[Tensor, Tensor | None]:
        """Return image tokens [B, S, D] and, if asked for, the weights of the sampled points [B, S, H, L, P]."""
        value_BSHC = self.attention.values(image)
        if attentions:
            return self._tokens(image, value_BSHC, image.token_BSD, image.position_BSD, reference_BSL2)
        image_BSD = in_chunks(
            lambda *inputs: self._tokens(image, value_BSHC, *inputs)[0],
            image.token_BSD,
            image.position_BSD,
            reference_BSL2,
        )
        return image_BSD, None

    def _tokens(
        self, image: ImageFeatures, value_BSHC: Tensor, x_BnD: Tensor, position_BnD: Tensor, reference_BnL2: Tensor
    ) -> tuple[Tensor, Tensor]:
        attended_BnD, weights = self.attention(x_BnD + position_BnD, value_BSHC, image, reference_BnL2)
        x_BnD = self.attention_norm(x_BnD + self.dropout(attended_BnD))
        return self.feed_forward_norm(x_BnD + self.feed_forward(x_BnD)), weights
