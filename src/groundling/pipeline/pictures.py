"""From whatever a caller holds to one upright 8-bit RGB picture."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import torch
from numpy.typing import NDArray
from torch import Tensor

from groundling.errors import ImageError
from groundling.pictures.reading import SIXTEEN_BIT_STEP, open_picture, rgb_array, rgb_picture
from groundling.processing.images import array_tensor, picture_tensor

Picture = str | os.PathLike[str] | bytes | PIL.Image.Image | NDArray[Any] | Tensor

_TENSOR_TYPES = (
    torch.bool,
    torch.uint8,
    torch.int8,
    torch.uint16,
    torch.int16,
    torch.int32,
    torch.int64,
    torch.float16,
    torch.bfloat16,
    torch.float32,
    torch.float64,
)
_RANGE_TOLERANCE = 1e-3  # resizing with a sharp filter leaves 0..1 by as much


def read_picture(image: Picture, *, allow_url: bool = False) -> Tensor:
    """Return a picture as uint8 RGB [3, H, W] on the CPU; the same picture in any form gives the same tensor.

    It may share the memory of a caller's array or tensor, and its channels need not be planes of their own.

    Args:
        image: a path; an http(s) URL if that is allowed; the bytes of a picture file; a PIL image of any mode; a numpy
            array [H, W], [H, W, 1], [H, W, 3] or [H, W, 4]; a torch tensor [H, W] or [C, H, W]. Arrays and tensors
            hold 0..255 in integers, 0..65535 in uint16, 0..1 in floating numbers, or False and True. Photographs are
            turned upright by their EXIF orientation.
        allow_url: download a URL.

    Raises:
        ImageError: there is no such picture, or it is broken, empty or of another shape or range.
    """
    if isinstance(image, str | os.PathLike):
        return _from_pil(_open(os.fspath(image), allow_url))
    if isinstance(image, bytes):
        return _from_pil(open_picture(image))
    if isinstance(image, PIL.Image.Image):
        return _from_pil(rgb_picture(image, "The picture", warn=False))
    if not isinstance(image, np.ndarray | Tensor):
        raise ImageError(
            f"A picture cannot be a {type(image).__name__}. Give a path, a PIL image, a numpy array [H, W, 3] or a "
            "torch tensor [3, H, W]; for several pictures use detect_many."
        )
    if isinstance(image, Tensor):
        if image.layout is not torch.strided or image.is_meta or image.dtype not in _TENSOR_TYPES:
            raise ImageError(f"A picture cannot be a tensor of {image.dtype} ({image.layout}). Use torch.uint8.")
        return _from_array(image.detach().cpu(), is_numpy=False)
    if image.dtype.kind not in "buif" or image.dtype.itemsize > 8 or image.dtype in (np.uint32, np.uint64):
        raise ImageError(f"A picture cannot hold values of the type {image.dtype}. Use np.uint8.")
    return _from_array(array_tensor(image), is_numpy=True)


def _open(name: str, allow_url: bool) -> PIL.Image.Image:
    if not name.startswith(("http://", "https://")):
        try:
            return open_picture(Path(name).expanduser())
        except (OSError, RuntimeError) as error:  # a home that does not exist, a name that is too long
            raise ImageError(f"{name!r:.120} is not a path that can be read ({error!s:.120}).") from error
    if not allow_url:
        raise ImageError(f"{name!r} is a URL, and nothing is downloaded unasked. Use allow_url=True, or give a file.")
    return open_picture(name)


def _from_pil(image: PIL.Image.Image) -> Tensor:
    # a view on [H, W, 3], which is resized five times as fast as three planes
    return torch.from_numpy(rgb_array(image)).permute(2, 0, 1)


def _from_array(values: Tensor, *, is_numpy: bool) -> Tensor:
    layout = "channels_last" if is_numpy else "channels_first"
    expected = "a numpy array [H, W, C]" if is_numpy else "a torch tensor [C, H, W]"
    channels = 1 if values.ndim == 2 else values.shape[-1 if is_numpy else 0] if values.ndim == 3 else None
    if channels not in (1, 3, 4):
        raise ImageError(
            f"The picture has the shape {tuple(values.shape)}. Give {expected} with 1, 3 or 4 channels C, or [H, W]."
        )
    if values.numel() == 0:
        raise ImageError(f"The picture has no pixels: its shape is {tuple(values.shape)}.")
    return picture_tensor(_eight_bit(values), index=0, channels=layout)


def _eight_bit(values: Tensor) -> Tensor:
    if values.dtype == torch.uint8:
        return values
    if values.dtype == torch.bool:
        return values.to(torch.uint8) * 255
    if values.dtype == torch.uint16:
        return (values.to(torch.float32) / SIXTEEN_BIT_STEP).round().to(torch.uint8)
    if values.is_complex():
        raise ImageError(f"A picture cannot hold values of the type {values.dtype}. Use torch.uint8.")
    low, high = float(values.min()), float(values.max())
    top, tolerance = (1, _RANGE_TOLERANCE) if values.is_floating_point() else (255, 0)
    if not (-tolerance <= low and high <= top + tolerance):  # also NaN
        kind = "floating numbers" if values.is_floating_point() else "integers"
        raise ImageError(
            f"A picture of {kind} must hold 0 to {top}, but holds {low:g} to {high:g}. "
            "Undo a normalisation, or convert 0..255 with .astype(np.uint8) or .to(torch.uint8)."
        )
    return (values.to(torch.float32).clamp(0, top) * (255 / top)).round().to(torch.uint8)
