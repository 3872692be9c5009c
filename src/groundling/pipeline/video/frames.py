"""What every source of video gives: frames with their number and time."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

USUAL_FPS = 30.0
"""Frames a second where a source does not say."""

SMALLEST_STEP = 0.001
"""Seconds between two frames of which the source says that they come at the same time."""

NEW_CLOCK = 1.0
"""A time stamp that is so many seconds before the last is one of another clock: a stream began again, or is joined."""


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One picture of a video.

    Attributes:
        index: its number in the source, from 0; frames that could not be read or that a live source dropped count.
        seconds: when it is shown; the first frame that could be read is at 0. Later frames have greater values.
        image: upright RGB, uint8 [H, W, 3].
    """

    index: int
    seconds: float
    image: NDArray[np.uint8]


class Source(ABC):
    """Frames in the order of their time, once.

    Attributes:
        name: what the user called it.
        fps: mean number of frames a second.
        frame_count: how many frames there are, as far as the source knows; None where nobody knows.
    """

    name: str
    fps: float
    frame_count: int | None = None

    @abstractmethod
    def __iter__(self) -> Iterator[Frame]: ...

    @abstractmethod
    def close(self) -> None:
        """Let go of files and devices; closing twice does no harm."""


class Clock:
    """Turns a stream's time stamps into seconds from the first frame that only grow.

    Args:
        fps: how far frames without a time stamp are apart.
    """

    def __init__(self, fps: float) -> None:
        self._step = 1 / fps
        self._last: float | None = None
        self._zero: Fraction | None = None

    def seconds(self, stamp: Fraction | None) -> float:
        """Return the time of the next frame.

        Args:
            stamp: seconds on the stream's own clock; None where the stream does not say. Where that clock is put back
                by more than NEW_CLOCK, times go on from the last frame.
        """
        now = 0.0 if self._last is None else self._last + self._step
        if stamp is not None:
            if self._zero is None:
                self._zero = stamp - Fraction(now)
            if self._last is not None and float(stamp - self._zero) < self._last - NEW_CLOCK:
                self._zero = stamp - Fraction(now)
            now = float(stamp - self._zero)
        if self._last is not None and now <= self._last:
            now = self._last + SMALLEST_STEP
        self._last = now
        return now
