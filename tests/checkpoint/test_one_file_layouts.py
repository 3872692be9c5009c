"""The original `.pth` and MMDetection's: every key has its place, and the way back gives the same file."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor
from torch.nn import functional

from checkpoint import file_names
from checkpoint.file_names import SWIN_B, SWIN_L, SWIN_T, TINY, Entry, Sizes
from groundling.checkpoint import Layout, load_checkpoint, read_tensors, save_checkpoint
from groundling.checkpoint.inference import infer_config
from groundling.checkpoint.key_maps import detect_layout, key_map_for_reading
from groundling.checkpoint.key_maps.hugging_face import HUGGING_FACE
from groundling.checkpoint.rules import read_names
from groundling.configuration import DetectorConfig, presets
from groundling.errors import CheckpointError
from groundling.files import locate

GENERATORS: dict[str, Callable[[Sizes], list[Entry]]] = {
    "original": file_names.original,
    "mmdetection": file_names.mmdetection,
}
WRAPPER = {"original": "model", "mmdetection": "state_dict"}
OTHER_SIZES = replace(
    TINY, first_map=1, levels=5, window=7, decoder_layers=2, encoder_layers=1, text_layers=1, vocabulary=33, points=2,
    queries=7, encoder_ffn=96, decoder_ffn=80, depths=(2, 1, 1, 1),
)  # fmt: skip
ONE_MAP = replace(TINY, first_map=4, levels=3)
CASES = [
    pytest.param(layout, sizes, id=f"{layout}-{name}")
    for layout in GENERATORS
    for name, sizes in {"tiny": TINY, "other": OTHER_SIZES, "one-map": ONE_MAP}.items()
]
DROPPED = {
    "original": [
        "backbone.0.layers.0.blocks.0.attn.relative_position_index",
        "bert.pooler.dense.weight",
        "bert.embeddings.position_ids",
        "label_enc.weight",
    ],
    "mmdetection": [
        "backbone.stages.0.blocks.0.attn.w_msa.relative_position_index",
        "dn_query_generator.label_embedding.weight",
        "language_model.language_backbone.body.model.embeddings.position_ids",
        "image_seperate.weight",
        "lmm.model.layers.0.mlp.weight",
        "connector.0.weight",
        "region_connector.0.weight",
        "ref_point_head.0.weight",
    ],
}


def random_file(entries: Sequence[Entry]) -> dict[str, Tensor]:
    """Random values; names of the same tensors have the same values."""
    generator = torch.Generator().manual_seed(0)
    values: dict[tuple[str, ...], Tensor] = {}
    return {
        entry.name: values.setdefault(entry.reference, torch.randn(entry.shape, generator=generator)).clone()
        for entry in entries
    }


def write(layout: str, sizes: Sizes, path: Path) -> dict[str, Tensor]:
    tensors = random_file(GENERATORS[layout](sizes))
    extra = {name: torch.zeros(2) for name in DROPPED[layout]}
    torch.save({WRAPPER[layout]: {f"module.{name}": tensor for name, tensor in (tensors | extra).items()}}, path)
    return tensors


@pytest.mark.parametrize(("layout", "sizes"), CASES)
def test_every_tensor_gets_its_documented_name(layout: str, sizes: Sizes, tmp_path: Path) -> None:
    """Through our names to the Hugging Face layout; the file's own name list says where each tensor must be."""
    tensors = write(layout, sizes, tmp_path / "in.pth")
    checkpoint = load_checkpoint(locate(tmp_path / "in.pth"))
    assert checkpoint.layout == layout
    save_checkpoint(checkpoint.state_dict, checkpoint.config, tmp_path / "out")
    found = read_tensors(locate(tmp_path / "out"))

    expected: dict[str, Tensor] = {}
    for entry in GENERATORS[layout](sizes):
        tensor = tensors[entry.name]
        if ".downsample." in entry.name and layout == "mmdetection":
            continue  # other order, see test_patch_merging
        if "cls_branches" in entry.name:
            tensor = tensor[0]
        parts = tensor.chunk(len(entry.reference)) if tensor.ndim else [tensor]
        expected |= dict(zip(entry.reference, parts, strict=True))
    final_norm = {f"model.backbone.conv_encoder.model.swin.layernorm.{kind}" for kind in ("weight", "bias")}
    merging = {name for name in found if ".downsample." in name and layout == "mmdetection"}
    assert found.keys() == expected.keys() | final_norm | merging
    assert len(merging) == (9 if layout == "mmdetection" else 0)
    assert [name for name in expected if not torch.equal(found[name], expected[name])] == []


