from pathlib import Path

import pytest

from groundling.model.grounding_dino import GroundingDinoForObjectDetection
from groundling.pipeline.detector import Detector
from groundling.processing import GroundingDinoProcessor
from labelling.drawn import FOUR, folder_of
from random_segmenters import write_segmenter


@pytest.fixture(scope="session")
def nano() -> Detector:
    """The bundled model. Tests must not change it."""
    return Detector.from_pretrained("groundling/nano", device="cpu")


@pytest.fixture(scope="session")
def quick(tiny_detector: GroundingDinoForObjectDetection, processor: GroundingDinoProcessor) -> Detector:
    """A tiny model of random weights, where it does not matter what is found."""
    return Detector(tiny_detector, processor)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of four scenes."""
    return folder_of(tmp_path / "photos", *FOUR)


@pytest.fixture(scope="session")
def segmenter_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny segmenter of random weights."""
    return write_segmenter("sam", tmp_path_factory.mktemp("segmenter"))
