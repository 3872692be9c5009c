"""Every tensor of the two one-file layouts, with its shape and its name in a Hugging Face file.

Written from the layouts themselves and not from the package's key maps, so that each checks the other.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Sizes:
    embed: int = 8
    depths: tuple[int, ...] = (1, 1, 2, 1)
    heads: tuple[int, ...] = (1, 1, 2, 2)
    window: int = 4
    first_map: int = 2  # the first stage that gives a feature map, counted from 1
    levels: int = 4
    width: int = 32
    queries: int = 10
    encoder_layers: int = 2
    encoder_ffn: int = 64
    decoder_layers: int = 3
    decoder_ffn: int = 48
    attention_heads: int = 4
    points: int = 4
    vocabulary: int = 50
    text_width: int = 32
    text_layers: int = 2
    text_ffn: int = 64
    text_positions: int = 20

    @property
    def widths(self) -> list[int]:
        return [self.embed * 2**stage for stage in range(len(self.depths))]

    @property
    def maps(self) -> list[int]:
        return list(range(self.first_map, len(self.depths) + 1))


TINY = Sizes()
SWIN_T = Sizes(
    embed=96, depths=(2, 2, 6, 2), heads=(3, 6, 12, 24), window=7, width=256, queries=900, encoder_layers=6,
    encoder_ffn=2048, decoder_layers=6, decoder_ffn=2048, attention_heads=8, vocabulary=30522, text_width=768,
    text_layers=12, text_ffn=3072, text_positions=512,
)  # fmt: skip
SWIN_B = replace(SWIN_T, embed=128, depths=(2, 2, 18, 2), heads=(4, 8, 16, 32), window=12)
SWIN_L = replace(SWIN_B, embed=192, heads=(6, 12, 24, 48), first_map=1, levels=5)


@dataclass(frozen=True)
class Entry:
    """A tensor of a file; `reference` has several names where the file fuses several tensors in one."""

    name: str
    shape: Shape
    reference: tuple[str, ...]


def linear(name: str, shape: Shape, *reference: str) -> Iterator[Entry]:
    yield Entry(f"{name}.weight", shape, tuple(f"{one}.weight" for one in reference))
    yield Entry(f"{name}.bias", shape[:1], tuple(f"{one}.bias" for one in reference))


def norm(name: str, width: int, reference: str) -> Iterator[Entry]:
    yield from linear(name, (width,), reference)


def in_proj(name: str, width: int, reference: str) -> Iterator[Entry]:
    parts = [f"{reference}.{part}" for part in ("query", "key", "value")]
    yield Entry(f"{name}.in_proj_weight", (3 * width, width), tuple(f"{part}.weight" for part in parts))
    yield Entry(f"{name}.in_proj_bias", (3 * width,), tuple(f"{part}.bias" for part in parts))
    yield from linear(f"{name}.out_proj", (width, width), f"{reference}.out_proj")


def deformable(name: str, sizes: Sizes, reference: str) -> Iterator[Entry]:
    samples = sizes.attention_heads * sizes.levels * sizes.points
    d = sizes.width
    yield from linear(f"{name}.sampling_offsets", (2 * samples, d), f"{reference}.sampling_offsets")
    yield from linear(f"{name}.attention_weights", (samples, d), f"{reference}.attention_weights")
    yield from linear(f"{name}.value_proj", (d, d), f"{reference}.value_proj")
    yield from linear(f"{name}.output_proj", (d, d), f"{reference}.output_proj")


def swin(sizes: Sizes, names: dict[str, str]) -> Iterator[Entry]:
    """`names` are those in which the layouts differ."""
    bk = "model.backbone.conv_encoder.model"
    c = sizes.widths
    yield from linear(names["patch"], (c[0], 3, 4, 4), f"{bk}.embeddings.patch_embeddings.projection")
    yield from norm(names["patch_norm"], c[0], f"{bk}.embeddings.norm")
    for s, depth in enumerate(sizes.depths):
        for i in range(depth):
            block, hf = f"{names['root']}.{s}.blocks.{i}", f"{bk}.encoder.layers.{s}.blocks.{i}"
            attention = f"{block}.{names['attention']}"
            yield Entry(f"{attention}.relative_position_bias_table", ((2 * sizes.window - 1) ** 2, sizes.heads[s]),
                        (f"{hf}.attention.self.relative_position_bias_table",))  # fmt: skip
            parts = [f"{hf}.attention.self.{part}" for part in ("query", "key", "value")]
            yield from linear(f"{attention}.qkv", (3 * c[s], c[s]), *parts)
            yield from linear(f"{attention}.proj", (c[s], c[s]), f"{hf}.attention.output.dense")
            yield from norm(f"{block}.norm1", c[s], f"{hf}.layernorm_before")
            yield from norm(f"{block}.norm2", c[s], f"{hf}.layernorm_after")
            yield from linear(f"{block}.{names['fc1']}", (4 * c[s], c[s]), f"{hf}.intermediate.dense")
            yield from linear(f"{block}.{names['fc2']}", (c[s], 4 * c[s]), f"{hf}.output.dense")
        if s + 1 < len(sizes.depths):
            merge, hf = f"{names['root']}.{s}.downsample", f"{bk}.encoder.layers.{s}.downsample"
            yield Entry(f"{merge}.reduction.weight", (2 * c[s], 4 * c[s]), (f"{hf}.reduction.weight",))
            yield from norm(f"{merge}.norm", 4 * c[s], f"{hf}.norm")
    for stage in sizes.maps:
        yield from norm(f"{names['out_norm']}{stage - 1}", c[stage - 1], f"{bk}.hidden_states_norms.stage{stage}")


def bert(name: str, sizes: Sizes) -> Iterator[Entry]:
    t, hf = sizes.text_width, "model.text_backbone"
    for part, rows in (("word", sizes.vocabulary), ("position", sizes.text_positions), ("token_type", 2)):
        key = f"embeddings.{part}_embeddings.weight"
        yield Entry(f"{name}.{key}", (rows, t), (f"{hf}.{key}",))
    yield from norm(f"{name}.embeddings.LayerNorm", t, f"{hf}.embeddings.LayerNorm")
    for k in range(sizes.text_layers):
        for key, shape in {
            "attention.self.query": (t, t), "attention.self.key": (t, t), "attention.self.value": (t, t),
            "attention.output.dense": (t, t), "attention.output.LayerNorm": (t,),
            "intermediate.dense": (sizes.text_ffn, t), "output.dense": (t, sizes.text_ffn), "output.LayerNorm": (t,),
        }.items():  # fmt: skip
            yield from linear(f"{name}.encoder.layer.{k}.{key}", shape, f"{hf}.encoder.layer.{k}.{key}")


def fusion(name: str, sizes: Sizes, hf: str) -> Iterator[Entry]:
    d, e = sizes.width, sizes.encoder_ffn // 2
    yield Entry(f"{name}.gamma_v", (d,), (f"{hf}.vision_param",))
    yield Entry(f"{name}.gamma_l", (d,), (f"{hf}.text_param",))
    yield from norm(f"{name}.layer_norm_v", d, f"{hf}.layer_norm_vision")
    yield from norm(f"{name}.layer_norm_l", d, f"{hf}.layer_norm_text")
    for theirs, other, shape in (
        ("v_proj", "vision_proj", (e, d)), ("l_proj", "text_proj", (e, d)),
        ("values_v_proj", "values_vision_proj", (e, d)), ("values_l_proj", "values_text_proj", (e, d)),
        ("out_v_proj", "out_vision_proj", (d, e)), ("out_l_proj", "out_text_proj", (d, e)),
    ):  # fmt: skip
        yield from linear(f"{name}.attn.{theirs}", shape, f"{hf}.attn.{other}")


def encoder(sizes: Sizes, root: str, attention: str, parts: tuple[str, str, str, str]) -> Iterator[Entry]:
    """`parts`: first norm, two linear layers, second norm."""
    norm1, fc1, fc2, norm2 = parts
    d = sizes.width
    for k in range(sizes.encoder_layers):
        hf = f"model.encoder.layers.{k}"
        yield from fusion(f"{root}.fusion_layers.{k}", sizes, f"{hf}.fusion_layer")
        layer = f"{root}.layers.{k}"
        yield from deformable(f"{layer}.self_attn", sizes, f"{hf}.deformable_layer.self_attn")
        yield from norm(f"{layer}.{norm1}", d, f"{hf}.deformable_layer.self_attn_layer_norm")
        yield from linear(f"{layer}.{fc1}", (sizes.encoder_ffn, d), f"{hf}.deformable_layer.fc1")
        yield from linear(f"{layer}.{fc2}", (d, sizes.encoder_ffn), f"{hf}.deformable_layer.fc2")
        yield from norm(f"{layer}.{norm2}", d, f"{hf}.deformable_layer.final_layer_norm")
        text = f"{root}.text_layers.{k}"
        yield from in_proj(f"{text}.{attention}", d, f"{hf}.text_enhancer_layer.self_attn")
        yield from norm(f"{text}.{norm1}", d, f"{hf}.text_enhancer_layer.layer_norm_before")
        yield from linear(f"{text}.{fc1}", (sizes.encoder_ffn // 2, d), f"{hf}.text_enhancer_layer.fc1")
        yield from linear(f"{text}.{fc2}", (d, sizes.encoder_ffn // 2), f"{hf}.text_enhancer_layer.fc2")
        yield from norm(f"{text}.{norm2}", d, f"{hf}.text_enhancer_layer.layer_norm_after")


def decoder(sizes: Sizes, root: str, names: dict[str, str]) -> Iterator[Entry]:
    d, hf_root = sizes.width, "model.decoder"
    yield from norm(f"{root}.norm", d, f"{hf_root}.layer_norm")
    yield from linear(f"{root}.ref_point_head.layers.0", (d, 2 * d), f"{hf_root}.reference_points_head.layers.0")
    yield from linear(f"{root}.ref_point_head.layers.1", (d, d), f"{hf_root}.reference_points_head.layers.1")
    for k in range(sizes.decoder_layers):
        layer, hf = f"{root}.layers.{k}", f"{hf_root}.layers.{k}"
        yield from in_proj(f"{layer}.{names['self']}", d, f"{hf}.self_attn")
        yield from norm(f"{layer}.{names['self_norm']}", d, f"{hf}.self_attn_layer_norm")
        yield from in_proj(f"{layer}.{names['text']}", d, f"{hf}.encoder_attn_text")
        yield from norm(f"{layer}.{names['text_norm']}", d, f"{hf}.encoder_attn_text_layer_norm")
        yield from deformable(f"{layer}.cross_attn", sizes, f"{hf}.encoder_attn")
        yield from norm(f"{layer}.{names['image_norm']}", d, f"{hf}.encoder_attn_layer_norm")
        yield from linear(f"{layer}.{names['fc1']}", (sizes.decoder_ffn, d), f"{hf}.fc1")
        yield from linear(f"{layer}.{names['fc2']}", (d, sizes.decoder_ffn), f"{hf}.fc2")
        yield from norm(f"{layer}.{names['ffn_norm']}", d, f"{hf}.final_layer_norm")


def projection_shapes(sizes: Sizes) -> list[Shape]:
    d, maps = sizes.width, [sizes.widths[stage - 1] for stage in sizes.maps]
    extra = sizes.levels - len(maps)
    return [*((d, c, 1, 1) for c in maps), *([(d, maps[-1], 3, 3), *[(d, d, 3, 3)] * (extra - 1)][:extra])]


def box_head(sizes: Sizes, names: list[str], reference: str) -> Iterator[Entry]:
    d = sizes.width
    for j, (name, rows) in enumerate(zip(names, (d, d, 4), strict=True)):
        yield from linear(name, (rows, d), f"{reference}.layers.{j}")


def original(sizes: Sizes) -> list[Entry]:
    """IDEA-Research/GroundingDINO, `checkpoint["model"]`."""
    d = sizes.width
    entries = [
        *swin(sizes, {"root": "backbone.0.layers", "patch": "backbone.0.patch_embed.proj",
                      "patch_norm": "backbone.0.patch_embed.norm", "attention": "attn",
                      "fc1": "mlp.fc1", "fc2": "mlp.fc2", "out_norm": "backbone.0.norm"}),
        *bert("bert", sizes),
        *linear("feat_map", (d, sizes.text_width), "model.text_projection"),
        Entry("transformer.level_embed", (sizes.levels, d), ("model.level_embed",)),
        Entry("transformer.tgt_embed.weight", (sizes.queries, d), ("model.query_position_embeddings.weight",)),
        *linear("transformer.enc_output", (d, d), "model.enc_output"),
        *norm("transformer.enc_output_norm", d, "model.enc_output_norm"),
        *box_head(sizes, [f"transformer.enc_out_bbox_embed.layers.{j}" for j in range(3)],
                  "model.encoder_output_bbox_embed"),
        *encoder(sizes, "transformer.encoder", "self_attn", ("norm1", "linear1", "linear2", "norm2")),
        *decoder(sizes, "transformer.decoder", {
            "self": "self_attn", "self_norm": "norm2", "text": "ca_text", "text_norm": "catext_norm",
            "image_norm": "norm1", "fc1": "linear1", "fc2": "linear2", "ffn_norm": "norm3"}),
    ]  # fmt: skip
    for level, shape in enumerate(projection_shapes(sizes)):
        entries += linear(f"input_proj.{level}.0", shape, f"model.input_proj_vision.{level}.0")
        entries += norm(f"input_proj.{level}.1", d, f"model.input_proj_vision.{level}.1")
    for k in range(sizes.decoder_layers):
        for root in ("bbox_embed", "transformer.decoder.bbox_embed"):
            entries += box_head(sizes, [f"{root}.{k}.layers.{j}" for j in range(3)], f"bbox_embed.{k}")
    return entries


def mmdetection(sizes: Sizes) -> list[Entry]:
    """MMDetection, `checkpoint["state_dict"]` of MM-Grounding-DINO."""
    d = sizes.width
    entries = [
        *swin(sizes, {"root": "backbone.stages", "patch": "backbone.patch_embed.projection",
                      "patch_norm": "backbone.patch_embed.norm",
                      "attention": "attn.w_msa", "fc1": "ffn.layers.0.0", "fc2": "ffn.layers.1",
                      "out_norm": "backbone.norm"}),
        *bert("language_model.language_backbone.body.model", sizes),
        *linear("text_feat_map", (d, sizes.text_width), "model.text_projection"),
        Entry("level_embed", (sizes.levels, d), ("model.level_embed",)),
        Entry("query_embedding.weight", (sizes.queries, d), ("model.query_position_embeddings.weight",)),
        *linear("memory_trans_fc", (d, d), "model.enc_output"),
        *norm("memory_trans_norm", d, "model.enc_output_norm"),
        *encoder(sizes, "encoder", "self_attn.attn", ("norms.0", "ffn.layers.0.0", "ffn.layers.1", "norms.1")),
        *decoder(sizes, "decoder", {
            "self": "self_attn.attn", "self_norm": "norms.0", "text": "cross_attn_text.attn", "text_norm": "norms.1",
            "image_norm": "norms.2", "fc1": "ffn.layers.0.0", "fc2": "ffn.layers.1", "ffn_norm": "norms.3"}),
    ]  # fmt: skip
    maps = len(sizes.maps)
    for level, shape in enumerate(projection_shapes(sizes)):
        conv = f"neck.convs.{level}" if level < maps else f"neck.extra_convs.{level - maps}"
        entries += linear(f"{conv}.conv", shape, f"model.input_proj_vision.{level}.0")
        entries += norm(f"{conv}.gn", d, f"model.input_proj_vision.{level}.1")
    for k in range(sizes.decoder_layers + 1):
        last = k == sizes.decoder_layers
        box = "model.encoder_output_bbox_embed" if last else f"bbox_embed.{k}"
        entries += box_head(sizes, [f"bbox_head.reg_branches.{k}.{place}" for place in (0, 2, 4)], box)
        contrastive = "model.encoder_output_class_embed.bias" if last else f"class_embed.{k}.bias"
        entries.append(Entry(f"bbox_head.cls_branches.{k}.bias", (1,), (contrastive,)))
    return entries
