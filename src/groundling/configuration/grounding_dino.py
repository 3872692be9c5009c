"""The detector's configuration, for both families."""

from collections.abc import Mapping
from typing import Any, ClassVar

from groundling.configuration import checks
from groundling.configuration.base import Config
from groundling.configuration.bert import BertConfig
from groundling.configuration.swin import SwinConfig
from groundling.errors import ConfigError

GROUP_NORM_GROUPS = 32


class DetectorConfig(Config):
    """What Grounding DINO and MM-Grounding-DINO have in common.

    Documented names are kept; in the paper's words: `d_model` is the width of the feature enhancer and the decoder,
    `encoder_*` belong to the feature enhancer (fusion and text enhancer use half of its heads and of its feed-forward
    width), `decoder_*` to the cross-modality decoder.
    """

    aliases: ClassVar[Mapping[str, str]] = {
        "hidden_size": "d_model",
        "num_attention_heads": "encoder_attention_heads",
    }

    backbone_config: SwinConfig
    text_config: BertConfig
    num_queries: int = 900
    encoder_layers: int = 6
    encoder_ffn_dim: int = 2048
    encoder_attention_heads: int = 8
    decoder_layers: int = 6
    decoder_ffn_dim: int = 2048
    decoder_attention_heads: int = 8
    is_encoder_decoder: bool = True
    activation_function: str = "relu"
    d_model: int = 256
    dropout: float | int = 0.1
    attention_dropout: float | int = 0.0
    activation_dropout: float | int = 0.0
    auxiliary_loss: bool = False
    position_embedding_type: str = "sine"
    num_feature_levels: int = 4
    encoder_n_points: int = 4
    decoder_n_points: int = 4
    two_stage: bool = True
    class_cost: float = 1.0
    bbox_cost: float = 5.0
    giou_cost: float = 2.0
    bbox_loss_coefficient: float = 5.0
    giou_loss_coefficient: float = 2.0
    focal_alpha: float = 0.25
    disable_custom_kernels: bool = False
    max_text_len: int = 256
    text_enhancer_dropout: float | int = 0.0
    fusion_droppath: float | int = 0.1
    fusion_dropout: float | int = 0.0
    embedding_init_target: bool = True
    query_dim: int = 4
    decoder_bbox_embed_share: bool = True
    positional_embedding_temperature: int = 20
    init_std: float = 0.02
    layer_norm_eps: float = 1e-5
    tie_word_embeddings: bool = True

    def _prepare(self, values: dict[str, Any]) -> dict[str, Any]:
        values = super()._prepare(values)
        backbone = values.get("backbone_config")
        if backbone is None or isinstance(backbone, dict):
            for legacy in ("use_timm_backbone", "use_pretrained_backbone", "backbone_kwargs"):
                values.pop(legacy, None)
            if backbone is None and values.get("backbone") is not None:
                raise ConfigError(
                    f"backbone={values['backbone']!r} names a backbone of another library. "
                    "Give backbone_config=SwinConfig(...) instead."
                )
        values["backbone_config"] = _part("backbone_config", backbone, SwinConfig, {"out_indices": [2, 3, 4]})
        values["text_config"] = _part("text_config", values.get("text_config"), BertConfig, {})
        return values

    def validate(self) -> None:
        """Check sizes against each other.

        Raises:
            ConfigError: a size is out of range or does not fit another.
        """
        name = type(self).__name__
        self.backbone_config.validate()
        self.text_config.validate()
        self._check_ranges(name)
        checks.divisible(name, "d_model", self.d_model, "the number of group-norm groups", GROUP_NORM_GROUPS)
        for part in ("encoder", "decoder"):
            heads = f"{part}_attention_heads"
            checks.divisible(name, "d_model", self.d_model, heads, getattr(self, heads))
        fusion_heads = self.encoder_attention_heads // 2
        checks.divisible(
            name, "encoder_ffn_dim // 2", self.encoder_ffn_dim // 2, "half the encoder heads", fusion_heads
        )
        checks.divisible(name, "d_model", self.d_model, "half the encoder heads", fusion_heads)
        maps = len(self.backbone_config.out_indices)
        if self.num_feature_levels < maps:
            raise ConfigError(
                f"{name}.num_feature_levels={self.num_feature_levels} is less than the {maps} feature maps that "
                f"backbone_config.out_indices={self.backbone_config.out_indices} gives. Raise it or use fewer maps."
            )
        if self.class_cost == self.bbox_cost == self.giou_cost == 0:
            raise ConfigError(f"{name}: class_cost, bbox_cost and giou_cost cannot all be 0: nothing could be matched.")

    def _check_ranges(self, name: str) -> None:
        checks.at_least(
            name,
            1,
            num_queries=self.num_queries,
            encoder_ffn_dim=self.encoder_ffn_dim,
            decoder_ffn_dim=self.decoder_ffn_dim,
            decoder_layers=self.decoder_layers,
            encoder_n_points=self.encoder_n_points,
            decoder_n_points=self.decoder_n_points,
            max_text_len=self.max_text_len,
            positional_embedding_temperature=self.positional_embedding_temperature,
        )
        checks.at_least(name, 0, encoder_layers=self.encoder_layers)
        checks.at_most(name, 1000, encoder_layers=self.encoder_layers, decoder_layers=self.decoder_layers)
        checks.at_most(name, 1000, num_feature_levels=self.num_feature_levels, points=self.encoder_n_points)
        checks.at_most(name, 2**20, d_model=self.d_model, num_queries=self.num_queries, max_text_len=self.max_text_len)
        checks.at_most(name, 2**20, encoder_ffn_dim=self.encoder_ffn_dim, decoder_ffn_dim=self.decoder_ffn_dim)
        checks.at_least(name, 2, encoder_attention_heads=self.encoder_attention_heads)
        checks.probability(
            name,
            dropout=self.dropout,
            attention_dropout=self.attention_dropout,
            activation_dropout=self.activation_dropout,
            text_enhancer_dropout=self.text_enhancer_dropout,
            fusion_droppath=self.fusion_droppath,
            fusion_dropout=self.fusion_dropout,
        )
        checks.positive(name, layer_norm_eps=self.layer_norm_eps)
        checks.one_of(name, "activation_function", self.activation_function, checks.ACTIVATIONS)
        checks.one_of(name, "position_embedding_type", self.position_embedding_type, ("sine", "learned"))
        fixed = {"two_stage": True, "embedding_init_target": True, "query_dim": 4}
        for field, only in fixed.items():
            if getattr(self, field) != only:
                raise ConfigError(
                    f"{name}.{field} must be {only!r}, but got {getattr(self, field)!r}: "
                    "no Grounding DINO checkpoint has another value, and no implementation runs it."
                )

    def to_dict(self) -> dict[str, Any]:
        """Return all values as plain Python types; the parts are dicts as the layout has them."""
        return super().to_dict() | {
            "backbone_config": self.backbone_config.to_file_dict(),
            "text_config": self.text_config.to_file_dict(),
        }