@pytest.mark.parametrize(("layout", "sizes"), CASES)
def test_the_way_back_gives_the_same_file(layout: Layout, sizes: Sizes, tmp_path: Path) -> None:
    tensors = write(layout, sizes, tmp_path / "in.pth")
    checkpoint = load_checkpoint(locate(tmp_path / "in.pth"))
    save_checkpoint(checkpoint.state_dict, checkpoint.config, tmp_path / "out.pth", layout=layout)
    content: dict[str, Any] = torch.load(tmp_path / "out.pth", weights_only=True)
    assert content.keys() == ({"model"} if layout == "original" else {"state_dict", "meta"})
    written = content[WRAPPER[layout]]
    assert written.keys() == tensors.keys()
    assert [name for name in tensors if not torch.equal(written[name], tensors[name])] == []


@pytest.mark.parametrize("layout", GENERATORS)
def test_the_reference_loads_what_we_converted(layout: str, tmp_path: Path) -> None:
    write(layout, TINY, tmp_path / "in.pth")
    checkpoint = load_checkpoint(locate(tmp_path / "in.pth"))
    save_checkpoint(checkpoint.state_dict, checkpoint.config, tmp_path / "out")
    architecture = json.loads((tmp_path / "out/config.json").read_text())["architectures"][0]
    model, report = getattr(transformers, architecture).from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not any(report.values()), report
    assert model.state_dict()["bbox_embed.1.layers.0.bias"].equal(checkpoint.state_dict["box_heads.1.layers.0.bias"])


def test_patch_merging() -> None:
    """MMDetection joins the neighbours of a pixel with `unfold`; the merged map must be the same one."""
    channels, norm_name = 3, "backbone.stages.0.downsample.norm"
    file = {
        "backbone.stages.0.downsample.reduction.weight": torch.randn(2 * channels, 4 * channels),
        f"{norm_name}.weight": torch.randn(4 * channels),
        f"{norm_name}.bias": torch.randn(4 * channels),
    }
    image = torch.randn(1, channels, 6, 8)
    joined = functional.unfold(image, kernel_size=2, stride=2).transpose(1, 2)
    theirs = (
        functional.layer_norm(joined, (4 * channels,), file[f"{norm_name}.weight"], file[f"{norm_name}.bias"])
        @ file["backbone.stages.0.downsample.reduction.weight"].T
    )

    found, _ = read_names(file, key_map_for_reading("mmdetection", file))
    ours = "model.image_backbone.stages.0.downsample"
    neighbours = [image[..., row::2, column::2] for row, column in ((0, 0), (1, 0), (0, 1), (1, 1))]
    joined = torch.cat(neighbours, dim=1).flatten(2).transpose(1, 2)
    result = (
        functional.layer_norm(joined, (4 * channels,), found[f"{ours}.norm.weight"], found[f"{ours}.norm.bias"])
        @ found[f"{ours}.reduction.weight"].T
    )
    torch.testing.assert_close(result, theirs)


def empty(shape: Sequence[int]) -> Tensor:
    """A tensor of any shape that takes no memory."""
    return torch.zeros(()).expand(tuple(shape))


def reference_shapes(config: DetectorConfig, family: str) -> dict[str, torch.Size]:
    """Shapes of the reference's model, under our names."""
    cls = getattr(transformers, f"{family}Config")
    values = {
        "backbone_config": transformers.SwinConfig(
            **{
                name: getattr(config.backbone_config, name)
                for name in ("embed_dim", "depths", "num_heads", "window_size", "out_indices")
            }
        ),
        "num_feature_levels": config.num_feature_levels,
        "decoder_bbox_embed_share": config.decoder_bbox_embed_share,
    }
    with torch.device("meta"):
        model = getattr(transformers, f"{family}ForObjectDetection")(cls(**values))
    tensors = {name: empty(tensor.shape) for name, tensor in model.state_dict().items()}
    found, unknown = read_names(tensors, HUGGING_FACE)
    assert unknown == []
    return {name: tensor.shape for name, tensor in found.items()}


PUBLISHED = [
    pytest.param("original", SWIN_T, presets.swin_t, "GroundingDino", id="swint_ogc"),
    pytest.param("original", SWIN_B, presets.swin_b, "GroundingDino", id="swinb_cogcoor"),
    pytest.param("mmdetection", SWIN_T, presets.mm_swin_t, "MMGroundingDino", id="mm-tiny"),
    pytest.param("mmdetection", SWIN_B, presets.mm_swin_b, "MMGroundingDino", id="mm-base"),
    pytest.param("mmdetection", SWIN_L, presets.mm_swin_l, "MMGroundingDino", id="mm-large"),
]


