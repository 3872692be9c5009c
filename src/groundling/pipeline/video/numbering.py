"""Which number a frame has where others before it could not be decoded."""

from fractions import Fraction
from heapq import heappop, heappush


class Numbering:
    """Numbers frames so that those that were lost count, by the packets that frames come from.

    After damage a decoder drops frames without a word, up to the next one that needs no other. So from then on every
    packet whose time passes without a frame is a frame that was lost. Before, it is none: some packets hold nothing to
    show.

    Attributes:
        count: frames so far, with those that were lost.
        lost: frames that were lost.
    """

    def __init__(self) -> None:
        self.count = self.lost = 0
        self._is_damaged = False
        self._has_stamps = False
        self._waiting: list[Fraction] = []

    def expect(self, stamp: Fraction | None) -> None:
        """Take note of a packet before it is decoded, and of when its frame is to be shown, if the packet says so."""
        if stamp is not None:
            self._has_stamps = True
            heappush(self._waiting, stamp)

    def fail(self) -> None:
        """Take note that a packet cannot be decoded; threads may tell so with a later one."""
        self._is_damaged = True
        if not self._has_stamps:
            self._lose(1)

    def number(self, stamp: Fraction | None) -> int:
        """Return the number of the next frame, from 0.

        Args:
            stamp: when it is to be shown; None where that is not known.
        """
        passed: list[Fraction] = []
        while self._waiting and stamp is not None and self._waiting[0] <= stamp:
            passed.append(heappop(self._waiting))
        if passed:  # the last is the frame's own; it has two where each holds a field
            self._lose(sum(one < passed[-1] for one in passed))
        elif self._waiting:
            heappop(self._waiting)
        self.count += 1
        return self.count - 1

    def finish(self) -> None:
        """Take note that no frames come any more."""
        self._lose(len(self._waiting))
        self._waiting.clear()

    def _lose(self, count: int) -> None:
        if self._is_damaged:
            self.count += count
            self.lost += count
