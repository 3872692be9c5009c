"""The documented pixel arithmetic, one step at a time and without sharing."""

import torch
import torch.nn.functional as F
from torch import Tensor

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


def resize(image_CHW: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear with antialiasing; every dtype but uint8 and the floats goes through float32."""
    if image_CHW.dtype in (torch.uint8, torch.float32, torch.float64):
        return F.interpolate(
            image_CHW.contiguous()[None], size=size, mode="bilinear", align_corners=False, antialias=True
        )[0]
    resized = F.interpolate(image_CHW.float()[None], size=size, mode="bilinear", align_corners=False, antialias=True)[0]
    if image_CHW.dtype in (torch.int8, torch.int16, torch.int32, torch.int64):
        resized = resized.round()
    return resized.to(image_CHW.dtype)


def normalise(image_CHW: Tensor, rescale_factor: float = 1 / 255) -> Tensor:
    """(x − mean · 255) / (std · 255), each product rounded to float32 before it is used."""
    channels = []
    for channel, mean, std in zip(image_CHW, MEAN, STD, strict=True):
        shift = torch.tensor(mean, dtype=torch.float32) * (1.0 / rescale_factor)
        scale = torch.tensor(std, dtype=torch.float32) * (1.0 / rescale_factor)
        channels.append((channel.float() - shift) / scale)
    return torch.stack(channels)


def pad(images: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Zeros on the right and at the bottom, and the mask of real pixels."""
    height, width = max(image.shape[1] for image in images), max(image.shape[2] for image in images)
    pixels, masks = [], []
    for image in images:
        missing = (0, width - image.shape[2], 0, height - image.shape[1])
        pixels.append(F.pad(image, missing))
        masks.append(F.pad(torch.ones(image.shape[1:], dtype=torch.int64), missing))
    return torch.stack(pixels), torch.stack(masks)
