"""Fixtures that several folders use. Nothing here or in any test reaches the network."""

import os
from pathlib import Path

import pytest
import torch

os.environ["HF_HUB_OFFLINE"] = "1"  # before the hub's client is imported
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from groundling import GroundingDinoForObjectDetection, GroundingDinoImageProcessor, GroundingDinoProcessor
from groundling.configuration.presets import tiny
from groundling.processing import GroundingDinoTokenizer
from random_models import spread_weights


@pytest.fixture(scope="session")
def tiny_detector() -> GroundingDinoForObjectDetection:
    """A tiny detector with random weights that give lively outputs. Tests must not change it."""
    torch.manual_seed(7)
    return spread_weights(GroundingDinoForObjectDetection(tiny())).eval()


@pytest.fixture(scope="session")
def processor() -> GroundingDinoProcessor:
    """The processor of the tiny checkpoint; pictures are scaled to 64-128 pixels."""
    image_processor = GroundingDinoImageProcessor(size={"shortest_edge": 64, "longest_edge": 128})
    return GroundingDinoProcessor(image_processor, GroundingDinoTokenizer.default())


@pytest.fixture(scope="session")
def checkpoint(
    tiny_detector: GroundingDinoForObjectDetection,
    processor: GroundingDinoProcessor,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A folder with the complete tiny checkpoint. Tests must not change it."""
    folder = tmp_path_factory.mktemp("tiny-checkpoint")
    tiny_detector.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
