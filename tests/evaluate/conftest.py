"""What the tests of whole evaluations share."""

from dataclasses import replace
from functools import partial

import pytest

from evaluate.hand_made import load, pictures
from groundling.evaluate import PROTOCOLS, Work


@pytest.fixture(scope="session")
def work(checkpoint):
    """Seven small pictures for the tiny model."""
    return Work(
        make_detector=partial(load, checkpoint),
        make_dataset=partial(pictures, 7),
        protocol=replace(PROTOCOLS["coco"], top_k=20),
    )
