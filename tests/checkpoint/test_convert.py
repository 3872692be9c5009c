"""Converting: all directions, and the reasons why one is impossible."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from groundling.checkpoint import convert, load_checkpoint
from groundling.errors import CheckpointError
from groundling.files import locate

UNSHARED = {"decoder_bbox_embed_share": False, "decoder_cls_embed_share": False}
ROUTES = [
    pytest.param("gd", {}, ["a.pth", "b"], ["original", "hugging_face"], id="original"),
    pytest.param("gd", {"decoder_bbox_embed_share": False}, ["a.pt", "b"], ["original", "hugging_face"], id="unshared"),
    pytest.param("mm", UNSHARED, ["a.pth", "b"], ["mmdetection", "hugging_face"], id="mmdetection"),
    pytest.param("gd", {}, ["a", "b.pth", "c.pth"], ["hugging_face", "original", "original"], id="three"),
]


@pytest.mark.parametrize(("family", "values", "stops", "layouts"), ROUTES)
def test_there_and_back(
    family: str, values: dict[str, bool], stops: list[str], layouts: list[str], saved: Callable[..., Path],
    tmp_path: Path,
) -> None:  # fmt: skip
    start = load_checkpoint(locate(saved(family, **values)))
    source = saved(family, **values)
    for stop, layout in zip(stops, layouts, strict=True):
        convert(source, tmp_path / stop)
        source = tmp_path / stop
        assert load_checkpoint(locate(source)).layout == layout
    end = load_checkpoint(locate(source))
    kept = [name for name in start.state_dict if "final_norm" not in name]
    assert end.state_dict.keys() == start.state_dict.keys()
    assert [name for name in kept if not torch.equal(end.state_dict[name], start.state_dict[name])] == []
    assert end.config.decoder_bbox_embed_share == start.config.decoder_bbox_embed_share


def test_the_layout_can_be_chosen(saved: Callable[..., Path], tmp_path: Path) -> None:
    read = convert(saved("gd"), tmp_path / "a.pth", layout="mmdetection", dtype="float16")
    assert (read.layout, read.dtype) == ("hugging_face", torch.float32)
    written = load_checkpoint(locate(tmp_path / "a.pth"))
    assert (written.layout, written.dtype, written.config.model_type) == (
        "mmdetection",
        torch.float16,
        "grounding-dino",
    )


def test_an_impossible_direction_gives_the_reason(saved: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no place for the contrastive heads' biases"):
        convert(saved("mm"), tmp_path / "a.pth", layout="original")


def test_an_incomplete_source_is_found_before_anything_is_written(saved: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"lacks 1 of 2 tensors \(model.more\)"):
        convert(
            saved("gd"), tmp_path / "out", expected=lambda read: {"model.level_embedding": (4, 32), "model.more": (1,)}
        )
    assert list(tmp_path.iterdir()) == []


def test_subfolders_are_found(saved: Callable[..., Path], tmp_path: Path) -> None:
    folder = saved("gd")
    convert(folder.parent, tmp_path / "out", subfolder=folder.name)
    assert (tmp_path / "out/model.safetensors").exists()
