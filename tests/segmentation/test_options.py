"""The options of masks are checked when they are made."""

import re
from typing import Any

import pytest

from groundling.errors import ConfigError
from groundling.segmentation import MaskOptions


def test_defaults_clean_nothing() -> None:
    assert MaskOptions() == MaskOptions(best_of_three=False, fill_holes=0, drop_islands=0, chunk=16)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param({"chunk": 0}, "chunk must be a whole number of boxes, 1 or more, got 0.", id="empty chunk"),
        pytest.param({"chunk": -1}, "chunk must be a whole number of boxes", id="negative chunk"),
        pytest.param({"chunk": 1.5}, "got 1.5", id="fraction"),
        pytest.param({"chunk": True}, "got True", id="truth value"),
        pytest.param({"fill_holes": -1}, "fill_holes must be a whole number of pixels, 0 or more", id="holes"),
        pytest.param({"fill_holes": float("nan")}, "got nan", id="not a number"),
        pytest.param({"drop_islands": "12"}, "drop_islands must be a whole number of pixels", id="text"),
        pytest.param({"best_of_three": 1}, "best_of_three must be True or False, got 1.", id="number"),
    ],
)
def test_impossible_values(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        MaskOptions(**options)
