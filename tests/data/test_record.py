"""What a record refuses to be."""

from typing import Any

import numpy as np
import pytest

from groundling.data.record import Record
from groundling.errors import DatasetError
from groundling.structures.masks import Masks


def record(*labels: str, **changes: Any) -> Record:
    count = len(labels)
    values: dict[str, Any] = {
        "key": "one",
        "picture": None,
        "image_wh": (8, 8),
        "labels": labels,
        "boxes_xyxy": np.tile(np.array([1, 2, 3, 4], np.float32), (count, 1)),
        "positive_NL": np.eye(count, dtype=np.bool_),
    }
    return Record(**(values | changes))


def test_nothing() -> None:
    assert record().crowd_N.shape == (0,)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param({"boxes_xyxy": np.zeros((2, 4), np.float32)}, r"positive_NL must have the shape \(2, 1\)", id="N"),
        pytest.param({"boxes_xyxy": np.zeros((1, 5), np.float32)}, r"must have the shape \[N, 4\]", id="columns"),
        pytest.param(
            {"crowd_N": np.zeros(3, np.bool_)}, r"crowd_N \[N\], but they have \(1, 4\) and \(3,\)", id="crowd"
        ),
        pytest.param({"boxes_xyxy": np.full((1, 4), np.nan, np.float32)}, "one: boxes_xyxy must be finite", id="nan"),
        pytest.param({"boxes_xyxy": np.full((1, 4), np.inf, np.float32)}, "must be finite", id="infinite"),
        pytest.param({"boxes_xyxy": np.array([[3, 2, 1, 4]], np.float32)}, "with left <= right", id="inverted"),
        pytest.param({"masks": Masks((), (8, 8))}, r"masks must be 1 of 8 x 8 pixels.*Masks\(0 in 8x8\)", id="masks"),
        pytest.param({"masks": Masks.from_array(np.ones((1, 9, 8)))}, "but are Masks.1 in 8x9", id="size of masks"),
        pytest.param({"labels": ("cat", "cat"), "positive_NL": np.ones((1, 2), bool)}, "stand once", id="label twice"),
    ],
)
def test_what_is_wrong(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        record("cat", **changes)
