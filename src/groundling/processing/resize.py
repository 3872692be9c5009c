"""Resizing with antialiasing, in the arithmetic of the documented tensor backend."""

import platform

import torch
import torch.nn.functional as F
from torch import Tensor

from groundling.errors import ConfigError

# values of PIL.Image.Resampling
NEAREST, LANCZOS, BILINEAR, BICUBIC = 0, 1, 2, 3
_MODES = {NEAREST: "nearest-exact", LANCZOS: "lanczos", BILINEAR: "bilinear", BICUBIC: "bicubic"}
_ROUNDED = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


def has_native_uint8_kernel() -> bool:
    """Say whether this CPU has torch's fixed-point kernel for 8-bit pictures, which differs by one grey level."""
    capability = torch.backends.cpu.get_cpu_capability()
    return "AVX2" in capability or "AVX512" in capability or platform.machine().lower() in ("aarch64", "arm64")


def resize(image: Tensor, size: tuple[int, int], resample: int = BILINEAR) -> Tensor:
    """Resize one picture.

    Args:
        image: [C, H, W] of any real dtype; the result has the same dtype.
        size: (height, width) of the result.
        resample: 0 nearest, 1 Lanczos, 2 bilinear, 3 bicubic.

    Raises:
        ConfigError: the filter does not exist, or this version of torch does not have it.
    """
    if resample not in _MODES:
        raise ConfigError(f"resample={resample!r} is not supported. Use 0 nearest, 1 Lanczos, 2 bilinear or 3 bicubic.")
    if tuple(image.shape[-2:]) == size:
        return image
    if image.dtype in (torch.float32, torch.float64):
        return _interpolate(image, size, resample)
    is_native = image.dtype == torch.uint8 and image.device.type == "cpu" and resample in (BILINEAR, BICUBIC)
    if is_native and has_native_uint8_kernel():
        return _interpolate(image, size, resample)
    resized = _interpolate(image.float(), size, resample)
    if image.dtype == torch.uint8 and resample in (BICUBIC, LANCZOS):
        resized = resized.clamp_(0, 255)  # these two filters overshoot at edges
    if image.dtype in _ROUNDED:
        resized = resized.round_()
    return resized.to(image.dtype)


def resize_masks(masks: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize object masks [N, H, W] of any dtype to bool [N, *size], each pixel from its nearest one."""
    if masks.shape[0] == 0:
        return masks.new_zeros((0, *size), dtype=torch.bool)
    return F.interpolate(masks[None].float(), size=size, mode="nearest-exact")[0] > 0.5


def _interpolate(image: Tensor, size: tuple[int, int], resample: int) -> Tensor:
    # the same view as image[None], with strides by which torch sees that the channels of a decoded picture lie together
    batch = image.permute(1, 2, 0)[None].permute(0, 3, 1, 2)
    if resample == NEAREST:
        return F.interpolate(batch, size=size, mode="nearest-exact")[0]
    try:
        return F.interpolate(batch, size=size, mode=_MODES[resample], align_corners=False, antialias=True)[0]
    except (NotImplementedError, ValueError) as error:
        raise ConfigError(
            f"torch {torch.__version__} cannot resize with resample={resample}. Use resample=2 (bilinear) or 3."
        ) from error
