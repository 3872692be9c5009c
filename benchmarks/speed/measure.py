"""Alternating rounds: each contender once a round, in an order that rotates."""

import gc
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch

Item = TypeVar("Item")

SHORTEST_SECONDS = 0.2
"""What takes less is repeated within a round, so that the clock and a wake-up of the machine do not matter."""

MOST_REPEATS = 1000


@dataclass
class Timing:
    """The times of one contender.

    Attributes:
        first: seconds of the first run, with everything that is made ready only once.
        seconds: seconds of one run, in each round.
        repeats: how many runs a round averages.
    """

    first: float
    seconds: list[float] = field(default_factory=list)
    repeats: int = 1


def synchronize(device: str) -> None:
    """Wait until the device has done all its work."""
    if device == "cuda":
        torch.cuda.synchronize()


def timed(run: Callable[[], Any], device: str, repeats: int = 1) -> tuple[float, Any]:
    """Return the seconds of one run, the mean of `repeats`, and the last result."""
    gc.collect()
    synchronize(device)
    start = time.perf_counter()
    for _ in range(repeats):
        result = run()
    synchronize(device)
    return (time.perf_counter() - start) / repeats, result


def warm_up(run: Callable[[], Any], device: str) -> tuple[Timing, Any]:
    """Run once; return its time, how often it is to be repeated, and its result."""
    first, result = timed(run, device)
    typical = first if first > SHORTEST_SECONDS else timed(run, device)[0]
    repeats = min(MOST_REPEATS, math.ceil(SHORTEST_SECONDS / max(typical, 1e-9)))
    return Timing(first, repeats=repeats), result


def rotated(items: Sequence[Item], by: int) -> list[Item]:
    """Return the items, beginning with another one each round, so that none always follows the same one's heat."""
    start = by % len(items) if items else 0
    return [*items[start:], *items[:start]]


def alternate(
    runs: Mapping[str, Callable[[], Any]],
    timings: Mapping[str, Timing],
    rounds: int,
    device: str,
    tell: Callable[[str], None],
) -> None:
    """Add one time a round to each contender's timing.

    Args:
        runs: what is timed, by the contender's name.
        timings: theirs, from `warm_up`.
        rounds: how often each is timed.
        device: what to wait for.
        tell: is called with a line about each time.
    """
    for number in range(rounds):
        for name in rotated(list(runs), number):
            seconds, _ = timed(runs[name], device, timings[name].repeats)
            timings[name].seconds.append(seconds)
            tell(f"round {number + 1}/{rounds}: {name}: {seconds:.4g} s")
