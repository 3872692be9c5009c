"""Pixels of a scene: where a thing is, how it is filled, what is behind it, and what a camera does to all of it."""

import io
import math

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from groundling.data.scenes.outlines import HOLES, OUTLINES
from groundling.data.scenes.things import COLORS, Thing

Pixels = NDArray[np.float32]
Cover = NDArray[np.float32]

SMOOTH = 3
"""Outlines are drawn so many times larger and then averaged."""

LARGEST_TURN = 0.45
"""Radians. A square that is turned further looks like a diamond."""


def cover(thing: Thing, size: int) -> Cover:
    """Return how much of each pixel a thing covers, [size, size] in 0..1."""
    turn = np.array([[math.cos(thing.angle), math.sin(thing.angle)], [-math.sin(thing.angle), math.cos(thing.angle)]])
    outline = (OUTLINES[thing.shape]() * [thing.squeeze, 1.0]) @ turn * thing.radius
    canvas = Image.new("L", (size * SMOOTH, size * SMOOTH))
    draw = ImageDraw.Draw(canvas)
    for scale, fill in ((1.0, 255), (HOLES.get(thing.shape, 0.0), 0)):
        if scale:
            corners = (outline * scale + thing.center) * SMOOTH
            draw.polygon([(float(x), float(y)) for x, y in corners], fill=fill)
    return _share(canvas.resize((size, size), Image.Resampling.BOX))


def texture(kind: str, size: int, scale: float, angle: float, phase: float) -> Pixels:
    """Return how much of the second shade each pixel has, [size, size] in 0..1; 0 everywhere for "plain".

    Args:
        kind: one of TEXTURES.
        size: side of the picture in pixels.
        scale: length of one repetition in pixels.
        angle: direction in radians.
        phase: shift in repetitions.
    """
    if kind == "plain":
        return np.zeros((size, size), np.float32)
    y, x = np.mgrid[0:size, 0:size].astype(np.float32)
    u = 2 * math.pi * ((x * math.cos(angle) + y * math.sin(angle)) / scale + phase)
    v = 2 * math.pi * ((y * math.cos(angle) - x * math.sin(angle)) / scale + phase)
    waves = {
        "striped": np.sin(u),
        "checkered": 2 * np.sin(u) * np.sin(v),
        "dotted": 1.2 * (np.cos(u) + np.cos(v) - 0.6),
    }
    share: Pixels = np.clip(waves[kind] * scale / 4 + 0.5, 0, 1).astype(np.float32)
    return share


def fill(thing: Thing, size: int, rng: Generator) -> Pixels:
    """Return the colours of a thing at every pixel, [size, size, 3] in 0..255: two shades in its texture."""
    base = np.clip(np.array(COLORS[thing.color], np.float32) + rng.normal(0, 7, 3), 0, 255)
    is_dark = base.mean() < 90
    second = base + (255 - base) * 0.55 if is_dark else base * 0.45
    share = texture(thing.texture, size, thing.radius * rng.uniform(0.42, 0.6), rng.uniform(0, math.pi), rng.random())
    pixels: Pixels = (base + (second - base) * share[..., None]).astype(np.float32)
    return pixels


def background(size: int, rng: Generator) -> Pixels:
    """Return one of several kinds of background, [size, size, 3] in 0..255."""
    first, second = rng.uniform(20, 235, 3), rng.uniform(20, 235, 3)
    second = first + (second - first) * rng.uniform(0.1, 0.6)
    kind = rng.choice(["gradient", "noise", "pattern", "clutter"])
    if kind == "gradient":
        angle = rng.uniform(0, 2 * math.pi)
        y, x = np.mgrid[0:size, 0:size] / size - 0.5
        share = np.clip(x * math.cos(angle) + y * math.sin(angle) + 0.5, 0, 1).astype(np.float32)
    elif kind == "noise":
        coarse = Image.fromarray(rng.integers(0, 256, (rng.integers(3, 12),) * 2, dtype=np.uint8))
        share = _share(coarse.resize((size, size), Image.Resampling.BICUBIC))
    elif kind == "pattern":
        wave = str(rng.choice(["striped", "dotted", "checkered"]))
        share = texture(wave, size, rng.uniform(0.05, 0.2) * size, rng.uniform(0, math.pi), rng.random()) * 0.6
    else:
        share = _clutter(size, rng)
    pixels: Pixels = (first + (second - first) * share[..., None]).astype(np.float32)
    return pixels


def _clutter(size: int, rng: Generator) -> Pixels:
    """Return strokes that are no shape of the vocabulary."""
    canvas = Image.new("L", (size, size))
    draw = ImageDraw.Draw(canvas)
    for _ in range(rng.integers(8, 30)):
        points = [(float(x), float(y)) for x, y in rng.uniform(-0.1, 1.1, (3, 2)) * size]
        draw.line(points, fill=int(rng.integers(60, 256)), width=int(rng.integers(1, 1 + max(2, size // 40))))
    return _share(canvas)


def _share(picture: Image.Image) -> Pixels:
    return (np.asarray(picture, np.float32) / 255).astype(np.float32)


def photograph(pixels: Pixels, rng: Generator) -> Image.Image:
    """Turn pixels [size, size, 3] in 0..255 into a picture, as a camera would: light, blur, noise, JPEG."""
    light = pixels * rng.uniform(0.85, 1.1) + rng.uniform(-8, 8)
    if rng.random() < 0.5:
        light = light + rng.normal(0, rng.uniform(1, 8), pixels.shape)
    picture = Image.fromarray(np.clip(light, 0, 255).astype(np.uint8))
    if rng.random() < 0.3:
        picture = picture.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 0.9)))
    if rng.random() < 0.5:
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=int(rng.integers(45, 95)))
        picture = Image.open(buffer).convert("RGB")
    return picture