@pytest.mark.parametrize(("layout", "sizes", "preset", "family"), PUBLISHED)
def test_published_shapes(layout: Layout, sizes: Sizes, preset: Callable[[], DetectorConfig], family: str) -> None:
    tensors = {entry.name: empty(entry.shape) for entry in GENERATORS[layout](sizes)}
    assert detect_layout(list(tensors), source="file") == layout
    found, unknown = read_names(tensors, key_map_for_reading(layout, tensors))
    assert unknown == []
    final_norm = {f"model.image_backbone.final_norm.{kind}" for kind in ("weight", "bias")}
    expected = reference_shapes(preset(), family)
    assert found.keys() == expected.keys() - final_norm
    assert {name: tensor.shape for name, tensor in found.items()} == {name: expected[name] for name in found}
    assert infer_config(found, source="file") == preset()


def test_every_size_that_shows_is_read(tmp_path: Path) -> None:
    write("mmdetection", OTHER_SIZES, tmp_path / "in.pth")
    config = load_checkpoint(locate(tmp_path / "in.pth")).config
    swin, bert, sizes = config.backbone_config, config.text_config, OTHER_SIZES
    assert (swin.embed_dim, swin.window_size, swin.patch_size, swin.mlp_ratio) == (sizes.embed, 7, 4, 4.0)
    assert (swin.depths, swin.num_heads, swin.out_indices) == ([2, 1, 1, 1], [1, 1, 2, 2], [1, 2, 3, 4])
    assert (bert.vocab_size, bert.hidden_size, bert.num_hidden_layers, bert.intermediate_size) == (33, 32, 1, 64)
    assert (bert.max_position_embeddings, bert.type_vocab_size) == (20, 2)
    assert (config.d_model, config.num_queries, config.num_feature_levels) == (32, 7, 5)
    assert (config.encoder_layers, config.encoder_ffn_dim, config.encoder_n_points) == (1, 96, 2)
    assert (config.decoder_layers, config.decoder_ffn_dim, config.decoder_n_points) == (2, 80, 2)
    assert (config.model_type, config.dropout) == ("mm-grounding-dino", 0.0)
    assert config.decoder_bbox_embed_share is False


def shared_original() -> dict[str, Tensor]:
    tensors = random_file(file_names.original(TINY))
    for name in list(tensors):
        for k in range(1, TINY.decoder_layers):
            if f"bbox_embed.{k}." in name:
                tensors[name] = tensors[name.replace(f"bbox_embed.{k}.", "bbox_embed.0.")]
    return tensors


def test_equal_heads_of_the_original_are_shared(tmp_path: Path) -> None:
    tensors = shared_original()
    torch.save({"model": tensors}, tmp_path / "in.pth")
    checkpoint = load_checkpoint(locate(tmp_path / "in.pth"))
    assert checkpoint.config.decoder_bbox_embed_share is True
    assert "box_heads.1.layers.0.weight" not in checkpoint.state_dict
    save_checkpoint(checkpoint.state_dict, checkpoint.config, tmp_path / "out.pth", layout="original")
    written = read_tensors(locate(tmp_path / "out.pth"))
    assert written.keys() == tensors.keys()
    assert all(torch.equal(written[name], tensors[name]) for name in tensors)


DAMAGED = [
    pytest.param("backbone.0.patch_embed.proj.weight", None, "lacks 'model.image_backbone.patch_emb", id="no-patch"),
    pytest.param("transformer.level_embed", None, "lacks 'model.level_embedding'", id="no-levels"),
    pytest.param("backbone.0.layers.0.blocks.0.attn.qkv.weight", (25, 8), "split into 3 equal parts", id="qkv"),
    pytest.param(
        "transformer.decoder.layers.0.cross_attn.attention_weights.weight", (63, 32), "63 attention weights", id="63"
    ),
    pytest.param("bert.embeddings.word_embeddings.weight", (50, 100, 1), None, id="other-text-width"),
    pytest.param("transformer.level_embed", (4, 40), "do not make a model.*group-norm", id="width-40"),
]


@pytest.mark.parametrize(("name", "shape", "message"), DAMAGED)
def test_sizes_that_do_not_make_a_model(
    name: str, shape: tuple[int, ...] | None, message: str | None, tmp_path: Path
) -> None:
    tensors = random_file(file_names.original(TINY))
    if shape is None:
        del tensors[name]
    else:
        tensors[name] = torch.zeros(shape)
    torch.save({"model": tensors}, tmp_path / "in.pth")
    if message is None:
        assert load_checkpoint(locate(tmp_path / "in.pth")).config.text_config.num_attention_heads == 1
        return
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(locate(tmp_path / "in.pth"))


def test_merging_of_a_wrong_shape_is_named(tmp_path: Path) -> None:
    tensors = random_file(file_names.mmdetection(TINY))
    tensors["backbone.stages.0.downsample.norm.weight"] = torch.zeros(7)
    torch.save({"state_dict": tensors}, tmp_path / "in.pth")
    with pytest.raises(CheckpointError, match=r"downsample.norm.weight' has shape \(7,\), which this layout does not"):
        load_checkpoint(locate(tmp_path / "in.pth"))
