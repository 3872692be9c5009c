"""The layout of MMDetection's `.pth` files: MM-Grounding-DINO, LLMDet and MMDetection's own Grounding DINO."""

from torch import Tensor

from groundling.checkpoint.key_maps.bert import LEGACY_SPELLINGS, bert_rules
from groundling.checkpoint.key_maps.original import DEFORMABLE_ATTENTION, FUSION, torch_attention
from groundling.checkpoint.rules import KeyMap, Rule, Transform, fused, rule, rules_below

_NEIGHBOURS = 4  # patch merging joins 2 x 2 neighbours
_SWAP_MIDDLE = [0, 2, 1, 3]  # row-major order of the neighbours to column-major order, and back


def _merging_from_file(tensor: Tensor) -> Tensor:
    """[..., channel x neighbour] in row-major order of neighbours to [..., neighbour x channel] in column-major."""
    by_neighbour = tensor.reshape(*tensor.shape[:-1], -1, _NEIGHBOURS).transpose(-1, -2)
    return by_neighbour[..., _SWAP_MIDDLE, :].flatten(-2)


def _merging_to_file(tensor: Tensor) -> Tensor:
    by_neighbour = tensor.reshape(*tensor.shape[:-1], _NEIGHBOURS, -1)[..., _SWAP_MIDDLE, :]
    return by_neighbour.transpose(-1, -2).flatten(-2)


_MERGING = Transform(read=_merging_from_file, write=_merging_to_file)
_SCALAR = Transform(read=lambda tensor: tensor.reshape(()), write=lambda tensor: tensor.reshape(1))

_SWIN_BLOCK = {
    "attention_norm": "norm1",
    "attention.output": "attn.w_msa.proj",
    "feed_forward_norm": "norm2",
    "feed_forward.fc1": "ffn.layers.0.0",
    "feed_forward.fc2": "ffn.layers.1",
}
_TRANSFORMER_LAYER = {
    "attention_norm": "norms.0",
    "feed_forward.fc1": "ffn.layers.0.0",
    "feed_forward.fc2": "ffn.layers.1",
    "feed_forward_norm": "norms.1",
}
_DECODER_LAYER = {
    "self_attention_norm": "norms.0",
    "text_attention_norm": "norms.1",
    "image_attention_norm": "norms.2",
    "feed_forward.fc1": "ffn.layers.0.0",
    "feed_forward.fc2": "ffn.layers.1",
    "feed_forward_norm": "norms.3",
}

_BLOCK = "model.image_backbone.stages.{s}.blocks.{i}"
_BACKBONE = (
    rule("model.image_backbone.patch_embedding.projection.*", "backbone.patch_embed.projection.*"),
    rule("model.image_backbone.patch_embedding.norm.*", "backbone.patch_embed.norm.*"),
    rule(
        f"{_BLOCK}.attention.relative_position_bias",
        "backbone.stages.{s}.blocks.{i}.attn.w_msa.relative_position_bias_table",
    ),
    fused(
        [f"{_BLOCK}.attention.{part}.*" for part in ("query", "key", "value")],
        "backbone.stages.{s}.blocks.{i}.attn.w_msa.qkv.*",
    ),
    *rules_below(_BLOCK, "backbone.stages.{s}.blocks.{i}", _SWIN_BLOCK),
    rule(
        "model.image_backbone.stages.{s}.downsample.reduction.weight",
        "backbone.stages.{s}.downsample.reduction.weight",
        _MERGING,
    ),
    rule("model.image_backbone.stages.{s}.downsample.norm.*", "backbone.stages.{s}.downsample.norm.*", _MERGING),
    rule("model.image_backbone.output_norms.stage{n+1}.*", "backbone.norm{n}.*"),
    rule("model.level_embedding", "level_embed"),
)

_TEXT = (
    *bert_rules("language_model.language_backbone.body.model"),
    rule("model.text_projection.*", "text_feat_map.*"),
)

