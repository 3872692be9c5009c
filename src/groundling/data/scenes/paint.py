"""Pixels of a scene: where a thing is, how it is filled, what is behind it, and what a camera does to all of it."""

import io
import math
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from groundling.data.scenes.outlines import HOLES, outline_of
from groundling.data.scenes.things import COLORS, Thing

Pixels = NDArray[np.float32]
"""Colours by channel, [3, H, W] in 0..255: numpy is slow along a last axis of three."""
Share = NDArray[np.float32]
Window = tuple[slice, slice]
"""Rows and columns of a part of the picture."""

SMOOTH = 3
"""Outlines are drawn so many times larger and then averaged."""

LARGEST_TURN = 0.45
"""Radians. A square that is turned further looks like a diamond."""


@dataclass(frozen=True, slots=True, eq=False)
class Cover:
    """Which pixels a thing covers.

    Attributes:
        part: the window [h, w] of the picture outside of which it covers nothing; at least one pixel.
        share: how much of each pixel there it covers, 0..1.
        solid: of which pixels there it covers more than half.
    """

    part: Window
    share: Share
    solid: NDArray[np.bool_]


def cover(thing: Thing, size: int) -> Cover:
    """Return which pixels a thing covers in a picture of `size` x `size` pixels."""
    turn = np.array([[math.cos(thing.angle), math.sin(thing.angle)], [-math.sin(thing.angle), math.cos(thing.angle)]])
    outline = (outline_of(thing.shape) * [thing.squeeze, 1.0]) @ turn * thing.radius
    left, top = _pixel(outline.min(axis=0) + thing.center, size)
    right, bottom = _pixel(outline.max(axis=0) + thing.center, size)
    canvas = Image.new("L", (size * SMOOTH, size * SMOOTH))
    draw = ImageDraw.Draw(canvas)
    for scale, fill in ((1.0, 255), (HOLES.get(thing.shape, 0.0), 0)):
        if scale:
            corners = (outline * scale + thing.center) * SMOOTH
            draw.polygon([(x, y) for x, y in corners.tolist()], fill=fill)
    drawn = (left * SMOOTH, top * SMOOTH, (right + 1) * SMOOTH, (bottom + 1) * SMOOTH)
    share = _share(canvas.resize((right + 1 - left, bottom + 1 - top), Image.Resampling.BOX, box=drawn))
    return Cover((slice(top, bottom + 1), slice(left, right + 1)), share, share > 0.5)


def _pixel(point: NDArray[np.float64], size: int) -> tuple[int, int]:
    """Return the pixel (x, y) in which a point lies, or the one at the picture's edge nearest to it."""
    x, y = (min(max(math.floor(place), 0), size - 1) for place in point.tolist())
    return x, y


def texture(kind: str, part: Window, scale: float, angle: float, phase: float) -> Share:
    """Return how much of the second shade each pixel of a window has, [h, w] in 0..1; 0 everywhere for "plain".

    Args:
        kind: one of TEXTURES.
        part: the window; a texture lies on the whole picture, a window shows its part of it.
        scale: length of one repetition in pixels.
        angle: direction in radians.
        phase: shift in repetitions.
    """
    rows, columns = part
    if kind == "plain":
        return np.zeros((rows.stop - rows.start, columns.stop - columns.start), np.float32)
    y = np.arange(rows.start, rows.stop, dtype=np.float32)[:, None]
    x = np.arange(columns.start, columns.stop, dtype=np.float32)
    u = 2 * math.pi * ((x * math.cos(angle) + y * math.sin(angle)) / scale + phase)
    if kind == "striped":
        waves = np.sin(u)
    else:
        v = 2 * math.pi * ((y * math.cos(angle) - x * math.sin(angle)) / scale + phase)
        waves = 2 * np.sin(u) * np.sin(v) if kind == "checkered" else 1.2 * (np.cos(u) + np.cos(v) - 0.6)
    return np.clip(waves * scale / 4 + 0.5, 0, 1)


