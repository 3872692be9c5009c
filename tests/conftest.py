"""Fixtures that several folders use. Nothing here or in any test reaches the network."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from pathlib import Path

import pytest
import torch

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
def tiny_checkpoint(tiny_detector: GroundingDinoForObjectDetection, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a complete tiny checkpoint; pictures are scaled to 128-200 pixels. Tests must not change it."""
    folder = tmp_path_factory.mktemp("tiny-checkpoint")
    tiny_detector.save_pretrained(folder)
    image_processor = GroundingDinoImageProcessor(size={"shortest_edge": 128, "longest_edge": 200})
    GroundingDinoProcessor(image_processor, GroundingDinoTokenizer.default()).save_pretrained(folder)
    return folder
