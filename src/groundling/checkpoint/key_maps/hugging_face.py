"""The layout of Hugging Face folders: the names on disk, and every other spelling that is found in such files."""

from groundling.checkpoint.key_maps.bert import LEGACY_SPELLINGS, bert_rules
from groundling.checkpoint.rules import KeyMap, rule, rules_below

_SWIN = "model.backbone.conv_encoder.model"

_SWIN_BLOCK = {
    "attention.query": "attention.self.query",
    "attention.key": "attention.self.key",
    "attention.value": "attention.self.value",
    "attention.output": "attention.output.dense",
    "attention_norm": "layernorm_before",
    "feed_forward_norm": "layernorm_after",
    "feed_forward.fc1": "intermediate.dense",
    "feed_forward.fc2": "output.dense",
}
_ATTENTION = {"query": "query", "key": "key", "value": "value", "output": "out_proj"}
_DEFORMABLE_ATTENTION = {
    "sampling_offsets": "sampling_offsets",
    "attention_weights": "attention_weights",
    "value": "value_proj",
    "output": "output_proj",
}
_FUSION = {
    "image_norm": "layer_norm_vision",
    "text_norm": "layer_norm_text",
    "image_query": "attn.vision_proj",
    "text_key": "attn.text_proj",
    "image_value": "attn.values_vision_proj",
    "text_value": "attn.values_text_proj",
    "image_output": "attn.out_vision_proj",
    "text_output": "attn.out_text_proj",
}
_TEXT_SELF_ATTENTION = {
    "attention_norm": "layer_norm_before",
    "feed_forward.fc1": "fc1",
    "feed_forward.fc2": "fc2",
    "feed_forward_norm": "layer_norm_after",
}
_IMAGE_SELF_ATTENTION = {
    "attention_norm": "self_attn_layer_norm",
    "feed_forward.fc1": "fc1",
    "feed_forward.fc2": "fc2",
    "feed_forward_norm": "final_layer_norm",
}
_DECODER_LAYER = {
    "self_attention_norm": "self_attn_layer_norm",
    "text_attention_norm": "encoder_attn_text_layer_norm",
    "image_attention_norm": "encoder_attn_layer_norm",
    "feed_forward.fc1": "fc1",
    "feed_forward.fc2": "fc2",
    "feed_forward_norm": "final_layer_norm",
}

_BACKBONE = (
    rule("model.image_backbone.patch_embedding.projection.*", f"{_SWIN}.embeddings.patch_embeddings.projection.*"),
    rule("model.image_backbone.patch_embedding.norm.*", f"{_SWIN}.embeddings.norm.*"),
    *rules_below(
        "model.image_backbone.stages.{s}.blocks.{i}", f"{_SWIN}.encoder.layers.{{s}}.blocks.{{i}}", _SWIN_BLOCK
    ),
    rule(
        "model.image_backbone.stages.{s}.blocks.{i}.attention.relative_position_bias",
        f"{_SWIN}.encoder.layers.{{s}}.blocks.{{i}}.attention.self.relative_position_bias_table",
    ),
    *rules_below(
        "model.image_backbone.stages.{s}.downsample",
        f"{_SWIN}.encoder.layers.{{s}}.downsample",
        {"reduction": "reduction", "norm": "norm"},
    ),
    rule("model.image_backbone.output_norms.stage{n}.*", f"{_SWIN}.hidden_states_norms.stage{{n}}.*"),
    rule("model.image_backbone.final_norm.*", f"{_SWIN}.swin.layernorm.*"),
    rule("model.image_projection.{l}.0.*", "model.input_proj_vision.{l}.0.*"),
    rule("model.image_projection.{l}.1.*", "model.input_proj_vision.{l}.1.*"),
    rule("model.level_embedding", "model.level_embed"),
    rule("model.position_encoding.row_embedding.weight", "model.backbone.position_embedding.row_embeddings.weight"),
    rule(
        "model.position_encoding.column_embedding.weight", "model.backbone.position_embedding.column_embeddings.weight"
    ),
)

_TEXT = (
    *bert_rules("model.text_backbone"),
    rule("model.text_projection.*", "model.text_projection.*"),
)

