"""The kinds of segmenters, and what differs between them.

Shapes: B pictures, S side of the square that the model sees.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

Features = tuple[Tensor, ...]
"""What a vision encoder makes of pictures; the first axis of each tensor is the picture."""


@dataclass(frozen=True)
class Family:
    """One kind of segmenter.

    All of them take boxes in pixels of the square and answer with scores of mask pixels and predicted IoUs, so only
    what stands here differs.

    Attributes:
        title: what people call it.
        model: name of its model class in transformers.
        config: name of its configuration class.
        video_model: name of the class that follows things through a video; None where there is none.
        is_stretched: pictures are stretched to the square; otherwise padded.
        encode: model, pixels [B, 3, S, S] -> features.
        arguments: features -> the keywords under which the model takes them.
    """

    title: str
    model: str
    config: str
    video_model: str | None
    is_stretched: bool
    encode: Callable[[Any, Tensor], Features]
    arguments: Callable[[Features], dict[str, Any]]


def _encode_sam(model: Any, pixel_B3SS: Tensor) -> Features:
    return (model.get_image_embeddings(pixel_B3SS),)


def _sam_arguments(features: Features) -> dict[str, Any]:
    return {"image_embeddings": features[0]}


def _encode_sam_hq(model: Any, pixel_B3SS: Tensor) -> Features:
    last, intermediate = model.get_image_embeddings(pixel_B3SS)
    return last, *intermediate[:1]  # the decoder reads the first of the intermediate maps only


def _sam_hq_arguments(features: Features) -> dict[str, Any]:
    return {"image_embeddings": features[0], "intermediate_embeddings": list(features[1:])}


def _encode_sam2(model: Any, pixel_B3SS: Tensor) -> Features:
    return tuple(model.get_image_embeddings(pixel_B3SS))


def _sam2_arguments(features: Features) -> dict[str, Any]:
    return {"image_embeddings": list(features)}


SAM = Family("SAM", "SamModel", "SamConfig", None, False, _encode_sam, _sam_arguments)
SAM_HQ = Family("SAM-HQ", "SamHQModel", "SamHQConfig", None, False, _encode_sam_hq, _sam_hq_arguments)
SAM2 = Family("SAM 2", "Sam2Model", "Sam2Config", "Sam2VideoModel", True, _encode_sam2, _sam2_arguments)
EDGETAM = Family("EdgeTAM", "EdgeTamModel", "EdgeTamConfig", "EdgeTamVideoModel", True, _encode_sam2, _sam2_arguments)

FAMILIES = {
    "sam": SAM,
    "sam_hq": SAM_HQ,
    "sam2": SAM2,
    "sam2_video": SAM2,
    "edgetam": EDGETAM,
    "edgetam_video": EDGETAM,
}
"""The family of each `model_type` of a checkpoint's config.json. A video checkpoint holds the image model too."""

VIDEO_TYPES = ("sam2_video", "edgetam_video")
"""The model types that can follow things through a video."""
