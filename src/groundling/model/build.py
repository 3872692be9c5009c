"""From a configuration to the stages of the model, which take plain values."""

from torch import nn

from groundling.configuration import BertConfig, DetectorConfig, MMGroundingDinoConfig, SwinConfig
from groundling.configuration.grounding_dino import GROUP_NORM_GROUPS
from groundling.errors import ConfigError
from groundling.model.bert import Bert, BertLayer
from groundling.model.cross_modality_decoder import CrossModalityDecoder, CrossModalityDecoderLayer
from groundling.model.feature_enhancer import (
    FeatureEnhancer,
    FeatureEnhancerLayer,
    ImageSelfAttention,
    ImageTextFusion,
    TextSelfAttention,
)
from groundling.model.heads import ContrastiveHead, ScaledContrastiveHead, box_head
from groundling.model.image_projection import ImageProjection
from groundling.model.layers import DeformableAttention, FeedForward, MultiHeadAttention
from groundling.model.position_encoding import LearnedPositionEncoding, SinePositionEncoding
from groundling.model.query_selection import LanguageGuidedQuerySelection
from groundling.model.swin import SwinBlockOptions, SwinTransformer


def build_image_backbone(config: SwinConfig) -> SwinTransformer:
    """Build the image backbone.

    Raises:
        ConfigError: the configuration asks for absolute position embeddings, which no detector has.
    """
    if config.use_absolute_embeddings:
        raise ConfigError("SwinConfig.use_absolute_embeddings=True is not supported: no Grounding DINO has them.")
    patch = config.patch_size if isinstance(config.patch_size, list) else [config.patch_size] * 2
    return SwinTransformer(
        patch_size=(patch[0], patch[1]),
        num_channels=config.num_channels,
        widths=config.stage_widths,
        depths=config.depths,
        num_heads=config.num_heads,
        out_stages=config.out_indices,
        drop_path=config.drop_path_rate,
        block=SwinBlockOptions(
            window_size=config.window_size,
            mlp_ratio=config.mlp_ratio,
            qkv_bias=config.qkv_bias,
            activation=config.hidden_act,
            dropout=config.hidden_dropout_prob,
            attention_dropout=config.attention_probs_dropout_prob,
            norm_eps=config.layer_norm_eps,
        ),
    )


def build_text_backbone(config: BertConfig) -> Bert:
    """Build the text backbone."""
    return Bert(
        vocabulary_size=config.vocab_size,
        width=config.hidden_size,
        max_positions=config.max_position_embeddings,
        num_token_types=config.type_vocab_size,
        padding_id=config.pad_token_id,
        dropout=config.hidden_dropout_prob,
        norm_eps=config.layer_norm_eps,
        layers=[
            BertLayer(
                width=config.hidden_size,
                num_heads=config.num_attention_heads,
                feed_forward_width=config.intermediate_size,
                activation=config.hidden_act,
                dropout=config.hidden_dropout_prob,
                attention_dropout=config.attention_probs_dropout_prob,
                norm_eps=config.layer_norm_eps,
            )
            for _ in range(config.num_hidden_layers)
        ],
    )


def build_image_projection(config: DetectorConfig) -> ImageProjection:
    """Build the projection of the backbone's maps."""
    backbone = config.backbone_config
    return ImageProjection(
        input_widths=[backbone.stage_widths[stage - 1] for stage in backbone.out_indices],
        width=config.d_model,
        num_levels=config.num_feature_levels,
        num_groups=GROUP_NORM_GROUPS,
    )


def build_position_encoding(config: DetectorConfig) -> nn.Module:
    """Build the position encoding of image tokens."""
    if config.position_embedding_type == "learned":
        return LearnedPositionEncoding(width=config.d_model)
    return SinePositionEncoding(width=config.d_model, temperature=float(config.positional_embedding_temperature))


