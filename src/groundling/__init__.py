"""groundling: a complete, standalone Grounding DINO. Name what you want to find, get boxes.

Names are loaded when they are first used, so that importing the package costs next to nothing.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from groundling.auto import AutoConfig, AutoModel, AutoModelForZeroShotObjectDetection, AutoProcessor
    from groundling.configuration import BertConfig, GroundingDinoConfig, MMGroundingDinoConfig, SwinConfig
    from groundling.errors import (
        CheckpointError,
        ConfigError,
        DatasetError,
        GroundlingError,
        ImageError,
        MissingExtraError,
        PromptError,
    )
    from groundling.model import (
        GroundingDinoForObjectDetection,
        GroundingDinoModel,
        MMGroundingDinoForObjectDetection,
        MMGroundingDinoModel,
    )
    from groundling.pipeline import Detector, PromptEncoding
    from groundling.pipeline.grounded_sam import GroundedSam
    from groundling.pipeline.tiles import Tiles
    from groundling.pipeline.video.tracking import TrackedFrame
    from groundling.processing import (
        GroundingDinoImageProcessor,
        GroundingDinoImageProcessorFast,
        GroundingDinoProcessor,
        GroundingDinoTokenizer,
    )
    from groundling.segmentation import MaskOptions
    from groundling.structures.detections import Detection, Detections
    from groundling.structures.explanation import Explanation
    from groundling.structures.masks import Masks
    from groundling.structures.prompt import Caption, Prompt
    from groundling.structures.vocabulary import Vocabulary

_HOMES = {
    "AutoConfig": "auto",
    "AutoModel": "auto",
    "AutoModelForZeroShotObjectDetection": "auto",
    "AutoProcessor": "auto",
    "BertConfig": "configuration",
    "Caption": "structures.prompt",
    "CheckpointError": "errors",
    "ConfigError": "errors",
    "DatasetError": "errors",
    "Detection": "structures.detections",
    "Detections": "structures.detections",
    "Detector": "pipeline",
    "Explanation": "structures.explanation",
    "GroundedSam": "pipeline.grounded_sam",
    "GroundingDinoConfig": "configuration",
    "GroundingDinoForObjectDetection": "model",
    "GroundingDinoImageProcessor": "processing",
    "GroundingDinoImageProcessorFast": "processing",
    "GroundingDinoModel": "model",
    "GroundingDinoProcessor": "processing",
    "GroundingDinoTokenizer": "processing",
    "GroundlingError": "errors",
    "ImageError": "errors",
    "MMGroundingDinoConfig": "configuration",
    "MMGroundingDinoForObjectDetection": "model",
    "MMGroundingDinoModel": "model",
    "MaskOptions": "segmentation",
    "Masks": "structures.masks",
    "MissingExtraError": "errors",
    "Prompt": "structures.prompt",
    "PromptEncoding": "pipeline.prompt_encoding",
    "PromptError": "errors",
    "SwinConfig": "configuration",
    "Tiles": "pipeline.tiles",
    "TrackedFrame": "pipeline.video.tracking",
    "Vocabulary": "structures.vocabulary",
}

__all__ = [
    "AutoConfig",
    "AutoModel",
    "AutoModelForZeroShotObjectDetection",
    "AutoProcessor",
    "BertConfig",
    "Caption",
    "CheckpointError",
    "ConfigError",
    "DatasetError",
    "Detection",
    "Detections",
    "Detector",
    "Explanation",
    "GroundedSam",
    "GroundingDinoConfig",
    "GroundingDinoForObjectDetection",
    "GroundingDinoImageProcessor",
    "GroundingDinoImageProcessorFast",
    "GroundingDinoModel",
    "GroundingDinoProcessor",
    "GroundingDinoTokenizer",
    "GroundlingError",
    "ImageError",
    "MMGroundingDinoConfig",
    "MMGroundingDinoForObjectDetection",
    "MMGroundingDinoModel",
    "MaskOptions",
    "Masks",
    "MissingExtraError",
    "Prompt",
    "PromptEncoding",
    "PromptError",
    "SwinConfig",
    "Tiles",
    "TrackedFrame",
    "Vocabulary",
    "__version__",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'groundling' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"groundling.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
