"""Tiny models with a memory and random weights, and pictures for them."""

from typing import Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray
from torch import Tensor

from groundling.processing.pixels import PixelArithmetic
from groundling.processing.resize import BILINEAR
from groundling.segmentation.preparation import Preparation
from groundling.segmentation.video_model import VideoSegmenter
from random_models import spread_weights

SIDE = 64
KINDS = ("sam2_video", "edgetam_video")
_WIDTH = 128  # memory attention of transformers reads 64 channels of memory, and splits pointers that are wider
_HIERA = {
    "model_type": "sam2_hiera_det_model",
    "hidden_size": 8,
    "image_size": [SIDE, SIDE],
    "blocks_per_stage": [1, 1, 2, 1],
    "embed_dim_per_stage": [8, 16, 32, 64],
    "num_attention_heads_per_stage": [1, 1, 2, 2],
    "window_size_per_stage": [4, 4, 4, 4],
    "global_attention_blocks": [3],
    "window_positional_embedding_background_size": [4, 4],
}
_MODEL: dict[str, Any] = {
    "image_size": SIDE,
    "vision_config": {
        "model_type": "sam2_vision_model",
        "backbone_config": _HIERA,
        "backbone_channel_list": [64, 32, 16, 8],
        "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
        "fpn_hidden_size": _WIDTH,
    },
    "prompt_encoder_config": {"hidden_size": _WIDTH, "image_size": SIDE, "patch_size": 16, "mask_input_channels": 4},
    "mask_decoder_config": {"hidden_size": _WIDTH, "mlp_dim": 32, "num_attention_heads": 2, "iou_head_hidden_dim": 16},
    "memory_attention_hidden_size": _WIDTH,
    "memory_attention_num_layers": 1,
    "memory_attention_rope_feat_sizes": [4, 4],
    "memory_encoder_hidden_size": _WIDTH,
    "mask_downsampler_embed_dim": _WIDTH,
    "memory_fuser_embed_dim": _WIDTH,
    "memory_fuser_intermediate_dim": 32,
}
_OWN: dict[str, dict[str, Any]] = {
    "sam2_video": {"memory_attention_feed_forward_hidden_size": 32},
    "edgetam_video": {
        "memory_attention_mlp_hidden_size": 32,
        "memory_attention_rope_k_sizes": [2, 2],
        "perceiver_resampler_num_latents": 4,
        "perceiver_resampler_num_latents_2d": 4,
    },
}


def tiny_model(kind: str, *, seed: int = 3, confidence: float = 0.0) -> Any:
    """A model in evaluation mode; with a high confidence it sees every thing, with a low one none."""
    name = {"sam2_video": "Sam2Video", "edgetam_video": "EdgeTamVideo"}[kind]
    config = getattr(transformers, f"{name}Config")(**_MODEL, **_OWN[kind])
    torch.manual_seed(seed)
    model = spread_weights(getattr(transformers, f"{name}Model")(config)).eval()
    with torch.no_grad():
        model.mask_decoder.pred_obj_score_head.proj_out.bias += confidence
    return model


def remembering(model: Any) -> VideoSegmenter:
    arithmetic = PixelArithmetic(1 / 255, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    return VideoSegmenter(model, Preparation(SIDE, True, BILINEAR, arithmetic))


def pictures(count: int, seed: int = 0) -> list[NDArray[np.uint8]]:
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
