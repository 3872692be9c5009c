"""Brightness, contrast, saturation and hue of a picture, changed at random."""

from numpy.random import Generator
from PIL import Image, ImageEnhance

from groundling.data.augment.settings import AugmentSettings

_HUES = 256


def jitter(picture: Image.Image, settings: AugmentSettings, rng: Generator) -> Image.Image:
    """Change an RGB picture's colours, in random order; the picture itself where the settings change none."""
    changes = (
        (ImageEnhance.Brightness, settings.brightness),
        (ImageEnhance.Contrast, settings.contrast),
        (ImageEnhance.Color, settings.saturation),
        (None, settings.hue),
    )
    for place in rng.permutation(len(changes)):
        enhance, most = changes[place]
        if most == 0:
            continue
        change = rng.uniform(-most, most)
        picture = _turned(picture, change) if enhance is None else enhance(picture).enhance(1 + change)
    return picture


def _turned(picture: Image.Image, turn: float) -> Image.Image:
    """Turn the hues by a part of the colour circle."""
    hue, saturation, value = picture.convert("HSV").split()
    hue = hue.point([(place + round(turn * _HUES)) % _HUES for place in range(_HUES)])
    return Image.merge("HSV", (hue, saturation, value)).convert("RGB")
