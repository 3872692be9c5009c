"""How pictures are put into the square, and what a processor file may say."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import SamImageProcessorPil

from groundling.errors import CheckpointError, ConfigError
from groundling.files import locate
from groundling.segmentation.preparation import Preparation
from random_segmenters import picture, some_boxes

SIDE = 64
SQUARE = {"height": SIDE, "width": SIDE}


def _read(
    folder: Path, values: dict[str, Any] | None, *, is_stretched: bool = False, nested: bool = False
) -> Preparation:
    if values is not None:
        name = "processor_config.json" if nested else "preprocessor_config.json"
        (folder / name).write_text(json.dumps({"image_processor": values} if nested else values))
    return Preparation.read(locate(folder), SIDE, is_stretched=is_stretched)


@pytest.mark.parametrize(
    ("wh", "is_stretched", "inner_hw"),
    [
        pytest.param((1, 1), False, (64, 64), id="one pixel"),
        pytest.param((128, 96), False, (48, 64), id="landscape"),
        pytest.param((96, 128), False, (64, 48), id="portrait"),
        pytest.param((1000, 1), False, (1, 64), id="thinner than a pixel"),
        pytest.param((1000, 1), True, (64, 64), id="stretched"),
    ],
)
def test_size_inside_the_square(
    tmp_path: Path, wh: tuple[int, int], is_stretched: bool, inner_hw: tuple[int, int]
) -> None:
    preparation = _read(tmp_path, None, is_stretched=is_stretched)
    assert preparation.inner_hw(wh) == inner_hw
    pixels = preparation.pixels([np.full((wh[1], wh[0], 3), 255, np.uint8)])[0]
    assert (pixels[:, : inner_hw[0], : inner_hw[1]] > 2).all(), "white is above 2 after normalising"
    assert (pixels[:, inner_hw[0] :] == 0).all()
    assert (pixels[:, :, inner_hw[1] :] == 0).all()


@pytest.mark.parametrize("wh", [(90, 60), (60, 90), (64, 64), (63, 5)], ids=str)
def test_padded_pixels_are_the_documented_ones(tmp_path: Path, wh: tuple[int, int]) -> None:
    reference = SamImageProcessorPil(size={"longest_edge": SIDE}, pad_size=SQUARE)
    expected = reference(picture(*wh), return_tensors="pt")["pixel_values"]
    # a grey level is 0.018 after normalising; Pillow rounds its resizing in another way
    torch.testing.assert_close(_read(tmp_path, None).pixels([picture(*wh)]), expected, rtol=0, atol=0.02)


def test_pictures_that_cannot_be_written_and_views_are_read(tmp_path: Path) -> None:
    preparation, pixels = _read(tmp_path, None), picture(40, 30)
    flipped = pixels[:, ::-1]
    pixels.flags.writeable = False
    batch = preparation.pixels([pixels, flipped])
    torch.testing.assert_close(batch[1:], preparation.pixels([flipped.copy()]))


def test_boxes_follow_the_picture(tmp_path: Path) -> None:
    whole = np.array([[0, 0, 200, 50]], np.float32)
    assert _read(tmp_path, None).boxes(whole, (200, 50)).tolist() == [[0, 0, 64, 16]]
    assert _read(tmp_path, None, is_stretched=True).boxes(whole, (200, 50)).tolist() == [[0, 0, 64, 64]]
    assert _read(tmp_path, None).boxes(some_boxes(0, 9, 9), (9, 9)).shape == (0, 4)


@pytest.mark.parametrize("nested", [False, True])
def test_the_file_is_followed(tmp_path: Path, nested: bool) -> None:
    values = {
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.25, 0.25, 0.25],
        "size": {"longest_edge": SIDE, "height": None},
    }
    preparation = _read(tmp_path, values | {"resample": 3}, nested=nested)
    assert preparation.resample == 3
    assert preparation.pixels([np.full((8, 8, 3), 255, np.uint8)]).unique().tolist() == [2.0]


def test_steps_can_be_switched_off(tmp_path: Path) -> None:
    preparation = _read(tmp_path, {"do_normalize": False, "do_rescale": False})
    assert preparation.pixels([np.full((8, 8, 3), 200, np.uint8)]).unique().tolist() == [200]


@pytest.mark.parametrize(
    ("values", "is_stretched", "error", "message"),
    [
        pytest.param({"size": {}}, False, CheckpointError, "needs {'longest_edge': 64}", id="empty size"),
        pytest.param(
            {"size": {"longest_edge": 1024}}, False, CheckpointError, "size={'longest_edge': 1024}", id="size"
        ),
        pytest.param({"size": SQUARE}, False, CheckpointError, "size={'height': 64", id="SAM 2's file"),
        pytest.param(
            {"size": {"longest_edge": 64}}, True, CheckpointError, "size={'longest_edge': 64}", id="SAM's file"
        ),
        pytest.param({"pad_size": {"height": 64, "width": 32}}, False, CheckpointError, "pad_size=", id="pad"),
        pytest.param({"do_resize": False}, True, CheckpointError, "do_resize=false", id="no resizing"),
        pytest.param({"do_pad": False}, False, CheckpointError, "do_pad=false", id="no padding"),
        pytest.param({"image_std": [0, 1, 1]}, False, ConfigError, "preprocessor_config.json of", id="std of zero"),
        pytest.param({"image_mean": [0.5, 0.5]}, False, ConfigError, "image_mean must be 3 numbers", id="two means"),
        pytest.param({"image_mean": 0.5}, False, ConfigError, "image_mean must be 3 numbers", id="one mean"),
        pytest.param({"image_mean": [np.nan, 0, 0]}, False, ConfigError, "image_mean must be 3", id="mean no number"),
        pytest.param({"image_std": [np.inf, 1, 1]}, False, ConfigError, "image_std must be 3", id="infinite std"),
        pytest.param({"image_std": [1e-300, 1, 1]}, False, ConfigError, "image_std must be 3", id="tiny std"),
        pytest.param({"rescale_factor": np.inf}, False, ConfigError, "rescale_factor must be a number", id="infinite"),
        pytest.param({"rescale_factor": np.nan}, False, ConfigError, "rescale_factor must be a number", id="nan"),
        pytest.param({"rescale_factor": 10**400}, False, ConfigError, "rescale_factor must be a number", id="huge"),
        pytest.param(
            {"image_mean": [10**400, 0, 0]}, False, ConfigError, "preprocessor_config.json of", id="huge mean"
        ),
        pytest.param(
            {"size": {"longest_edge": 10**12}}, False, ConfigError, "size.longest_edge must be", id="huge size"
        ),
        pytest.param({"size": {"longest_edge": -4}}, False, ConfigError, "from 1 to 8192, got -4", id="negative size"),
        pytest.param({"image_mean": None}, False, ConfigError, "needs image_mean", id="no mean"),
        pytest.param({"rescale_factor": "x"}, False, ConfigError, "rescale_factor", id="factor"),
        pytest.param({"resample": 9}, False, ConfigError, "resample=9 is no filter", id="filter"),
    ],
)
def test_impossible_files(
    tmp_path: Path, values: dict[str, Any], is_stretched: bool, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=re.escape(message)):
        _read(tmp_path, values, is_stretched=is_stretched)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "preprocessor_config.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"preprocessor_config\.json"):
        _read(tmp_path, None)
