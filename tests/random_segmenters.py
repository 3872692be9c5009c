"""Tiny segmenters of every kind with random weights, written by transformers as published checkpoints are."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers.modeling_outputs import BaseModelOutput

transformers.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()

SIDE = 64
_WIDTH = 32
_MEMORY_WIDTH = 128
"""Memory attention of transformers reads 64 channels of memory, and splits pointers that are wider."""


class MapsConfig(transformers.PreTrainedConfig):
    """Stands where EdgeTAM has a backbone of timm."""

    model_type = "groundling_test_maps"


class MapsModel(transformers.PreTrainedModel):
    """Four maps, each half as large as the one before: what EdgeTAM takes from its backbone."""

    config_class = MapsConfig
    config: MapsConfig

    def __init__(self, config: MapsConfig) -> None:
        super().__init__(config)
        self.steps = nn.ModuleList(
            nn.Conv2d(before, after, stride, stride)
            for before, after, stride in ((3, 8, 4), (8, 16, 2), (16, 32, 2), (32, 64, 2))
        )
        self.post_init()

    def forward(self, pixel_values: Tensor, **kwargs: Any) -> BaseModelOutput:
        maps = [pixel_values]
        for step in self.steps:
            maps.append(step(maps[-1]).tanh())
        return BaseModelOutput(last_hidden_state=maps[1:])


transformers.AutoConfig.register(MapsConfig.model_type, MapsConfig, exist_ok=True)
transformers.AutoModel.register(MapsConfig, MapsModel, exist_ok=True)


def _vision_sam() -> dict[str, Any]:
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "mlp_dim": 32, "output_channels": 32}
    return sizes | {
        "image_size": SIDE,
        "patch_size": 16,
        "num_pos_feats": 16,
        "global_attn_indexes": [0, 1],
        "window_size": 2,
    }


_HIERA = {
    "model_type": "sam2_hiera_det_model",
    "hidden_size": 8,
    "image_size": [SIDE, SIDE],
    "embed_dim_per_stage": [8, 16, 32, 64],
    "num_attention_heads_per_stage": [1, 2, 4, 8],
    "blocks_per_stage": [1, 1, 2, 1],
    "window_size_per_stage": [4, 2, 4, 2],
    "global_attention_blocks": [3],
    "window_positional_embedding_background_size": [4, 4],
}


def _vision_of_maps(model_type: str, backbone: dict[str, Any], width: int) -> dict[str, Any]:
    return {
        "model_type": model_type,
        "backbone_config": backbone,
        "backbone_channel_list": [64, 32, 16, 8],
        "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
        "fpn_hidden_size": width,
    }


_MEMORY = {
    "image_size": SIDE,
    "memory_attention_hidden_size": _MEMORY_WIDTH,
    "memory_attention_num_layers": 1,
    "memory_attention_rope_feat_sizes": [4, 4],
    "memory_encoder_hidden_size": _MEMORY_WIDTH,
    "mask_downsampler_embed_dim": _MEMORY_WIDTH,
    "memory_fuser_embed_dim": _MEMORY_WIDTH,
    "memory_fuser_intermediate_dim": 32,
}
_MEMORY_OF_SAM2 = _MEMORY | {"memory_attention_feed_forward_hidden_size": 32}
_MEMORY_OF_EDGETAM = _MEMORY | {
    "memory_attention_mlp_hidden_size": 32,
    "memory_attention_rope_k_sizes": [2, 2],
    "perceiver_resampler_num_latents": 4,
    "perceiver_resampler_num_latents_2d": 4,
}


def build(kind: str) -> transformers.PreTrainedModel:
    """Build a tiny model of a kind, with the fresh weights that transformers gives it."""
    width = _MEMORY_WIDTH if kind.endswith("_video") else _WIDTH
    parts: dict[str, Any] = {
        "prompt_encoder_config": {"hidden_size": width, "image_size": SIDE, "patch_size": 16},
        "mask_decoder_config": {
            "hidden_size": width,
            "mlp_dim": 32,
            "num_attention_heads": 4,
            "iou_head_hidden_dim": 32,
        },
    }
    if kind == "sam":
        return transformers.SamModel(transformers.SamConfig(vision_config=_vision_sam(), **parts))
    if kind == "sam_hq":
        parts["mask_decoder_config"]["vit_dim"] = 32
        return transformers.SamHQModel(transformers.SamHQConfig(vision_config=_vision_sam(), **parts))
    if kind.startswith("sam2"):
        parts["vision_config"] = _vision_of_maps("sam2_vision_model", _HIERA, width)
    else:
        parts["vision_config"] = _vision_of_maps("edgetam_vision_model", {"model_type": MapsConfig.model_type}, width)
    if kind == "sam2":
        return transformers.Sam2Model(transformers.Sam2Config(**parts))
    if kind == "sam2_video":
        return transformers.Sam2VideoModel(transformers.Sam2VideoConfig(**parts, **_MEMORY_OF_SAM2))
    if kind == "edgetam":
        return transformers.EdgeTamModel(transformers.EdgeTamConfig(**parts))
    return transformers.EdgeTamVideoModel(transformers.EdgeTamVideoConfig(**parts, **_MEMORY_OF_EDGETAM))


def _lively(model: transformers.PreTrainedModel) -> transformers.PreTrainedModel:
    """Spread the weights so that masks differ from box to box and have edges."""
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim > 1 and "norm" not in name:
                weight.mul_(4.0)
    return model.eval()


KINDS = ("sam", "sam_hq", "sam2", "sam2_video", "edgetam", "edgetam_video")


def write_segmenter(kind: str, folder: Path, seed: int = 11) -> Path:
    """Write a tiny checkpoint of a kind into a folder, without a processor file."""
    torch.manual_seed(seed)
    _lively(build(kind)).save_pretrained(folder)
    return folder


def picture(width: int, height: int, seed: int = 0) -> NDArray[np.uint8]:
    """A picture of smooth coloured blobs, so that resizing leaves something of it."""
    rng = np.random.default_rng(seed)
    coarse = torch.from_numpy(rng.uniform(0, 255, (1, 3, 6, 6)))
    smooth = nn.functional.interpolate(coarse, (height, width), mode="bilinear")[0]
    return smooth.permute(1, 2, 0).round().to(torch.uint8).numpy()


def some_boxes(count: int, width: int, height: int, seed: int = 0) -> NDArray[np.float32]:
    """Boxes [N, 4] inside a picture, of many sizes."""
    corners = np.sort(np.random.default_rng(seed).uniform(0, 1, (count, 2, 2)), axis=1)
    return (corners.reshape(count, 4) * [width, height, width, height]).astype(np.float32)