_ENHANCER = "model.feature_enhancer.layers.{k}"
_FEATURE_ENHANCER = (
    *rules_below(f"{_ENHANCER}.fusion", "encoder.fusion_layers.{k}", FUSION),
    rule(f"{_ENHANCER}.fusion.image_scale", "encoder.fusion_layers.{k}.gamma_v"),
    rule(f"{_ENHANCER}.fusion.text_scale", "encoder.fusion_layers.{k}.gamma_l"),
    *torch_attention(f"{_ENHANCER}.text_self_attention.attention", "encoder.text_layers.{k}.self_attn.attn"),
    *rules_below(f"{_ENHANCER}.text_self_attention", "encoder.text_layers.{k}", _TRANSFORMER_LAYER),
    *rules_below(f"{_ENHANCER}.image_self_attention.attention", "encoder.layers.{k}.self_attn", DEFORMABLE_ATTENTION),
    *rules_below(f"{_ENHANCER}.image_self_attention", "encoder.layers.{k}", _TRANSFORMER_LAYER),
)

_DECODER = (
    rule("model.decoder.norm.*", "decoder.norm.*"),
    rule("model.decoder.reference_point_head.layers.{j}.*", "decoder.ref_point_head.layers.{j}.*"),
    *torch_attention("model.decoder.layers.{k}.self_attention", "decoder.layers.{k}.self_attn.attn"),
    *torch_attention("model.decoder.layers.{k}.text_attention", "decoder.layers.{k}.cross_attn_text.attn"),
    *rules_below("model.decoder.layers.{k}.image_attention", "decoder.layers.{k}.cross_attn", DEFORMABLE_ATTENTION),
    *rules_below("model.decoder.layers.{k}", "decoder.layers.{k}", _DECODER_LAYER),
)

_QUERY_SELECTION = (
    rule("model.query_selection.memory_projection.*", "memory_trans_fc.*"),
    rule("model.query_selection.memory_norm.*", "memory_trans_norm.*"),
    rule("model.query_selection.query_embedding.weight", "query_embedding.weight"),
)


def _projection(backbone_maps: int) -> tuple[Rule, ...]:
    """Levels made from a feature map of the backbone, and the extra ones after them, which are counted from 0 again."""
    extra = f"model.image_projection.{{l+{backbone_maps}}}"
    return (
        rule(f"{extra}.0.*", "neck.extra_convs.{l}.conv.*"),
        rule(f"{extra}.1.*", "neck.extra_convs.{l}.gn.*"),
        rule("model.image_projection.{l}.0.*", "neck.convs.{l}.conv.*"),
        rule("model.image_projection.{l}.1.*", "neck.convs.{l}.gn.*"),
    )


def _heads(decoder_layers: int) -> tuple[Rule, ...]:
    """One branch for each decoder layer; the one after the last belongs to the query selection."""
    box = {0: 0, 1: 2, 2: 4}  # between two linear layers of the branch is an activation
    return (
        rule("model.query_selection.contrastive_head.bias", f"bbox_head.cls_branches.{decoder_layers}.bias", _SCALAR),
        *(
            rule(f"model.query_selection.box_head.layers.{j}.*", f"bbox_head.reg_branches.{decoder_layers}.{place}.*")
            for j, place in box.items()
        ),
        rule("contrastive_heads.{k}.bias", "bbox_head.cls_branches.{k}.bias", _SCALAR),
        *(rule(f"box_heads.{{k}}.layers.{j}.*", f"bbox_head.reg_branches.{{k}}.{place}.*") for j, place in box.items()),
    )


def mmdetection(*, backbone_maps: int, decoder_layers: int) -> KeyMap:
    """Return the key map of a model with so many backbone feature maps and decoder layers."""
    return KeyMap(
        layout="mmdetection",
        rules=(
            *_BACKBONE,
            *_projection(backbone_maps),
            *_TEXT,
            *_FEATURE_ENHANCER,
            *_QUERY_SELECTION,
            *_DECODER,
            *_heads(decoder_layers),
        ),
        spellings=LEGACY_SPELLINGS,
        ignored=(
            r"\.relative_position_index$",
            r"^language_model\..*(position_ids$|\.pooler\.)",
            # used in training only: denoising queries, and the language model of LLMDet
            r"^dn_query_generator\.",
            r"^(image_seperate|lmm|connector|region_connector|ref_point_head)",
        ),
        unwritten=(r"^model\.image_backbone\.final_norm\.",),
    )
