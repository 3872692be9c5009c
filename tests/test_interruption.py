"""The first request to stop is noted, the second ends at once, and everything is afterwards as it was."""

import signal
import threading
from collections.abc import Iterator
from types import FrameType

import pytest

from groundling.interruption import Interruption

SIGNALS = [signal.SIGINT, signal.SIGTERM]


@pytest.fixture(autouse=True)
def received() -> Iterator[list[int]]:
    """Which signals reached the handlers that were there before."""
    numbers: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        numbers.append(number)

    before = {number: signal.signal(number, note) for number in SIGNALS}
    yield numbers
    for number, handler in before.items():
        signal.signal(number, handler)


def test_without_a_signal_nothing_is_requested(received: list[int]) -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    with Interruption() as interruption:
        assert not interruption.requested
    assert not interruption.requested
    assert [signal.getsignal(number) for number in SIGNALS] == before


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_signal_is_noted(number: signal.Signals, received: list[int]) -> None:
    with Interruption() as interruption:
        signal.raise_signal(number)
        assert interruption.requested
    assert received == []
    signal.raise_signal(number)
    assert received == [number]


@pytest.mark.parametrize("second", SIGNALS)
@pytest.mark.parametrize("first", SIGNALS)
def test_the_second_signal_ends_at_once(first: signal.Signals, second: signal.Signals, received: list[int]) -> None:
    def stop_twice() -> None:
        with Interruption():
            signal.raise_signal(first)
            signal.raise_signal(second)

    with pytest.raises(KeyboardInterrupt):
        stop_twice()
    signal.raise_signal(first)
    assert received == [first]


def test_after_an_error_the_handlers_are_back(received: list[int]) -> None:
    with pytest.raises(RuntimeError, match="broken"), Interruption():
        raise RuntimeError("broken")
    signal.raise_signal(signal.SIGINT)
    assert received == [signal.SIGINT]


def test_another_thread_leaves_the_handlers_alone() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    seen: list[object] = []

    def work() -> None:
        with Interruption() as interruption:
            seen.extend([interruption.requested, [signal.getsignal(number) for number in SIGNALS]])

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [False, before]


def test_a_handler_that_is_not_pythons_stays(monkeypatch: pytest.MonkeyPatch, received: list[int]) -> None:
    """A program that embeds Python may handle a signal itself; Python then says None and cannot put it back."""
    true = signal.getsignal
    set_for: list[int] = []
    monkeypatch.setattr(signal, "getsignal", lambda number: None if number == signal.SIGTERM else true(number))
    real = signal.signal

    def set_handler(number: int, handler: object) -> object:
        set_for.append(number)
        before = real(number, handler)  # type: ignore[arg-type]
        return None if number == signal.SIGTERM else before

    monkeypatch.setattr(signal, "signal", set_handler)
    with Interruption() as interruption:
        signal.raise_signal(signal.SIGTERM)
        assert not interruption.requested
        signal.raise_signal(signal.SIGINT)
        assert interruption.requested
    assert set_for == [signal.SIGINT, signal.SIGINT]
    assert received == [signal.SIGTERM]
