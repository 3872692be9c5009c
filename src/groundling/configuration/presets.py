"""The configurations of published models, and a tiny one for tests. Each call returns a new configuration."""

from groundling.configuration.bert import BertConfig
from groundling.configuration.grounding_dino import GroundingDinoConfig, MMGroundingDinoConfig
from groundling.configuration.swin import SwinConfig


def _swin_t_backbone() -> SwinConfig:
    return SwinConfig(out_indices=[2, 3, 4])


def _swin_b_backbone() -> SwinConfig:
    return SwinConfig(
        image_size=384,
        window_size=12,
        embed_dim=128,
        depths=[2, 2, 18, 2],
        num_heads=[4, 8, 16, 32],
        out_indices=[2, 3, 4],
    )


def _swin_l_backbone(out_indices: list[int]) -> SwinConfig:
    return SwinConfig(
        image_size=384,
        window_size=12,
        embed_dim=192,
        depths=[2, 2, 18, 2],
        num_heads=[6, 12, 24, 48],
        out_indices=out_indices,
    )


def swin_t() -> GroundingDinoConfig:
    """Grounding DINO, Swin-T ("grounding-dino-tiny", "groundingdino_swint_ogc")."""
    return GroundingDinoConfig(backbone_config=_swin_t_backbone())


def swin_b() -> GroundingDinoConfig:
    """Grounding DINO, Swin-B ("grounding-dino-base", "groundingdino_swinb_cogcoor")."""
    return GroundingDinoConfig(backbone_config=_swin_b_backbone())


def swin_l() -> GroundingDinoConfig:
    """Grounding DINO with a Swin-L backbone; its weights were not published."""
    return GroundingDinoConfig(backbone_config=_swin_l_backbone([2, 3, 4]))


def mm_swin_t() -> MMGroundingDinoConfig:
    """MM-Grounding-DINO and LLMDet, Swin-T; their heads are not shared between decoder layers."""
    return MMGroundingDinoConfig(
        backbone_config=_swin_t_backbone(), decoder_bbox_embed_share=False, decoder_cls_embed_share=False
    )


def mm_swin_b() -> MMGroundingDinoConfig:
    """MM-Grounding-DINO and LLMDet, Swin-B."""
    return MMGroundingDinoConfig(
        backbone_config=_swin_b_backbone(), decoder_bbox_embed_share=False, decoder_cls_embed_share=False
    )


def mm_swin_l() -> MMGroundingDinoConfig:
    """MM-Grounding-DINO and LLMDet, Swin-L, with feature maps of all four stages and five levels."""
    return MMGroundingDinoConfig(
        backbone_config=_swin_l_backbone([1, 2, 3, 4]),
        num_feature_levels=5,
        decoder_bbox_embed_share=False,
        decoder_cls_embed_share=False,
    )


def tiny() -> GroundingDinoConfig:
    """A network of 1.4 million parameters, most of them word embeddings: for tests and first steps, never trained."""
    return GroundingDinoConfig(
        backbone_config=SwinConfig(
            embed_dim=8, depths=[1, 1, 2, 1], num_heads=[1, 1, 2, 2], window_size=4, out_indices=[2, 3, 4]
        ),
        text_config=BertConfig(
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=64,
            max_position_embeddings=256,
        ),
        num_queries=30,
        encoder_layers=2,
        encoder_ffn_dim=64,
        encoder_attention_heads=4,
        decoder_layers=2,
        decoder_ffn_dim=64,
        decoder_attention_heads=4,
        d_model=64,
    )


PRESETS = {
    "swin_t": swin_t,
    "swin_b": swin_b,
    "swin_l": swin_l,
    "mm_swin_t": mm_swin_t,
    "mm_swin_b": mm_swin_b,
    "mm_swin_l": mm_swin_l,
    "tiny": tiny,
}
