"""The model that a run begins with."""

from typing import NamedTuple

import torch

from groundling.auto import AutoConfig, AutoModelForZeroShotObjectDetection
from groundling.errors import ConfigError
from groundling.files import locate
from groundling.model.grounding_dino import GroundingDinoForObjectDetection
from groundling.pipeline.processor_files import load_processor
from groundling.processing.processor import GroundingDinoProcessor
from groundling.train.settings import RunSettings


class Start(NamedTuple):
    """What is trained.

    Attributes:
        detector: the model; frozen parameters require no gradient.
        processor: its image processor and tokenizer.
    """

    detector: GroundingDinoForObjectDetection
    processor: GroundingDinoProcessor


def load_start(settings: RunSettings) -> Start:
    """Load or make the model of a run.

    Raises:
        ConfigError: no model is named, or `model.freeze` names no parameter or all of them.
        CheckpointError: the checkpoint cannot be loaded.
    """
    options = settings.model
    if not options.start:
        raise ConfigError("model.start is missing. Name a checkpoint, or with model.fresh=true a folder.")
    processor = load_processor(locate(options.start))
    if options.fresh:
        torch.manual_seed(settings.seed)
        detector = AutoModelForZeroShotObjectDetection.from_config(AutoConfig.from_pretrained(options.start))
    else:
        detector = AutoModelForZeroShotObjectDetection.from_pretrained(options.start, dtype=torch.float32)
    for start in options.freeze:
        named = [parameter for name, parameter in detector.named_parameters() if name.startswith(start)]
        if not named:
            parts = sorted({".".join(name.split(".")[:2]) for name, _ in detector.named_parameters()})
            raise ConfigError(
                f"model.freeze names {start!r}, but no parameter begins so. There are {', '.join(parts)}."
            )
        for parameter in named:
            parameter.requires_grad_(False)
    if not any(parameter.requires_grad for parameter in detector.parameters()):
        raise ConfigError("Nothing is trained: model.freeze names all parts of the model. Shorten it.")
    return Start(detector, processor)
