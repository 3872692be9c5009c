"""The layout of the `.pth` files that came with the paper (IDEA-Research/GroundingDINO)."""

from groundling.checkpoint.key_maps.bert import LEGACY_SPELLINGS, bert_rules
from groundling.checkpoint.rules import KeyMap, Rule, fused, rule, rules_below

_SWIN_BLOCK = {
    "attention_norm": "norm1",
    "attention.output": "attn.proj",
    "feed_forward_norm": "norm2",
    "feed_forward.fc1": "mlp.fc1",
    "feed_forward.fc2": "mlp.fc2",
}
FUSION = {
    "image_norm": "layer_norm_v",
    "text_norm": "layer_norm_l",
    "image_query": "attn.v_proj",
    "text_key": "attn.l_proj",
    "image_value": "attn.values_v_proj",
    "text_value": "attn.values_l_proj",
    "image_output": "attn.out_v_proj",
    "text_output": "attn.out_l_proj",
}
DEFORMABLE_ATTENTION = {
    "sampling_offsets": "sampling_offsets",
    "attention_weights": "attention_weights",
    "value": "value_proj",
    "output": "output_proj",
}
_TRANSFORMER_LAYER = {
    "attention_norm": "norm1",
    "feed_forward.fc1": "linear1",
    "feed_forward.fc2": "linear2",
    "feed_forward_norm": "norm2",
}
# The norms' numbers follow the order in which the modules were written, not that of the computation.
_DECODER_LAYER = {
    "image_attention_norm": "norm1",
    "self_attention_norm": "norm2",
    "text_attention_norm": "catext_norm",
    "feed_forward.fc1": "linear1",
    "feed_forward.fc2": "linear2",
    "feed_forward_norm": "norm3",
}


def torch_attention(ours: str, theirs: str) -> tuple[Rule, ...]:
    """Return the table of one `torch.nn.MultiheadAttention`, whose first projection is fused."""
    return (
        fused([f"{ours}.{part}.*" for part in ("query", "key", "value")], f"{theirs}.in_proj_*"),
        rule(f"{ours}.output.*", f"{theirs}.out_proj.*"),
    )


_BLOCK = "model.image_backbone.stages.{s}.blocks.{i}"
_BACKBONE = (
    rule("model.image_backbone.patch_embedding.projection.*", "backbone.0.patch_embed.proj.*"),
    rule("model.image_backbone.patch_embedding.norm.*", "backbone.0.patch_embed.norm.*"),
    rule(
        f"{_BLOCK}.attention.relative_position_bias",
        "backbone.0.layers.{s}.blocks.{i}.attn.relative_position_bias_table",
    ),
    fused(
        [f"{_BLOCK}.attention.{part}.*" for part in ("query", "key", "value")],
        "backbone.0.layers.{s}.blocks.{i}.attn.qkv.*",
    ),
    *rules_below(_BLOCK, "backbone.0.layers.{s}.blocks.{i}", _SWIN_BLOCK),
    *rules_below(
        "model.image_backbone.stages.{s}.downsample",
        "backbone.0.layers.{s}.downsample",
        {"reduction": "reduction", "norm": "norm"},
    ),
    rule("model.image_backbone.output_norms.stage{n+1}.*", "backbone.0.norm{n}.*"),
    rule("model.image_projection.{l}.0.*", "input_proj.{l}.0.*"),
    rule("model.image_projection.{l}.1.*", "input_proj.{l}.1.*"),
    rule("model.level_embedding", "transformer.level_embed"),
)

_TEXT = (
    *bert_rules("bert"),
    rule("model.text_projection.*", "feat_map.*"),
)

_ENHANCER = "model.feature_enhancer.layers.{k}"
_FEATURE_ENHANCER = (
    *rules_below(f"{_ENHANCER}.fusion", "transformer.encoder.fusion_layers.{k}", FUSION),
    rule(f"{_ENHANCER}.fusion.image_scale", "transformer.encoder.fusion_layers.{k}.gamma_v"),
    rule(f"{_ENHANCER}.fusion.text_scale", "transformer.encoder.fusion_layers.{k}.gamma_l"),
    *torch_attention(f"{_ENHANCER}.text_self_attention.attention", "transformer.encoder.text_layers.{k}.self_attn"),
    *rules_below(f"{_ENHANCER}.text_self_attention", "transformer.encoder.text_layers.{k}", _TRANSFORMER_LAYER),
    *rules_below(
        f"{_ENHANCER}.image_self_attention.attention", "transformer.encoder.layers.{k}.self_attn", DEFORMABLE_ATTENTION
    ),
    *rules_below(f"{_ENHANCER}.image_self_attention", "transformer.encoder.layers.{k}", _TRANSFORMER_LAYER),
)

_QUERY_SELECTION = (
    rule("model.query_selection.memory_projection.*", "transformer.enc_output.*"),
    rule("model.query_selection.memory_norm.*", "transformer.enc_output_norm.*"),
    rule("model.query_selection.box_head.layers.{j}.*", "transformer.enc_out_bbox_embed.layers.{j}.*"),
    rule("model.query_selection.query_embedding.weight", "transformer.tgt_embed.weight"),
)

_DECODER = (
    rule("model.decoder.norm.*", "transformer.decoder.norm.*"),
    rule("model.decoder.reference_point_head.layers.{j}.*", "transformer.decoder.ref_point_head.layers.{j}.*"),
    *torch_attention("model.decoder.layers.{k}.self_attention", "transformer.decoder.layers.{k}.self_attn"),
    *torch_attention("model.decoder.layers.{k}.text_attention", "transformer.decoder.layers.{k}.ca_text"),
    *rules_below(
        "model.decoder.layers.{k}.image_attention", "transformer.decoder.layers.{k}.cross_attn", DEFORMABLE_ATTENTION
    ),
    *rules_below("model.decoder.layers.{k}", "transformer.decoder.layers.{k}", _DECODER_LAYER),
)

ORIGINAL = KeyMap(
    layout="original",
    rules=(
        *_BACKBONE,
        *_TEXT,
        *_FEATURE_ENHANCER,
        *_QUERY_SELECTION,
        *_DECODER,
        rule("box_heads.{k}.layers.{j}.*", "bbox_embed.{k}.layers.{j}.*"),
    ),
    copies=(rule("box_heads.{k}.layers.{j}.*", "transformer.decoder.bbox_embed.{k}.layers.{j}.*"),),
    writes_copies=True,
    spellings=LEGACY_SPELLINGS,
    ignored=(
        r"\.relative_position_index$",
        r"^bert\.pooler\.",
        r"(^|\.)position_ids$",
        r"^label_enc\.",  # denoising queries, used in training only
    ),
    unwritten=(r"^model\.image_backbone\.final_norm\.",),
)
