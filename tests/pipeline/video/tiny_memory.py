"""Tiny models with a memory and random weights, and pictures for them."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from groundling.processing.pixels import PixelArithmetic
from groundling.processing.resize import BILINEAR
from groundling.segmentation.preparation import Preparation
from groundling.segmentation.video_model import VideoSegmenter
from random_models import spread_weights
from random_segmenters import SIDE, build

KINDS = ("sam2_video", "edgetam_video")


def tiny_model(kind: str, *, seed: int = 1, confidence: float = 0.0) -> Any:
    """A model in evaluation mode; with a high confidence it sees every thing, with a low one none."""
    torch.manual_seed(seed)
    model: Any = spread_weights(build(kind)).eval()
    with torch.no_grad():
        model.mask_decoder.pred_obj_score_head.proj_out.bias += confidence
    return model


def remembering(model: Any) -> VideoSegmenter:
    arithmetic = PixelArithmetic(1 / 255, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    return VideoSegmenter(model, Preparation(SIDE, True, BILINEAR, arithmetic))


def pictures(count: int, seed: int = 1) -> list[NDArray[np.uint8]]:
    """Pictures [48, 80, 3] of coarse coloured squares, each like the one before but for a few."""
    rng = np.random.default_rng(seed)
    coarse, made = rng.integers(0, 256, (6, 10, 3)), []
    for _ in range(count):
        coarse[rng.integers(0, 6, 8), rng.integers(0, 10, 8)] = rng.integers(0, 256, (8, 3))
        made.append(coarse.repeat(8, axis=0).repeat(8, axis=1).astype(np.uint8))
    return made


def held_bytes(value: Any, seen: dict[int, int] | None = None) -> int:
    """Bytes of all tensors inside dictionaries, lists and plain objects, each storage once."""
    seen = {} if seen is None else seen
    if isinstance(value, Tensor):
        seen[value.untyped_storage().data_ptr()] = value.untyped_storage().nbytes()
    elif isinstance(value, dict):
        for part in value.values():
            held_bytes(part, seen)
    elif isinstance(value, list | tuple):
        for part in value:
            held_bytes(part, seen)
    return sum(seen.values())
