"""A tiny model with random weights, saved once."""

import pytest
import torch

from groundling.configuration.presets import tiny
from groundling.model import GroundingDinoForObjectDetection
from groundling.processing import GroundingDinoImageProcessor, GroundingDinoProcessor, GroundingDinoTokenizer


@pytest.fixture(scope="session")
def processor():
    size = {"shortest_edge": 64, "longest_edge": 128}
    return GroundingDinoProcessor(GroundingDinoImageProcessor(size=size), GroundingDinoTokenizer.default())


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory, processor):
    folder = tmp_path_factory.mktemp("tiny")
    torch.manual_seed(0)
    GroundingDinoForObjectDetection(tiny()).save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
