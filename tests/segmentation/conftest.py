"""Tiny segmenters that several files use."""

from collections.abc import Callable
from pathlib import Path

import pytest

from groundling.segmentation import Segmenter, load_segmenter
from random_segmenters import write_segmenter


@pytest.fixture(scope="session")
def folder_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a tiny checkpoint of each kind, without a processor file. Tests must not change it."""
    made: dict[str, Path] = {}

    def of(kind: str) -> Path:
        if kind not in made:
            made[kind] = write_segmenter(kind, tmp_path_factory.mktemp(kind))
        return made[kind]

    return of


@pytest.fixture(scope="session")
def segmenter_of(folder_of: Callable[[str], Path]) -> Callable[[str], Segmenter]:
    """The segmenter of each kind. Tests must not change it."""
    made: dict[str, Segmenter] = {}

    def of(kind: str) -> Segmenter:
        if kind not in made:
            made[kind] = load_segmenter(folder_of(kind), device="cpu")
        return made[kind]

    return of


@pytest.fixture(scope="session")
def bundled() -> Segmenter:
    """The segmenter that comes with the package."""
    return load_segmenter("groundling/nano-sam", device="cpu")
