"""From whatever a caller holds to a list of pictures as tensors [C, H, W]."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from groundling.errors import ConfigError, ImageError
from groundling.pictures.reading import open_picture, rgb_array, rgb_picture

logger = logging.getLogger(__name__)

Picture = Image.Image | np.ndarray | Tensor | str | Path | bytes
_CHANNEL_COUNTS = (1, 3, 4)
_CHANNELS_FIRST, _CHANNELS_LAST = "channels_first", "channels_last"


def picture_list(images: Any) -> list[Picture]:
    """Flatten one picture, a list of them in any nesting, or a 4-D array into a list of single pictures.

    Raises:
        ImageError: there is no picture at all.
        TypeError: something in it is no picture.
    """
    pictures = list(_flattened(images, "images"))
    if not pictures:
        raise ImageError("images holds no picture. Give at least one.")
    return pictures


def _flattened(images: Any, place: str) -> list[Picture]:
    if isinstance(images, list | tuple):
        return [picture for index, part in enumerate(images) for picture in _flattened(part, f"{place}[{index}]")]
    if isinstance(images, np.ndarray | Tensor) and images.ndim == 4:
        return list(images)
    if isinstance(images, Image.Image | np.ndarray | Tensor | str | Path | bytes):
        return [images]
    if images is None:
        raise TypeError(f"{place} is None, not a picture. OpenCV's imread returns None for a file it cannot read.")
    raise TypeError(
        f"{place} is of type {type(images).__name__}. Give a PIL image, a numpy array, a torch tensor, a path, a URL, "
        "base64 text, or a list of these."
    )


def picture_tensor(
    picture: Picture, *, index: int, convert_rgb: bool = True, channels: str | None = None, white: float = 255.0
) -> Tensor:
    """Return a picture as a tensor [C, H, W] of the dtype it has; the caller's data is shared, not changed.

    Args:
        picture: one picture, as in `picture_list`.
        index: its place in the batch, for messages.
        convert_rgb: make three channels: grey is repeated, transparency is laid on white. False keeps the channels
            that the picture has (for a palette: the indices).
        channels: "channels_first" or "channels_last" for arrays; None looks for an axis of 1, 3 or 4.
        white: the value of white in floating arrays, under transparent pixels.

    Raises:
        ImageError: the picture is broken, has no pixels, holds NaN or infinity, or is no picture by its shape or dtype.
    """
    name = f"picture {index}"
    if isinstance(picture, str | Path | bytes):
        picture = open_picture(picture)
    if isinstance(picture, Image.Image):
        array = rgb_array(rgb_picture(picture, name)) if convert_rgb else np.array(picture)
        return torch.from_numpy(array if array.ndim == 3 else array[:, :, None]).permute(2, 0, 1)
    if isinstance(picture, np.ndarray):
        if picture.dtype.kind not in "buif" or picture.dtype.itemsize > 8:
            raise ImageError(f"{name} is an array of {picture.dtype}. Give 8-bit integers 0..255 or floating numbers.")
        picture = array_tensor(picture)
    tensor = _channels_first(_checked(picture, name), name, channels)
    return _three_channels(tensor, white) if convert_rgb else tensor


def array_tensor(array: NDArray[Any]) -> Tensor:
    """Return an array of numbers as a tensor that shares its memory, or has a copy where torch cannot read that."""
    array = np.require(array, array.dtype.newbyteorder("="), ["C_CONTIGUOUS", "WRITEABLE", "ENSUREARRAY"])
    is_turned = any(stride < 0 for stride in array.strides)  # an axis of one element may be, in a contiguous array too
    return torch.from_numpy(array.copy() if is_turned else array)


def _checked(tensor: Tensor, name: str) -> Tensor:
    if tensor.is_complex():
        raise ImageError(f"{name} is a tensor of {tensor.dtype}. Give 8-bit integers 0..255 or floating numbers.")
    if tensor.ndim not in (2, 3):
        raise ImageError(
            f"{name} has the shape {tuple(tensor.shape)}. Give [H, W], [H, W, C] or [C, H, W], or a batch of four axes."
        )
    if tensor.numel() == 0:
        raise ImageError(f"{name} has no pixels: its shape is {tuple(tensor.shape)}.")
    if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
        raise ImageError(f"{name} holds values that are not finite numbers (NaN or infinity).")
    return tensor


def _channels_first(tensor: Tensor, name: str, channels: str | None) -> Tensor:
    if channels not in (None, _CHANNELS_FIRST, _CHANNELS_LAST):
        raise ConfigError(
            f"input_data_format={channels!r} is not known. Use {_CHANNELS_FIRST!r}, {_CHANNELS_LAST!r} or None."
        )
    if tensor.ndim == 2:
        return tensor[None]
    if channels is None:
        is_first, is_last = (tensor.shape[axis] in _CHANNEL_COUNTS for axis in (0, -1))
        if not is_first and not is_last:
            raise ImageError(
                f"{name} has the shape {tuple(tensor.shape)}, in which no channel axis of 1, 3 or 4 can be found. "
                "Give [H, W, C] or [C, H, W], and input_data_format where C is another number."
            )
        if is_first and is_last:
            logger.warning("%s has the shape %s; its first axis is taken as channels.", name, tuple(tensor.shape))
        channels = _CHANNELS_FIRST if is_first else _CHANNELS_LAST
    return tensor if channels == _CHANNELS_FIRST else tensor.permute(2, 0, 1)


def _three_channels(tensor: Tensor, white: float) -> Tensor:
    if tensor.shape[0] == 1:
        return tensor.expand(3, -1, -1)
    if tensor.shape[0] != 4:
        return tensor
    if tensor.is_floating_point():
        opaque = tensor[3:] / white
        return tensor[:3] * opaque + white * (1 - opaque)
    opaque = tensor[3:].float() / 255.0
    return (tensor[:3].float() * opaque + 255.0 * (1 - opaque)).round().to(tensor.dtype)


def channel_format(value: object) -> str | None:
    """Return the text of an `input_data_format`, which may be an enumeration's member."""
    value = getattr(value, "value", value)
    if value is not None and not isinstance(value, str):
        raise ConfigError(f"input_data_format={value!r} is not known. Use {_CHANNELS_FIRST!r} or {_CHANNELS_LAST!r}.")
    return None if value == "none" else value
