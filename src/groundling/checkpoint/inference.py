"""From the shapes of a state dict to the configuration, for files that come without one."""

import re
from collections.abc import Mapping

from torch import Tensor

from groundling.checkpoint.heads import SHARING_FLAGS, split_heads
from groundling.configuration import BertConfig, DetectorConfig, GroundingDinoConfig, MMGroundingDinoConfig, SwinConfig
from groundling.configuration.presets import PRESETS
from groundling.errors import CheckpointError, ConfigError

_BERT_HEAD_WIDTH = 64  # of every published BERT


class _Shapes:
    """The shapes of a state dict in our names; a name that is not there raises an error that says what follows."""

    def __init__(self, tensors: Mapping[str, Tensor], source: str) -> None:
        self.shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
        self.source = source

    def __contains__(self, name: str) -> bool:
        return name in self.shapes

    def size(self, name: str, axis: int) -> int:
        if name not in self.shapes:
            raise CheckpointError(f"{self.source} lacks {name!r}, so the model's sizes cannot be read from it. {_HELP}")
        return self.shapes[name][axis]

    def count(self, pattern: str) -> int:
        """Number of modules, from the numbers in their names."""
        found = (re.match(pattern, name) for name in self.shapes)
        return max((int(match[1]) + 1 for match in found if match), default=0)

    def divide(self, total: int, by: int, what: str) -> int:
        if total % by:
            raise CheckpointError(f"{self.source}: {total} {what} cannot be divided by {by}. {_HELP}")
        return total // by


_HELP = "Give the configuration: config=GroundingDinoConfig(...)."


def infer_config(tensors: Mapping[str, Tensor], *, source: str) -> DetectorConfig:
    """Read the configuration from the tensors of a model.

    Everything that shows in a shape is read from it; heads of Grounding DINO are taken as shared, which `settle_heads`
    corrects by their values. What does not (numbers of attention heads outside Swin, dropout,
    loss weights) is that of the published model with the same image backbone.

    Args:
        tensors: a state dict in our names with the prefix `model.`.
        source: the file, for error messages.

    Raises:
        CheckpointError: a tensor that is needed is missing, or the shapes contradict each other.
    """
    shapes = _Shapes(tensors, source)
    config = _nearest_preset(shapes)
    _fill_swin(config.backbone_config, shapes)
    _fill_bert(config.text_config, shapes)
    _fill_transformer(config, shapes)
    if isinstance(config, MMGroundingDinoConfig):
        # Trained with heads of its own for every layer; that some are equal would be chance. With one layer both are
        # the same.
        for kind, flag in SHARING_FLAGS.items():
            setattr(config, flag, len(split_heads(tensors, kind)) <= 1)
    try:
        config.validate()
    except ConfigError as error:
        raise CheckpointError(
            f"The sizes read from the tensors of {source} do not make a model: {error} {_HELP}"
        ) from error
    return config


def _nearest_preset(shapes: _Shapes) -> DetectorConfig:
    """Return the published model with the same image backbone width, else with Swin-T, in the file's family."""
    width = shapes.size("model.image_backbone.patch_embedding.projection.weight", 0)
    is_mm = "model.query_selection.contrastive_head.bias" in shapes
    family = MMGroundingDinoConfig if is_mm else GroundingDinoConfig
    presets = [preset() for preset in PRESETS.values()]
    same_width = [preset for preset in presets if preset.backbone_config.embed_dim == width]
    chosen = next((preset for preset in same_width if type(preset) is family), (same_width or presets)[0])
    return family(**{field: getattr(chosen, field) for field in family.own_fields() if hasattr(chosen, field)})


def _fill_swin(config: SwinConfig, shapes: _Shapes) -> None:
    patch = "model.image_backbone.patch_embedding.projection.weight"
    config.embed_dim, config.num_channels, config.patch_size = (shapes.size(patch, axis) for axis in range(3))
    stage = "model.image_backbone.stages.{}.blocks.0.attention.relative_position_bias"
    stages = range(shapes.count(r"model\.image_backbone\.stages\.(\d+)\."))
    config.depths = [shapes.count(rf"model\.image_backbone\.stages\.{s}\.blocks\.(\d+)\.") for s in stages]
    config.num_heads = [shapes.size(stage.format(s), 1) for s in stages]
    # The table has a row for each pair of offsets from -(window - 1) to window - 1.
    config.window_size = (round(shapes.size(stage.format(0), 0) ** 0.5) + 1) // 2
    hidden = shapes.size("model.image_backbone.stages.0.blocks.0.feed_forward.fc1.weight", 0)
    config.mlp_ratio = hidden / config.embed_dim
    config.qkv_bias = "model.image_backbone.stages.0.blocks.0.attention.query.bias" in shapes
    config.out_indices = [
        number
        for number in range(1, len(stages) + 1)
        if f"model.image_backbone.output_norms.stage{number}.weight" in shapes
    ]


def _fill_bert(config: BertConfig, shapes: _Shapes) -> None:
    bert = "model.text_backbone"
    config.vocab_size = shapes.size(f"{bert}.word_embedding.weight", 0)
    width = shapes.size(f"{bert}.word_embedding.weight", 1)
    if width != config.hidden_size:
        # Does not show in a shape; a width that is no multiple is caught by the configuration's own check.
        config.num_attention_heads = max(1, width // _BERT_HEAD_WIDTH)
    config.hidden_size = width
    config.max_position_embeddings = shapes.size(f"{bert}.position_embedding.weight", 0)
    config.type_vocab_size = shapes.size(f"{bert}.token_type_embedding.weight", 0)
    config.num_hidden_layers = shapes.count(r"model\.text_backbone\.layers\.(\d+)\.")
    if config.num_hidden_layers:
        config.intermediate_size = shapes.size(f"{bert}.layers.0.feed_forward.fc1.weight", 0)


def _fill_transformer(config: DetectorConfig, shapes: _Shapes) -> None:
    config.num_feature_levels, config.d_model = (shapes.size("model.level_embedding", axis) for axis in range(2))
    config.num_queries = shapes.size("model.query_selection.query_embedding.weight", 0)
    config.encoder_layers = shapes.count(r"model\.feature_enhancer\.layers\.(\d+)\.")
    config.decoder_layers = shapes.count(r"model\.decoder\.layers\.(\d+)\.")
    config.position_embedding_type = "learned" if _has_learned_positions(shapes) else "sine"
    if config.encoder_layers:
        layer = "model.feature_enhancer.layers.0.image_self_attention"
        config.encoder_ffn_dim = shapes.size(f"{layer}.feed_forward.fc1.weight", 0)
        config.encoder_n_points = _points(shapes, f"{layer}.attention", config, config.encoder_attention_heads)
    layer = "model.decoder.layers.0"
    config.decoder_ffn_dim = shapes.size(f"{layer}.feed_forward.fc1.weight", 0)
    config.decoder_n_points = _points(shapes, f"{layer}.image_attention", config, config.decoder_attention_heads)


def _has_learned_positions(shapes: _Shapes) -> bool:
    return "model.position_encoding.row_embedding.weight" in shapes


def _points(shapes: _Shapes, attention: str, config: DetectorConfig, heads: int) -> int:
    """Sampling points of a deformable attention; only heads x levels x points shows, so the heads are the preset's."""
    weights = shapes.size(f"{attention}.attention_weights.weight", 0)
    return shapes.divide(weights, heads * config.num_feature_levels, "attention weights of a query")
