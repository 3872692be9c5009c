"""A checkpoint that does not fit says what is wrong, why, and what to do."""

import pytest
import torch
from torch import Tensor

from groundling.checkpoint import fit
from groundling.errors import CheckpointError

PATCH = "model.image_backbone.patch_embedding.projection.weight"
MM = "model.query_selection.contrastive_head.bias"
MODEL = {PATCH: (96, 3, 4, 4), "model.a": (2,), "box_heads.0.w": (2, 2)}


def tensors(shapes: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    return {name: torch.zeros(shape) for name, shape in shapes.items()}


def without(name: str) -> dict[str, tuple[int, ...]]:
    return {key: shape for key, shape in MODEL.items() if key != name}


def test_what_fits_is_returned() -> None:
    assert fit({}, {}, source="x") == {}
    assert fit(tensors(MODEL), MODEL, source="x").keys() == MODEL.keys()


def test_the_base_model_sets_heads_aside() -> None:
    base = {name.removeprefix("model."): shape for name, shape in MODEL.items() if "heads" not in name}
    found = fit(tensors(MODEL | {"contrastive_heads.0.bias": ()}), base, source="x")
    assert found.keys() == base.keys()


MISFITS = [
    pytest.param({}, MODEL, r"x does not fit.* lacks 3 of 3 tensors .*incomplete", id="empty"),
    pytest.param(without("model.a"), MODEL, r"lacks 1 of 3 tensors \(model.a\).*incomplete", id="missing"),
    pytest.param(
        MODEL | {"model.b": (1,)}, MODEL, r"holds 1 tensors that the .* not have \(model.b\)", id="unexpected"
    ),
    pytest.param(without("box_heads.0.w"), MODEL, "the base model only, without the detection heads", id="base"),
    pytest.param(
        MODEL, MODEL | {"box_heads.1.w": (2, 2)}, "heads of its own, but.*decoder_bbox_embed_share", id="unshared"
    ),
    pytest.param(MODEL | {"model.a": (3,)}, MODEL, r"model.a is \(3,\), not \(2,\).*different sizes", id="shape"),
    pytest.param(MODEL | {PATCH: (128, 3, 4, 4)}, MODEL, "has width 128, that of Swin-B.*matching preset", id="preset"),
    pytest.param(MODEL | {PATCH: (8, 3, 4, 4)}, MODEL, r"has width 8\. Load", id="unknown-width"),
    pytest.param(MODEL | {MM: ()}, MODEL, "is an MM-Grounding-DINO checkpoint, but", id="mm-in-gd"),
    pytest.param(MODEL, MODEL | {MM: ()}, "is a Grounding DINO checkpoint, but", id="gd-in-mm"),
    pytest.param(
        {f"model.{i}": (1,) for i in range(9)},
        {f"model.{i}": (2,) for i in range(9)},
        r"9 tensors of another shape \(model.0 is \(1,\), not \(2,\); model.1 .*; model.2 .*; and 6 more\)",
        id="many",
    ),
    pytest.param({}, {f"model.{i}": (2,) for i in range(5)}, r"\(model.0, model.1, model.2, and 2 more\)", id="listed"),
]


@pytest.mark.parametrize(("found", "expected", "message"), MISFITS)
def test_misfits_are_explained(
    found: dict[str, tuple[int, ...]], expected: dict[str, tuple[int, ...]], message: str
) -> None:
    with pytest.raises(CheckpointError, match=message):
        fit(tensors(found), expected, source="x")
