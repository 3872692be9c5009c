"""The Hugging Face layout, against the reference: what it wrote is what we write, and it loads what we wrote."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import transformers
from torch import Tensor

from groundling.checkpoint import load_checkpoint, read_tensors, save_checkpoint
from groundling.checkpoint.key_maps.hugging_face import HUGGING_FACE
from groundling.checkpoint.rules import read_names
from groundling.configuration import DetectorConfig
from groundling.errors import CheckpointError
from groundling.files import locate

SWIN_ONE_STAGE_LESS = transformers.SwinConfig(
    embed_dim=8, depths=[1, 2, 1], num_heads=[1, 2, 2], window_size=3, mlp_ratio=2.0, qkv_bias=False, out_indices=[1, 3]
)
CASES = [
    pytest.param("gd", {}, id="shared"),
    pytest.param("gd", {"decoder_bbox_embed_share": False}, id="unshared"),
    pytest.param("gd", {"position_embedding_type": "learned"}, id="learned-positions"),
    pytest.param("gd", {"backbone_config": SWIN_ONE_STAGE_LESS, "num_feature_levels": 5}, id="other-backbone"),
    pytest.param("gd", {"decoder_layers": 2, "encoder_layers": 1}, id="few-layers"),
    pytest.param("mm", {}, id="mm-shared"),
    pytest.param("mm", {"decoder_bbox_embed_share": False, "decoder_cls_embed_share": False}, id="mm-unshared"),
    pytest.param("mm", {"decoder_cls_embed_share": False}, id="mm-boxes-shared"),
]


def assert_same(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


@pytest.mark.parametrize("base", [False, True], ids=["detection", "base"])
@pytest.mark.parametrize(("family", "values"), CASES)
def test_round_trip_is_identical(
    family: str, values: dict[str, object], base: bool, build: Callable[..., torch.nn.Module], tmp_path: Path
) -> None:
    model = build(family, base=base, **values)
    model.save_pretrained(tmp_path / "theirs")
    checkpoint = load_checkpoint(locate(tmp_path / "theirs"))
    save_checkpoint(checkpoint.state_dict, checkpoint.config, tmp_path / "ours")

    assert_same(read_tensors(locate(tmp_path / "ours")), read_tensors(locate(tmp_path / "theirs")))
    assert_same(type(model).from_pretrained(tmp_path / "ours").state_dict(), model.state_dict())


@pytest.mark.parametrize("size", [1, "40KB", "200KB"])
def test_shards_are_those_of_the_reference(
    size: int | str, build: Callable[..., torch.nn.Module], tmp_path: Path
) -> None:
    model = build("mm", decoder_bbox_embed_share=False)
    model.save_pretrained(tmp_path / "theirs", max_shard_size=size)
    checkpoint = load_checkpoint(locate(tmp_path / "theirs"))
    save_checkpoint(checkpoint.state_dict, checkpoint.config, tmp_path / "ours", max_shard_size=size)

    theirs = json.loads((tmp_path / "theirs/model.safetensors.index.json").read_text())
    ours = json.loads((tmp_path / "ours/model.safetensors.index.json").read_text())
    assert ours["metadata"] == theirs["metadata"]
    assert ours["weight_map"].keys() == theirs["weight_map"].keys()
    files = sorted(path.name for path in (tmp_path / "ours").iterdir())
    assert files == sorted({"config.json", "model.safetensors.index.json", *ours["weight_map"].values()})
    assert all(re.fullmatch(r"model-\d{5}-of-\d{5}\.safetensors", name) for name in ours["weight_map"].values())
    assert_same(type(model).from_pretrained(tmp_path / "ours").state_dict(), model.state_dict())


@pytest.mark.parametrize("family", ["gd", "mm"])
def test_in_memory_names_are_read(family: str, build: Callable[..., torch.nn.Module], tmp_path: Path) -> None:
    model = build(family)
    model.save_pretrained(tmp_path)
    on_disk = load_checkpoint(locate(tmp_path))
    in_memory = model.state_dict()
    assert any(".attention.q_proj." in name for name in in_memory), "this release names them as on disk"
    for number, names in enumerate((in_memory, {f"module.{name}": value for name, value in in_memory.items()})):
        torch.save(names, tmp_path / f"{number}.bin")
        assert_same(load_checkpoint(locate(tmp_path / f"{number}.bin")).state_dict, on_disk.state_dict)


def test_both_vocabularies_may_be_mixed(build: Callable[..., torch.nn.Module], tmp_path: Path) -> None:
    model = build("gd", base=True)
    model.save_pretrained(tmp_path)
    on_disk, in_memory = read_tensors(locate(tmp_path)), dict(model.state_dict())
    expected, _ = read_names(on_disk, HUGGING_FACE)
    halves = [dict(list(names.items())[start::2]) for names, start in ((on_disk, 0), (in_memory, 0))]
    mixed, unknown = read_names(halves[0] | halves[1] | on_disk, HUGGING_FACE)
    assert unknown == []
    assert_same(mixed, expected)


LEGACY = [
    pytest.param("text_backbone.embeddings.LayerNorm.gamma", "text_backbone.embedding_norm.weight", id="gamma"),
    pytest.param("text_backbone.embeddings.LayerNorm.beta", "text_backbone.embedding_norm.bias", id="beta"),
    pytest.param("level_embed", "level_embedding", id="no-prefix"),
    pytest.param("model.level_embed", "level_embedding", id="prefix"),
    pytest.param(
        "backbone.conv_encoder.model.swin.layernorm.weight", "image_backbone.final_norm.weight", id="final-norm"
    ),
]


@pytest.mark.parametrize(("theirs", "ours"), LEGACY)
def test_other_spellings(theirs: str, ours: str) -> None:
    found, unknown = read_names({theirs: torch.zeros(2)}, HUGGING_FACE)
    assert (list(found), unknown) == ([f"model.{ours}"], [])


@pytest.mark.parametrize(
    "name",
    [
        "model.backbone.conv_encoder.model.encoder.layers.0.blocks.0.attention.self.relative_position_index",
        "backbone.conv_encoder.model.swin.encoder.layers.0.blocks.0.attention.relative_position_bias"
        ".relative_position_index",
        "model.text_backbone.embeddings.position_ids",
    ],
)
def test_buffers_of_older_releases_are_ignored(name: str) -> None:
    assert read_names({name: torch.zeros(2)}, HUGGING_FACE) == ({}, [])


@pytest.mark.parametrize(("family", "base"), [("gd", False), ("gd", True), ("mm", False), ("mm", True)])
def test_config_file_is_that_of_the_reference(
    family: str, base: bool, saved: Callable[..., Path], tmp_path: Path
) -> None:
    folder = saved(family, base=base)
    checkpoint = load_checkpoint(locate(folder))
    save_checkpoint(checkpoint.state_dict, checkpoint.config, tmp_path)
    theirs, ours = (json.loads((path / "config.json").read_text()) for path in (folder, tmp_path))
    assert ours["architectures"] == theirs["architectures"]
    assert ours["dtype"] == theirs["dtype"] == "float32"


@pytest.mark.parametrize("dtype", [torch.float16, "bfloat16", "torch.float64"])
def test_dtype_is_converted_and_recorded(dtype: torch.dtype | str, saved: Callable[..., Path], tmp_path: Path) -> None:
    checkpoint = load_checkpoint(locate(saved("gd")))
    save_checkpoint(checkpoint.state_dict, checkpoint.config, tmp_path, dtype=dtype)
    name = str(dtype).removeprefix("torch.")
    assert json.loads((tmp_path / "config.json").read_text())["dtype"] == name
    again = load_checkpoint(locate(tmp_path))
    assert {again.dtype, *(tensor.dtype for tensor in again.state_dict.values())} == {getattr(torch, name)}
    assert checkpoint.config.dtype == torch.float32


@pytest.mark.parametrize("said", [None, "float32", "bfloat16"])
def test_the_dtype_of_the_configuration_wins(said: str | None, saved: Callable[..., Path], tmp_path: Path) -> None:
    checkpoint = load_checkpoint(locate(saved("gd")))
    save_checkpoint(checkpoint.state_dict, checkpoint.config, tmp_path, dtype="float16")
    values = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(values | {"dtype": said}))
    again = load_checkpoint(locate(tmp_path))
    expected = torch.float16 if said is None else getattr(torch, said)
    assert {again.dtype, *(tensor.dtype for tensor in again.state_dict.values())} == {expected}


def test_a_base_state_dict_may_lack_the_prefix(saved: Callable[..., Path], tmp_path: Path) -> None:
    checkpoint = load_checkpoint(locate(saved("gd", base=True)))
    bare = {name.removeprefix("model."): tensor for name, tensor in checkpoint.state_dict.items()}
    save_checkpoint(bare, checkpoint.config, tmp_path, architecture="Mine")
    assert_same(read_tensors(locate(tmp_path)), read_tensors(locate(saved("gd", base=True))))
    assert json.loads((tmp_path / "config.json").read_text())["architectures"] == ["Mine"]


def test_a_configuration_given_wins_and_is_not_changed(saved: Callable[..., Path]) -> None:
    mine: DetectorConfig = load_checkpoint(locate(saved("gd"))).config
    mine.dropout = 0.25
    mine.dtype = None
    checkpoint = load_checkpoint(locate(saved("gd")), config=mine)
    assert checkpoint.config.dropout == 0.25
    assert (checkpoint.config.dtype, mine.dtype) == (torch.float32, None)


def test_a_file_without_config_json_is_read_from_its_shapes(saved: Callable[..., Path], tmp_path: Path) -> None:
    folder = saved("mm", decoder_cls_embed_share=False)
    (tmp_path / "alone.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    alone, whole = load_checkpoint(locate(tmp_path / "alone.safetensors")), load_checkpoint(locate(folder))
    ours, theirs = alone.config.to_dict(), whole.config.to_dict()
    different = {name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name)}
    assert different <= {"architectures", "transformers_version"}
    assert_same(alone.state_dict, whole.state_dict)


def test_a_tensor_without_a_place_is_named(saved: Callable[..., Path], tmp_path: Path) -> None:
    tensors = read_tensors(locate(saved("gd"))) | {"adapter.up": torch.zeros(2)}
    torch.save(tensors, tmp_path / "more.bin")
    with pytest.raises(CheckpointError, match=r"1 of 394 tensors that have no place .* first: 'adapter.up'"):
        load_checkpoint(locate(tmp_path / "more.bin"))


@pytest.mark.parametrize(
    ("names", "shown"), [(["a"], "1 tensors"), (["encoder.weight", "cls.bias", "x", "y"], "'encoder.weight', 'cls.")]
)
def test_another_model_is_refused(names: list[str], shown: str, tmp_path: Path) -> None:
    torch.save({name: torch.zeros(1) for name in names}, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match=rf"{shown}.*not those of a Grounding DINO"):
        load_checkpoint(locate(tmp_path / "other.pth"))