def build_feature_enhancer(config: DetectorConfig) -> FeatureEnhancer:
    """Build the feature enhancer."""
    return FeatureEnhancer([_enhancer_layer(config) for _ in range(config.encoder_layers)])


def _enhancer_layer(config: DetectorConfig) -> FeatureEnhancerLayer:
    width, eps, heads = config.d_model, config.layer_norm_eps, config.encoder_attention_heads
    return FeatureEnhancerLayer(
        fusion=ImageTextFusion(
            width=width,
            attention_width=config.encoder_ffn_dim // 2,
            num_heads=heads // 2,
            dropout=config.fusion_dropout,
            drop_path=config.fusion_droppath,
            norm_eps=eps,
        ),
        text_self_attention=TextSelfAttention(
            attention=MultiHeadAttention(width=width, num_heads=heads // 2, dropout=config.attention_dropout),
            feed_forward=FeedForward(
                width=width,
                hidden_width=config.encoder_ffn_dim // 2,
                activation=config.activation_function,
                dropout=config.text_enhancer_dropout,
                activation_dropout=config.text_enhancer_dropout,
            ),
            width=width,
            dropout=config.text_enhancer_dropout,
            norm_eps=eps,
        ),
        image_self_attention=ImageSelfAttention(
            attention=DeformableAttention(
                width=width,
                num_heads=heads,
                num_levels=config.num_feature_levels,
                num_points=config.encoder_n_points,
            ),
            feed_forward=_feed_forward(config, config.encoder_ffn_dim),
            width=width,
            dropout=config.dropout,
            norm_eps=eps,
        ),
    )


def _feed_forward(config: DetectorConfig, hidden_width: int) -> FeedForward:
    return FeedForward(
        width=config.d_model,
        hidden_width=hidden_width,
        activation=config.activation_function,
        dropout=config.dropout,
        activation_dropout=config.activation_dropout,
    )


def build_query_selection(config: DetectorConfig) -> LanguageGuidedQuerySelection:
    """Build language-guided query selection."""
    return LanguageGuidedQuerySelection(
        width=config.d_model,
        num_queries=config.num_queries,
        norm_eps=config.layer_norm_eps,
        contrastive_head=_contrastive_head(config),
    )


def build_decoder(config: DetectorConfig) -> CrossModalityDecoder:
    """Build the cross-modality decoder."""
    width, eps, heads = config.d_model, config.layer_norm_eps, config.decoder_attention_heads
    layers = [
        CrossModalityDecoderLayer(
            self_attention=MultiHeadAttention(width=width, num_heads=heads, dropout=config.attention_dropout),
            text_attention=MultiHeadAttention(width=width, num_heads=heads, dropout=config.attention_dropout),
            image_attention=DeformableAttention(
                width=width,
                num_heads=heads,
                num_levels=config.num_feature_levels,
                num_points=config.decoder_n_points,
            ),
            feed_forward=_feed_forward(config, config.decoder_ffn_dim),
            width=width,
            dropout=config.dropout,
            norm_eps=eps,
        )
        for _ in range(config.decoder_layers)
    ]
    return CrossModalityDecoder(width=width, norm_eps=eps, layers=layers)


def build_box_heads(config: DetectorConfig) -> nn.ModuleList:
    """Build the box heads: one that all decoder layers share, or one for each."""
    return nn.ModuleList(
        box_head(config.d_model) for _ in range(1 if config.decoder_bbox_embed_share else config.decoder_layers)
    )


def build_contrastive_heads(config: DetectorConfig) -> nn.ModuleList:
    """Build the contrastive heads: one that all decoder layers share, or one for each."""
    unshared = isinstance(config, MMGroundingDinoConfig) and not config.decoder_cls_embed_share
    return nn.ModuleList(_contrastive_head(config) for _ in range(config.decoder_layers if unshared else 1))


def _contrastive_head(config: DetectorConfig) -> ContrastiveHead:
    return ScaledContrastiveHead() if isinstance(config, MMGroundingDinoConfig) else ContrastiveHead()