class GroundingDinoConfig(DetectorConfig):
    """Configuration of Grounding DINO (Liu et al. 2023); the defaults are the published Swin-T model.

    `two_stage_bbox_embed_share` is part of the file layout and changes nothing in the network.
    """

    model_type: ClassVar[str] = "grounding-dino"

    two_stage_bbox_embed_share: bool = False

    def validate(self) -> None:
        """Check sizes against each other.

        Raises:
            ConfigError: a size is out of range or does not fit another.
        """
        super().validate()
        if self.two_stage_bbox_embed_share and not self.decoder_bbox_embed_share:
            raise ConfigError(
                "If two_stage_bbox_embed_share is True, decoder_bbox_embed_share must be True. Set both or neither."
            )


class MMGroundingDinoConfig(DetectorConfig):
    """Configuration of MM-Grounding-DINO (Zhao et al. 2024) and LLMDet: the contrastive head has a scale and a bias."""

    model_type: ClassVar[str] = "mm-grounding-dino"

    decoder_cls_embed_share: bool = True


def _part(field: str, value: object, part: type[Config], defaults: dict[str, Any]) -> object:
    """Build a part of the configuration from a dict; anything else but None is checked when the field is set."""
    if value is None:
        return part(**defaults)
    if not isinstance(value, dict):
        return value
    found = value.get("model_type", part.model_type)
    if found != part.model_type:
        raise ConfigError(
            f"{field} has model_type={found!r}, but groundling has {part.model_type!r} only. "
            "Convert the checkpoint or choose another one."
        )
    return part.from_dict(value)
