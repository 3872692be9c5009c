"""The documented Auto classes: the family is chosen by the checkpoint's `model_type`."""

import os
from typing import Any

from groundling.configuration import DetectorConfig, read_config
from groundling.files import locate, split_hub_options
from groundling.model import (
    GroundingDinoForObjectDetection,
    GroundingDinoModel,
    MMGroundingDinoForObjectDetection,
    MMGroundingDinoModel,
)
from groundling.model.pretrained import load_pretrained
from groundling.processing import GroundingDinoProcessor

_MODELS: dict[str, type[GroundingDinoModel]] = {
    model.config_class.model_type: model for model in (GroundingDinoModel, MMGroundingDinoModel)
}
_DETECTORS: dict[str, type[GroundingDinoForObjectDetection]] = {
    model.config_class.model_type: model
    for model in (GroundingDinoForObjectDetection, MMGroundingDinoForObjectDetection)
}


class _Auto:
    """A name for a choice; it is never instantiated."""

    def __init__(self) -> None:
        raise TypeError(f"{type(self).__name__} is not instantiated. Use {type(self).__name__}.from_pretrained(name).")


class AutoConfig(_Auto):
    """Chooses the configuration class."""

    @classmethod
    def from_pretrained(cls, name: str | os.PathLike[str], **options: Any) -> DetectorConfig:
        """Read a checkpoint's configuration; options as in `GroundingDinoConfig.from_pretrained`."""
        hub, overrides = split_hub_options(options)
        return read_config(locate(name, **hub), **overrides)


class AutoProcessor(_Auto):
    """Chooses the processor class; both families have the same one."""

    @classmethod
    def from_pretrained(cls, name: str | os.PathLike[str], **options: Any) -> GroundingDinoProcessor:
        """Load the processor of a checkpoint; options as in `GroundingDinoProcessor.from_pretrained`."""
        return GroundingDinoProcessor.from_pretrained(name, **options)


class AutoModel(_Auto):
    """Chooses the model without detection heads."""

    @classmethod
    def from_pretrained(cls, name: str | os.PathLike[str], **options: Any) -> GroundingDinoModel:
        """Load the model of a checkpoint; options as in `GroundingDinoModel.from_pretrained`."""
        return load_pretrained(lambda config: _MODELS[config.model_type], name, **options)

    @classmethod
    def from_config(cls, config: DetectorConfig) -> GroundingDinoModel:
        """Build a model with fresh weights."""
        return _MODELS[config.model_type](config)


class AutoModelForZeroShotObjectDetection(_Auto):
    """Chooses the detector."""

    @classmethod
    def from_pretrained(cls, name: str | os.PathLike[str], **options: Any) -> GroundingDinoForObjectDetection:
        """Load the detector of a checkpoint; options as in `GroundingDinoForObjectDetection.from_pretrained`."""
        return load_pretrained(lambda config: _DETECTORS[config.model_type], name, **options)

    @classmethod
    def from_config(cls, config: DetectorConfig) -> GroundingDinoForObjectDetection:
        """Build a detector with fresh weights."""
        return _DETECTORS[config.model_type](config)
