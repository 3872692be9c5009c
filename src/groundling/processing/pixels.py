"""From resized pictures to the batch that the model reads: rescale, normalise, pad."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from groundling.errors import ConfigError, ImageError


class PixelArithmetic(NamedTuple):
    """What happens to a pixel value: x · rescale_factor, then (x − mean) / std; None skips a step."""

    rescale_factor: float | None
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None

    def shift_and_scale(self) -> tuple[Tensor, Tensor]:
        """Return m and s [C, 1, 1], float32, so that the result is (x − m) / s.

        Rescaling is folded into mean and std, in float32: the documented rounding.
        """
        mean, std = torch.tensor(self.mean, dtype=torch.float32), torch.tensor(self.std, dtype=torch.float32)
        if self.rescale_factor is not None:
            mean, std = mean * (1.0 / self.rescale_factor), std * (1.0 / self.rescale_factor)
        return mean[:, None, None], std[:, None, None]

    def dtype(self, image: Tensor) -> torch.dtype:
        """Return the dtype that an image has afterwards."""
        if self.mean is not None:
            return torch.float32
        return image.dtype if self.rescale_factor is None else torch.result_type(image, float(self.rescale_factor))

    def write(self, image: Tensor, out: Tensor) -> None:
        """Compute the pixels of `image` [C, H, W] into `out`, which has the same shape and the dtype of `dtype`."""
        if self.mean is None:
            out.copy_(image if self.rescale_factor is None else image * float(self.rescale_factor))
            return
        shift, scale = self.shift_and_scale()
        if shift.shape[0] not in (1, image.shape[0]):
            raise ImageError(
                f"The picture has {image.shape[0]} channels, but image_mean has {shift.shape[0]} values. "
                "Leave do_convert_rgb at its default to convert every picture to RGB."
            )
        out.copy_(image.contiguous()).sub_(shift.to(out.device)).div_(scale.to(out.device))


def batch_pixels(images: Sequence[Tensor], arithmetic: PixelArithmetic, size: tuple[int, int] | None) -> Tensor:
    """Compute a batch [B, C, H, W], each picture in the top left corner and zeros (after normalising) beside it.

    Args:
        images: pictures [C, h, w] with the same number of channels.
        arithmetic: what happens to each value.
        size: (H, W) of the batch; None when the pictures must have one size already.

    Raises:
        ImageError: a picture is larger than `size`, or they differ where they may not.
    """
    channels = images[0].shape[0]
    height, width = size or (images[0].shape[1], images[0].shape[2])
    dtype = arithmetic.dtype(images[0])
    for image in images[1:]:
        dtype = torch.promote_types(dtype, arithmetic.dtype(image))
    is_filled = all(image.shape[1:] == (height, width) for image in images)
    allocate = torch.empty if is_filled else torch.zeros
    batch = allocate((len(images), channels, height, width), dtype=dtype, device=images[0].device)
    for index, image in enumerate(images):
        own_height, own_width = image.shape[1:]
        if image.shape[0] != channels:
            raise ImageError(f"Picture {index} has {image.shape[0]} channels and picture 0 has {channels}.")
        if size is None and (own_height, own_width) != (height, width):
            raise ImageError(
                f"Picture {index} is {own_height}x{own_width} and picture 0 is {height}x{width} after resizing, so "
                "they do not fit in one batch. Use do_pad=True."
            )
        if own_height > height or own_width > width:
            raise ImageError(
                f"Padding dimensions are negative: picture {index} is {own_height}x{own_width} after resizing, but the "
                f"padded size is {height}x{width}. Make the padded size at least as large as the pictures."
            )
        arithmetic.write(image, batch[index, :, :own_height, :own_width])
    return batch


def batch_mask(images: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
    """Return int64 [B, H, W], 1 on real pixels and 0 on padding."""
    mask = torch.zeros((len(images), *size), dtype=torch.int64, device=images[0].device)
    for index, image in enumerate(images):
        mask[index, : image.shape[1], : image.shape[2]] = 1
    return mask


def check_factors(rescale_factor: object, mean: object, std: object) -> None:
    """Raise ConfigError when a step is switched on without its numbers."""
    if rescale_factor is None:
        raise ConfigError("do_rescale=True needs a rescale_factor, such as 1/255.")
    if mean is None or std is None:
        raise ConfigError("do_normalize=True needs image_mean and image_std, one number a channel.")
