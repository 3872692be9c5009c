"""Sources that do not wait: cameras and streams, of which the newest frame counts."""

import logging
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from threading import Condition, Thread
from typing import Any

import numpy as np

from groundling.errors import ImageError
from groundling.pipeline.video.frames import USUAL_FPS, Clock, Frame, Source

logger = logging.getLogger(__name__)

CLOSING_SECONDS = 1.0


class Camera(Source):
    """Reads a camera of this computer by OpenCV; a frame's time is when it was read.

    Args:
        index: which camera, from 0.
        open_device: opens it, as `cv2.VideoCapture` does, which is used if None.

    Raises:
        ImageError: there is no such camera, or it cannot be used.
    """

    def __init__(self, index: int, open_device: Callable[[int], Any] | None = None) -> None:
        self.name = f"camera {index}"
        self._is_closed = False
        self._device: Any = (open_device or _open_quietly)(index)
        if not self._device.isOpened():
            raise ImageError(
                f"There is no camera {index}, or another program uses it, or you may not. The first camera is 0."
            )
        rate = float(self._device.get(_RATE))
        self.fps = rate if 0 < rate < 1000 else USUAL_FPS  # drivers that do not know say 0, NaN or nonsense

    def __iter__(self) -> Iterator[Frame]:
        clock, index = Clock(self.fps), 0
        while True:
            is_there, picture = self._device.read()
            if not is_there:
                if not self._is_closed:
                    logger.warning("%s gives no more pictures after %d; is it still plugged in?", self.name, index)
                return
            now = clock.seconds(Fraction(time.monotonic()))
            yield Frame(index, now, np.ascontiguousarray(picture[:, :, ::-1]))
            index += 1

    def close(self) -> None:
        """Let other programs use the camera."""
        self._is_closed = True
        self._device.release()


_RATE = 5  # cv2.CAP_PROP_FPS


def _open_quietly(index: int) -> Any:
    """Open a camera without OpenCV's ten lines about one that is not there; our error says it in one."""
    import cv2

    log = cv2.utils.logging
    level = log.setLogLevel(log.LOG_LEVEL_SILENT)
    try:
        return cv2.VideoCapture(index)
    finally:
        log.setLogLevel(level)


class Newest(Source):
    """Reads a live source in a thread of its own and gives the frame that came last.

    Frames that come while nobody asks are dropped, so that what is given is never late; a frame's index tells how many.

    Args:
        source: the live source; it is closed with this one.
    """

    def __init__(self, source: Source) -> None:
        self.name, self.fps = source.name, source.fps
        self._source = source
        self._condition = Condition()
        self._newest: Frame | None = None
        self._has_ended = False
        self._is_closed = False
        self._error: Exception | None = None
        self._thread: Thread | None = None

    def __iter__(self) -> Iterator[Frame]:
        self._thread = Thread(target=self._read, name=f"frames of {self.name}", daemon=True)
        self._thread.start()
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._newest is not None or self._has_ended)
                frame, self._newest = self._newest, None
            if frame is not None:
                yield frame
            elif self._error is not None:
                raise self._error
            else:
                return

    def _read(self) -> None:
        try:
            for frame in self._source:
                with self._condition:
                    if self._is_closed:
                        return
                    self._newest = frame
                    self._condition.notify()
        except Exception as error:  # it is raised where the frames are asked for
            self._error = error
        finally:
            self._source.close()
            with self._condition:
                self._has_ended = True
                self._condition.notify()

    def close(self) -> None:
        """Stop reading; a source that hangs is left to its thread, which ends with the program."""
        with self._condition:
            self._is_closed = True
        if self._thread is None:
            self._source.close()
        else:
            self._thread.join(CLOSING_SECONDS)