def fill(thing: Thing, part: Window, rng: Generator) -> Pixels:
    """Return the colours of a thing at every pixel of a window, [3, h, w] in 0..255: two shades in its texture."""
    base = np.clip(np.array(COLORS[thing.color], np.float32) + rng.normal(0, 7, 3), 0, 255)
    is_dark = base.mean() < 90
    second = base + (255 - base) * 0.55 if is_dark else base * 0.45
    share = texture(thing.texture, part, thing.radius * rng.uniform(0.42, 0.6), rng.uniform(0, math.pi), rng.random())
    return _between(base, second, share)


def background(size: int, rng: Generator) -> Pixels:
    """Return one of several kinds of background, [3, size, size] in 0..255."""
    first, second = rng.uniform(20, 235, 3), rng.uniform(20, 235, 3)
    second = first + (second - first) * rng.uniform(0.1, 0.6)
    kind = rng.choice(["gradient", "noise", "pattern", "clutter"])
    if kind == "gradient":
        angle = rng.uniform(0, 2 * math.pi)
        along = np.arange(size) / size - 0.5
        share = np.clip(along * math.cos(angle) + along[:, None] * math.sin(angle) + 0.5, 0, 1).astype(np.float32)
    elif kind == "noise":
        coarse = Image.fromarray(rng.integers(0, 256, (rng.integers(3, 12),) * 2, dtype=np.uint8))
        share = _share(coarse.resize((size, size), Image.Resampling.BICUBIC))
    elif kind == "pattern":
        wave = str(rng.choice(["striped", "dotted", "checkered"]))
        whole = (slice(0, size), slice(0, size))
        share = texture(wave, whole, rng.uniform(0.05, 0.2) * size, rng.uniform(0, math.pi), rng.random()) * 0.6
    else:
        share = _clutter(size, rng)
    return _between(first, second, share)


def _between(first: NDArray[np.float64], second: NDArray[np.float64], share: Share) -> Pixels:
    """Mix two colours [3] by the share [h, w] of the second."""
    pixels = np.empty((3, *share.shape), np.float32)
    for channel, start, step in zip(pixels, first, second - first, strict=True):
        channel[...] = start + step * share
    return pixels


def _clutter(size: int, rng: Generator) -> Share:
    """Return strokes that are no shape of the vocabulary."""
    canvas = Image.new("L", (size, size))
    draw = ImageDraw.Draw(canvas)
    for _ in range(rng.integers(8, 30)):
        points = [(float(x), float(y)) for x, y in rng.uniform(-0.1, 1.1, (3, 2)) * size]
        draw.line(points, fill=int(rng.integers(60, 256)), width=int(rng.integers(1, 1 + max(2, size // 40))))
    return _share(canvas)


def _share(picture: Image.Image) -> Share:
    return np.asarray(picture, np.float32) / np.float32(255)


def photograph(pixels: Pixels, rng: Generator) -> Image.Image:
    """Turn pixels [3, size, size] in 0..255 into a picture, as a camera would: light, blur, noise, JPEG."""
    light, shift = rng.uniform(0.85, 1.1), rng.uniform(-8, 8)
    strength = rng.uniform(1, 8) if rng.random() < 0.5 else 0.0
    noise = rng.standard_normal((*pixels.shape[1:], len(pixels))) if strength else None
    channels = []
    for index, channel in enumerate(pixels):
        seen = channel * light + shift
        if noise is not None:
            seen = seen + noise[..., index] * strength
        channels.append(Image.fromarray(np.clip(seen, 0, 255).astype(np.uint8)))
    picture = Image.merge("RGB", channels)
    if rng.random() < 0.3:
        picture = picture.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 0.9)))
    if rng.random() < 0.5:
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=int(rng.integers(45, 95)))
        picture = Image.open(buffer, formats=["JPEG"]).convert("RGB")
    return picture
