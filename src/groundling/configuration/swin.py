"""The image backbone's sizes (Swin Transformer, Liu et al. 2021)."""

from collections.abc import Mapping
from typing import Any, ClassVar

from groundling.configuration import checks
from groundling.configuration.base import Config
from groundling.errors import ConfigError


class SwinConfig(Config):
    """Sizes of a Swin Transformer and which of its stages give feature maps.

    Stage s (1-based) has width `embed_dim * 2 ** (s - 1)` and a stride of `patch_size * 2 ** (s - 1)` pixels. Give
    `out_indices` (1-based stage numbers) or `out_features` ("stage2", ...); the other follows. Without either only the
    last stage is used.
    """

    model_type: ClassVar[str] = "swin"
    aliases: ClassVar[Mapping[str, str]] = {"num_attention_heads": "num_heads", "num_hidden_layers": "num_layers"}

    image_size: int | list[int] = 224
    patch_size: int | list[int] = 4
    num_channels: int = 3
    embed_dim: int = 96
    depths: list[int] = [2, 2, 6, 2]  # noqa: RUF012  (each instance gets a copy)
    num_heads: list[int] = [3, 6, 12, 24]  # noqa: RUF012
    window_size: int = 7
    mlp_ratio: float = 4.0
    qkv_bias: bool = True
    hidden_dropout_prob: float = 0.0
    attention_probs_dropout_prob: float = 0.0
    drop_path_rate: float = 0.1
    hidden_act: str = "gelu"
    use_absolute_embeddings: bool = False
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-5
    encoder_stride: int = 32
    out_indices: list[int] = [4]  # noqa: RUF012

    def _prepare(self, values: dict[str, Any]) -> dict[str, Any]:
        for derived in ("hidden_size", "num_layers", "num_hidden_layers", "stage_names"):
            values.pop(derived, None)
        values = super()._prepare(values)
        depths = values.get("depths", type(self).depths)
        for name in ("depths", "out_features", "out_indices"):
            if not isinstance(values.get(name, []), list | tuple | None):
                raise ConfigError(f"SwinConfig.{name} must be a list, but got {values[name]!r}.")
        stages = ["stem", *(f"stage{stage}" for stage in range(1, len(depths) + 1))]
        features, indices = values.pop("out_features", None), values.pop("out_indices", None)
        if features is not None:
            unknown = [name for name in features if name not in stages]
            if unknown:
                raise ConfigError(f"SwinConfig.out_features has {unknown}, but the stages are {stages}.")
        if indices is not None:
            if not all(isinstance(index, int) and -len(stages) <= index < len(stages) for index in indices):
                raise ConfigError(f"SwinConfig.out_indices={indices} must be numbers of the stages {stages}.")
            indices = [index % len(stages) for index in indices]
        from_features = None if features is None else [stages.index(name) for name in features]
        if indices is not None and from_features is not None and indices != from_features:
            raise ConfigError(
                f"SwinConfig.out_features={list(features)} and out_indices={indices} name different stages. "
                "Give only one of them."
            )
        chosen = indices if indices is not None else from_features
        values["out_indices"] = [len(depths)] if chosen is None else chosen
        return values

    @property
    def num_layers(self) -> int:
        """Number of stages."""
        return len(self.depths)

    @property
    def hidden_size(self) -> int:
        """Width of the last stage."""
        return self.stage_widths[-1]

    @property
    def stage_names(self) -> list[str]:
        """Names of all stages, the patch embedding ("stem") first."""
        return ["stem", *(f"stage{stage}" for stage in range(1, self.num_layers + 1))]

    @property
    def out_features(self) -> list[str]:
        """Names of the stages that give feature maps."""
        return [self.stage_names[index] for index in self.out_indices]

    @property
    def stage_widths(self) -> list[int]:
        """Width of each stage."""
        return [self.embed_dim * 2**stage for stage in range(self.num_layers)]

    def validate(self) -> None:
        """Check sizes against each other.

        Raises:
            ConfigError: a size is out of range or does not fit another.
        """
        name = "SwinConfig"
        checks.at_least(name, 1, num_channels=self.num_channels, embed_dim=self.embed_dim, window_size=self.window_size)
        checks.probability(
            name,
            hidden_dropout_prob=self.hidden_dropout_prob,
            attention_probs_dropout_prob=self.attention_probs_dropout_prob,
            drop_path_rate=self.drop_path_rate,
        )
        checks.positive(name, mlp_ratio=self.mlp_ratio, layer_norm_eps=self.layer_norm_eps)
        checks.one_of(name, "hidden_act", self.hidden_act, checks.ACTIVATIONS)
        if not self.depths or len(self.depths) != len(self.num_heads):
            raise ConfigError(
                f"SwinConfig.depths={self.depths} and num_heads={self.num_heads} must have one entry for each stage."
            )
        for stage, (width, heads) in enumerate(zip(self.stage_widths, self.num_heads, strict=True), start=1):
            checks.divisible(name, f"width of stage {stage}", width, "num_heads", heads)
        checks.at_most(name, 256, window_size=self.window_size, stages=len(self.depths))
        checks.at_most(name, 1000, blocks=sum(self.depths), mlp_ratio=self.mlp_ratio)
        checks.at_most(name, 2**20, embed_dim=self.embed_dim, num_channels=self.num_channels)
        if self.out_indices != sorted(set(self.out_indices)) or 0 in self.out_indices or not self.out_indices:
            raise ConfigError(
                f"SwinConfig.out_indices={self.out_indices} must be different stage numbers from 1 to "
                f"{self.num_layers} in ascending order."
            )

    def to_dict(self) -> dict[str, Any]:
        """Return all values, with those that the layout derives from them."""
        return super().to_dict() | {
            "hidden_size": self.hidden_size,
            "num_layers": self.num_layers,
            "stage_names": self.stage_names,
            "out_features": self.out_features,
        }

    def to_file_dict(self) -> dict[str, Any]:
        """Return what a detector's `config.json` holds of its backbone: everything but the version."""
        values = self.to_dict()
        values.pop("transformers_version")
        values["id2label"] = _default_labels() if self.id2label is None else self.id2label
        values["label2id"] = (
            {label: index for index, label in _default_labels().items()} if self.label2id is None else self.label2id
        )
        return values


def _default_labels() -> dict[int, str]:
    return {0: "LABEL_0", 1: "LABEL_1"}
