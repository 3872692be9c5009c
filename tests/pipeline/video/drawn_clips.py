"""Clips of drawn things that move along known paths, and small clips that hold nothing to find."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from groundling.data.scenes.paint import background, cover, fill
from groundling.data.scenes.things import Thing

TICKS = 90_000
Place = Callable[[float], tuple[float, float] | None]
"""From a time in seconds to a centre in pixels; None while the thing is not there."""


@dataclass(frozen=True)
class Mover:
    name: str
    place: Place
    radius: float = 34.0

    def at(self, seconds: float) -> Thing | None:
        center = self.place(seconds)
        if center is None:
            return None
        color, shape = self.name.split()
        return Thing(shape, color, "plain", "large", center, self.radius, angle=0.1, squeeze=1.0)


def draw(movers: Sequence[Mover], times: Iterable[float], size: int = 224) -> list[NDArray[np.uint8]]:
    """Frames [size, size, 3] at some times."""
    empty = background(size, np.random.default_rng(5))
    frames = []
    for seconds in times:
        pixels = empty.copy()
        for number, mover in enumerate(movers):
            thing = mover.at(seconds)
            if thing is not None:
                its = cover(thing, size)
                under = pixels[:, *its.part]
                under += (fill(thing, its.part, np.random.default_rng(number)) - under) * its.share
        frames.append(np.ascontiguousarray(pixels.transpose(1, 2, 0).round().astype(np.uint8)))
    return frames


def box_of(mover: Mover, seconds: float, size: int = 224) -> NDArray[np.float32]:
    """The tight box of what can be seen of a thing that nothing covers."""
    thing = mover.at(seconds)
    assert thing is not None
    its = cover(replace(thing), size)
    rows, columns = np.flatnonzero(its.solid.any(axis=1)), np.flatnonzero(its.solid.any(axis=0))
    top, left = its.part[0].start, its.part[1].start
    return np.array([left + columns[0], top + rows[0], left + columns[-1] + 1, top + rows[-1] + 1], np.float32)


def write_clip(
    path: Path,
    frames: Sequence[NDArray[np.uint8]],
    *,
    times: Sequence[float] | None = None,
    turn: int | None = None,
    **options: str,
) -> Path:
    """Write frames [H, W, 3] (even sides) at some times, 25 a second if None; `turn` is how a player must turn them."""
    height, width = frames[0].shape[:2]
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "12", "preset": "ultrafast", "g": "12"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.time_base = Fraction(1, TICKS)
        if turn is not None:
            stream.set_display_rotation(turn)
        for number, image in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            seconds = number / 25 if times is None else times[number]
            frame.pts, frame.time_base = round(seconds * TICKS), Fraction(1, TICKS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def shades(count: int, height: int = 48, width: int = 64) -> list[NDArray[np.uint8]]:
    """Frames that can be told apart: number n has the grey value 6 n (modulo 240), and its left upper part is white."""
    frames = []
    for number in range(count):
        image = np.full((height, width, 3), 6 * number % 240, np.uint8)
        image[: height // 2, : width // 4] = 255
        frames.append(image)
    return frames


STAR = Mover("red star", lambda t: (50 + 60 * t, 60.0))
CIRCLE = Mover("blue circle", lambda t: (60 + 20 * t, 185 - 15 * t))
