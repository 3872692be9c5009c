"""Which heads are shared: the tensors decide."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from groundling.checkpoint import Checkpoint, load_checkpoint, read_tensors, save_checkpoint
from groundling.checkpoint.heads import give_every_layer_its_heads, settle_heads
from groundling.configuration.presets import mm_swin_t, swin_t
from groundling.errors import CheckpointError
from groundling.files import locate

UNSHARED = {"decoder_bbox_embed_share": False, "decoder_cls_embed_share": False}


def load_with_shared_flags(tensors: dict[str, Tensor], folder: Path, like: Path) -> Checkpoint:
    """Load tensors beside a config.json of the family's default, in which all heads are shared."""
    folder.mkdir()
    (folder / "config.json").write_bytes((like / "config.json").read_bytes())
    torch.save(tensors, folder / "pytorch_model.bin")
    return load_checkpoint(locate(folder))


def flags(checkpoint: Checkpoint) -> tuple[bool, bool]:
    config = checkpoint.config
    return config.decoder_bbox_embed_share, getattr(config, "decoder_cls_embed_share", True)


def top_level_zero_decoder_rest(name: str) -> str:
    """The file of a release that kept one copy of each tensor: index 0 at the top level, the others in the decoder."""
    is_head = name.startswith(("bbox_embed.", "class_embed."))
    return f"model.decoder.{name}" if is_head and ".0." not in name[:14] else name


RENAMES: list[object] = [
    pytest.param(lambda name: name, id="top-level"),
    pytest.param(top_level_zero_decoder_rest, id="split"),
    pytest.param(
        lambda name: f"model.decoder.{name}" if name.startswith(("bbox_embed.", "class_embed.")) else name, id="decoder"
    ),
]


@pytest.mark.parametrize("rename", RENAMES)
def test_heads_of_its_own_survive_flags_that_say_shared(
    rename: Callable[[str], str], saved: Callable[..., Path], tmp_path: Path
) -> None:
    honest = load_checkpoint(locate(saved("mm", **UNSHARED)))
    tensors = {rename(name): tensor for name, tensor in read_tensors(locate(saved("mm", **UNSHARED))).items()}
    trapped = load_with_shared_flags(tensors, tmp_path / "trap", saved("mm"))
    assert flags(honest) == flags(trapped) == (False, False)
    assert honest.state_dict.keys() == trapped.state_dict.keys()
    assert all(torch.equal(honest.state_dict[name], trapped.state_dict[name]) for name in honest.state_dict)


def test_grounding_dino_with_different_copies_is_unshared(saved: Callable[..., Path], tmp_path: Path) -> None:
    tensors = read_tensors(locate(saved("gd", decoder_bbox_embed_share=False)))
    checkpoint = load_with_shared_flags(tensors, tmp_path / "trap", saved("gd"))
    assert flags(checkpoint) == (False, True)
    assert "box_heads.2.layers.0.weight" in checkpoint.state_dict


@pytest.mark.parametrize("family", ["gd", "mm"])
def test_equal_copies_stay_shared(
    family: str, build: Callable[..., torch.nn.Module], saved: Callable[..., Path], tmp_path: Path
) -> None:
    tensors = dict(build(family).state_dict())
    assert "bbox_embed.2.layers.0.weight" in tensors
    checkpoint = load_with_shared_flags(tensors, tmp_path / "copies", saved(family))
    assert flags(checkpoint) == (True, True)
    assert checkpoint.state_dict.keys() == load_checkpoint(locate(saved(family))).state_dict.keys()


@pytest.mark.parametrize("family", ["gd", "mm"])
def test_contradicting_copies_are_named(family: str, saved: Callable[..., Path], tmp_path: Path) -> None:
    tensors = read_tensors(locate(saved(family)))
    tensors["model.decoder.bbox_embed.0.layers.1.bias"] = tensors["bbox_embed.0.layers.1.bias"] + 1
    names = "'bbox_embed.0.layers.1.bias' and 'model.decoder.bbox_embed.0.layers.1.bias'"
    with pytest.raises(CheckpointError, match=f"{names} are two names of the same weights"):
        load_with_shared_flags(tensors, tmp_path / "bad", saved(family))


def test_settling_is_also_done_on_saving(saved: Callable[..., Path], tmp_path: Path) -> None:
    checkpoint = load_checkpoint(locate(saved("mm", **UNSHARED)))
    checkpoint.config.decoder_bbox_embed_share = checkpoint.config.decoder_cls_embed_share = True
    save_checkpoint(checkpoint.state_dict, checkpoint.config, tmp_path)
    assert flags(load_checkpoint(locate(tmp_path))) == (False, False)
    assert flags(checkpoint) == (True, True), "the caller's configuration is not changed"


HEAD = {"box_heads.0.a": torch.zeros(2)}
SETTLED = [
    pytest.param({}, True, [], id="empty"),
    pytest.param(HEAD, True, ["box_heads.0.a"], id="one"),
    pytest.param(HEAD | {"box_heads.1.a": torch.zeros(2)}, True, ["box_heads.0.a"], id="equal"),
    pytest.param({"box_heads.2.a": torch.zeros(2)}, True, ["box_heads.0.a"], id="only-a-later-one"),
    pytest.param(HEAD | {"box_heads.1.a": torch.ones(2)}, False, ["box_heads.0.a", "box_heads.1.a"], id="different"),
    pytest.param(HEAD | {"box_heads.1.b": torch.zeros(2)}, False, ["box_heads.0.a", "box_heads.1.b"], id="incomplete"),
    pytest.param(HEAD | {"box_heads.1.a": torch.zeros(3)}, False, ["box_heads.0.a", "box_heads.1.a"], id="shape"),
]


@pytest.mark.parametrize(("tensors", "shared", "names"), SETTLED)
def test_settle_heads(tensors: dict[str, Tensor], shared: bool, names: list[str]) -> None:
    config = swin_t()
    config.two_stage_bbox_embed_share = True
    settled, result = settle_heads(tensors, config)
    assert list(settled) == names
    assert result.decoder_bbox_embed_share is result.two_stage_bbox_embed_share is shared
    assert config.decoder_bbox_embed_share is True
    result.validate()


def test_flags_that_say_unshared_are_followed() -> None:
    tensors = HEAD | {"box_heads.1.a": torch.zeros(2)}
    settled, config = settle_heads(tensors, mm_swin_t())
    assert (list(settled), config.decoder_bbox_embed_share) == (list(tensors), False)


@pytest.mark.parametrize(("layers", "names"), [(0, [0]), (1, [0]), (3, [0, 1, 2])])
def test_every_layer_gets_its_heads(layers: int, names: list[int]) -> None:
    assert list(give_every_layer_its_heads(HEAD, layers)) == [f"box_heads.{k}.a" for k in names]
