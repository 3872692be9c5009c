"""Ctrl-C and a scheduler's request to end do not cut long work in the middle of a step."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """While it is open, the first SIGINT or SIGTERM is noted and the second raises KeyboardInterrupt at once.

    Outside the main thread, where Python delivers no signals, it notes nothing. A signal that is handled by something
    other than Python stays with it, for that could not be put back.

    Attributes:
        requested: True once somebody has asked to stop.
    """

    def __init__(self) -> None:
        self.requested = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            ours = [number for number in _SIGNALS if signal.getsignal(number) is not None]
            self._before = {number: signal.signal(number, self._note) for number in ours}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