_ENHANCER = "model.feature_enhancer.layers.{k}"
_FEATURE_ENHANCER = (
    *rules_below(f"{_ENHANCER}.fusion", "model.encoder.layers.{k}.fusion_layer", _FUSION),
    rule(f"{_ENHANCER}.fusion.image_scale", "model.encoder.layers.{k}.fusion_layer.vision_param"),
    rule(f"{_ENHANCER}.fusion.text_scale", "model.encoder.layers.{k}.fusion_layer.text_param"),
    *rules_below(
        f"{_ENHANCER}.text_self_attention.attention",
        "model.encoder.layers.{k}.text_enhancer_layer.self_attn",
        _ATTENTION,
    ),
    *rules_below(
        f"{_ENHANCER}.text_self_attention", "model.encoder.layers.{k}.text_enhancer_layer", _TEXT_SELF_ATTENTION
    ),
    *rules_below(
        f"{_ENHANCER}.image_self_attention.attention",
        "model.encoder.layers.{k}.deformable_layer.self_attn",
        _DEFORMABLE_ATTENTION,
    ),
    *rules_below(
        f"{_ENHANCER}.image_self_attention", "model.encoder.layers.{k}.deformable_layer", _IMAGE_SELF_ATTENTION
    ),
)

_QUERY_SELECTION = (
    rule("model.query_selection.memory_projection.*", "model.enc_output.*"),
    rule("model.query_selection.memory_norm.*", "model.enc_output_norm.*"),
    rule("model.query_selection.box_head.layers.{j}.*", "model.encoder_output_bbox_embed.layers.{j}.*"),
    rule("model.query_selection.query_embedding.weight", "model.query_position_embeddings.weight"),
    rule("model.query_selection.contrastive_head.bias", "model.encoder_output_class_embed.bias"),
)

_DECODER = (
    rule("model.decoder.norm.*", "model.decoder.layer_norm.*"),
    rule("model.decoder.reference_point_head.layers.{j}.*", "model.decoder.reference_points_head.layers.{j}.*"),
    *rules_below("model.decoder.layers.{k}.self_attention", "model.decoder.layers.{k}.self_attn", _ATTENTION),
    *rules_below("model.decoder.layers.{k}.text_attention", "model.decoder.layers.{k}.encoder_attn_text", _ATTENTION),
    *rules_below(
        "model.decoder.layers.{k}.image_attention", "model.decoder.layers.{k}.encoder_attn", _DEFORMABLE_ATTENTION
    ),
    *rules_below("model.decoder.layers.{k}", "model.decoder.layers.{k}", _DECODER_LAYER),
)

_HEADS = (
    rule("box_heads.{k}.layers.{j}.*", "bbox_embed.{k}.layers.{j}.*"),
    rule("contrastive_heads.{k}.bias", "class_embed.{k}.bias"),
)
_HEAD_COPIES = (
    rule("box_heads.{k}.layers.{j}.*", "model.decoder.bbox_embed.{k}.layers.{j}.*"),
    rule("contrastive_heads.{k}.bias", "model.decoder.class_embed.{k}.bias"),
)

_SWIN_AT_START = r"^(model\.backbone\.conv_encoder\.model)"
_BLOCK_AT_START = r"^(model\.backbone\.conv_encoder\.model\.encoder\.layers\.\d+\.blocks\.\d+)"
# A file of the base model has no prefix. Releases from 2025 on name the Swin modules anew in memory, but not on disk;
# state dicts saved without save_pretrained have the new names.
_SPELLINGS = (
    (r"^(?!model\.|bbox_embed\.|class_embed\.)", "model."),
    *LEGACY_SPELLINGS,
    (rf"{_SWIN_AT_START}\.swin\.(embeddings|encoder)\.", r"\1.\2."),
    (rf"{_BLOCK_AT_START}\.attention\.q_proj\.", r"\1.attention.self.query."),
    (rf"{_BLOCK_AT_START}\.attention\.k_proj\.", r"\1.attention.self.key."),
    (rf"{_BLOCK_AT_START}\.attention\.v_proj\.", r"\1.attention.self.value."),
    (rf"{_BLOCK_AT_START}\.attention\.o_proj\.", r"\1.attention.output.dense."),
    (rf"{_BLOCK_AT_START}\.attention\.relative_position_bias\.(relative_position_\w+)$", r"\1.attention.self.\2"),
    (rf"{_BLOCK_AT_START}\.mlp\.fc1\.", r"\1.intermediate.dense."),
    (rf"{_BLOCK_AT_START}\.mlp\.fc2\.", r"\1.output.dense."),
)

HUGGING_FACE = KeyMap(
    layout="hugging_face",
    rules=(*_BACKBONE, *_TEXT, *_FEATURE_ENHANCER, *_QUERY_SELECTION, *_DECODER, *_HEADS),
    copies=_HEAD_COPIES,
    spellings=_SPELLINGS,
    ignored=(r"\.attention\.self\.relative_position_index$", r"(^|\.)position_ids$"),
)
