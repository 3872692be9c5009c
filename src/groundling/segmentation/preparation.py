"""From a picture to the square that a segmenter sees, and from the square's masks back to the picture.

Shapes: B pictures, N masks, S side of the square, H and W of the original.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from groundling.errors import CheckpointError, ConfigError
from groundling.files import Location, read_json
from groundling.processing.image_processor import IMAGE_PROCESSOR_FILE, PROCESSOR_FILE
from groundling.processing.image_settings import constructor_settings
from groundling.processing.pixels import PixelArithmetic, batch_pixels, check_factors
from groundling.processing.resize import resize
from groundling.structures.checks import is_number

_USED = ("resample", "do_rescale", "rescale_factor", "do_normalize", "image_mean", "image_std")
_LEAST, _MOST = 1e-6, 1e6
"""No published factor, mean or deviation comes near these; beyond them float32 overflows or loses everything."""

MOST_SIDE = 8192
"""Longest side of a model's square, pixels."""


@dataclass(frozen=True)
class Preparation:
    """How a picture is put into the square of a segmenter.

    Attributes:
        side: of the square, pixels.
        is_stretched: the picture fills the square, whatever its shape (SAM 2). Otherwise its longer edge does, and
            zeros lie below it or to its right (SAM).
        resample: filter of the resizing; see `groundling.processing.resize`.
        arithmetic: what happens to a pixel's value.
    """

    side: int
    is_stretched: bool
    resample: int
    arithmetic: PixelArithmetic

    @classmethod
    def read(cls, location: Location, side: int, *, is_stretched: bool) -> Self:
        """Read a checkpoint's processor file; a checkpoint without gets the published settings.

        Args:
            location: the checkpoint.
            side: of the square that its model sees.
            is_stretched: see the attributes.

        Raises:
            CheckpointError: the file is damaged, or is that of another model.
            ConfigError: a value in it is not possible; the message names the file and the key.
        """
        filename, values = _image_settings(location)
        where = f"{filename} of {location.name!r}"
        _check_geometry(values, side, is_stretched=is_stretched, where=where)
        try:
            checked = constructor_settings({name: values[name] for name in _USED if name in values})
            factor = checked["rescale_factor"] if checked["do_rescale"] else None
            mean, std = (checked[name] if checked["do_normalize"] else None for name in ("image_mean", "image_std"))
            check_factors(
                factor if checked["do_rescale"] else 1.0,
                mean if checked["do_normalize"] else (),
                std if checked["do_normalize"] else (),
            )
            if checked["do_rescale"]:
                _check_numbers("rescale_factor", (factor,), 1, _LEAST)
            if checked["do_normalize"]:
                _check_numbers("image_mean", mean, 3, -_MOST)
                _check_numbers("image_std", std, 3, _LEAST)
            if checked["resample"] not in range(4):
                raise ConfigError(f"resample={checked['resample']!r} is no filter. Use 2 (bilinear).")
        except (ConfigError, OverflowError) as error:  # JSON may hold a whole number beyond every float
            raise ConfigError(f"{where}: {error}") from error
        return cls(side, is_stretched, checked["resample"], PixelArithmetic(factor, mean, std))

    def inner_hw(self, image_wh: tuple[int, int]) -> tuple[int, int]:
        """Return height and width of a picture inside the square, at least one pixel."""
        if self.is_stretched:
            return self.side, self.side
        scale = self.side / max(image_wh)
        width, height = (max(int(edge * scale + 0.5), 1) for edge in image_wh)
        return height, width

    def pixels(self, pictures: Sequence[NDArray[np.uint8]]) -> Tensor:
        """Return pictures [H, W, 3] of any sizes as one batch [B, 3, S, S]."""
        resized = []
        for picture in pictures:
            image = torch.from_numpy(np.require(picture, requirements=["C", "W"])).permute(2, 0, 1)
            resized.append(resize(image, self.inner_hw((image.shape[2], image.shape[1])), self.resample))
        return batch_pixels(resized, self.arithmetic, (self.side, self.side))

    def boxes(self, boxes_xyxy: NDArray[np.floating[Any]], image_wh: tuple[int, int]) -> Tensor:
        """Return boxes [N, 4] in pixels of the original as boxes in pixels of the square, float32 [N, 4]."""
        height, width = self.inner_hw(image_wh)
        scale = np.array([width / image_wh[0], height / image_wh[1]] * 2, np.float64)
        return torch.from_numpy((boxes_xyxy * scale).astype(np.float32))

    def restored(self, logits: Tensor, image_wh: tuple[int, int]) -> Tensor:
        """Return the masks' scores [N, h, w] of the square as scores [N, H, W] of the original."""
        width, height = image_wh
        scores = logits[None]
        if not self.is_stretched:
            inner_height, inner_width = self.inner_hw(image_wh)
            scores = _resized(scores, (self.side, self.side))[..., :inner_height, :inner_width]
        return _resized(scores, (height, width))[0]


def _resized(scores: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(scores, size, mode="bilinear", align_corners=False)


def _image_settings(location: Location) -> tuple[str, dict[str, Any]]:
    """Return the name of the file that says how pictures are prepared, and what it says."""
    path = location.find(PROCESSOR_FILE)
    if path is not None:
        values = read_json(path).get("image_processor")
        if isinstance(values, dict):
            return PROCESSOR_FILE, values
    path = location.find(IMAGE_PROCESSOR_FILE)
    return IMAGE_PROCESSOR_FILE, {} if path is None else read_json(path)


def _check_numbers(name: str, values: object, count: int, least: float) -> None:
    """Refuse what is not that many numbers in the range; NaN and infinity are in none."""
    given = tuple(values) if isinstance(values, tuple | list) else (values,)
    if len(given) != count or not all(is_number(value) and least <= value <= _MOST for value in given):
        what = "a number" if count == 1 else f"{count} numbers"
        shown = given[0] if len(given) == 1 else list(given)
        raise ConfigError(f"{name} must be {what} from {least:g} to {_MOST:g}, got {str(shown)[:80]}.")


def check_side(name: str, side: object) -> int:
    """Return the side of a square in pixels.

    Raises:
        ConfigError: it is no whole number from 1 to `MOST_SIDE`.
    """
    if not isinstance(side, int) or isinstance(side, bool) or not 1 <= side <= MOST_SIDE:
        raise ConfigError(f"{name} must be a whole number of pixels from 1 to {MOST_SIDE}, got {str(side)[:80]}.")
    return side


def _check_geometry(values: dict[str, Any], side: int, *, is_stretched: bool, where: str) -> None:
    """Refuse a size that the model cannot take: its positions belong to one square."""
    square = {"height": side, "width": side}
    needed = {"size": square} if is_stretched else {"size": {"longest_edge": side}, "pad_size": square}
    for name, expected in needed.items():
        given = values.get(name)
        if isinstance(given, dict):
            given = {key: value for key, value in given.items() if value is not None}
            for key, value in given.items():
                check_side(f"{where}: {name}.{key}", value)
        if given is not None and given != expected:
            raise CheckpointError(
                f"{where} has {name}={given}, but the model of this checkpoint needs {expected}. Use the checkpoint's "
                "own file, or delete it for the published settings."
            )
    for name in ("do_resize",) if is_stretched else ("do_resize", "do_pad"):
        if values.get(name) is False:
            raise CheckpointError(f"{where} has {name}=false, but the model sees only squares of {side} pixels.")
