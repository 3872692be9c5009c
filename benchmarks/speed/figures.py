"""From raw times to what a table says."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any


def median_seconds(contender: Mapping[str, Any]) -> float | None:
    """Return the median of a contender's rounds; None where it was not measured."""
    return median(contender["seconds"]) if contender["seconds"] else None


def fastest(contenders: Sequence[Mapping[str, Any]], side: str, dtype: str | None = None) -> float | None:
    """Return the smallest median of a side, in one number format or in any; None where none was measured."""
    medians = [
        found
        for one in contenders
        if one["side"] == side
        and (dtype is None or one["dtype"] == dtype)
        and (found := median_seconds(one)) is not None
    ]
    return min(medians, default=None)


def times_faster(standard: float | None, seconds: float | None) -> float | None:
    """Return how many times faster than the standard; None where either is not known."""
    return standard / seconds if standard is not None and seconds else None


def seconds_text(seconds: float | None) -> str:
    """Write a time in the unit that suits it."""
    if seconds is None:
        return "-"
    for unit, factor in (("s", 1.0), ("ms", 1e3), ("µs", 1e6)):
        if seconds * factor >= 1:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds * 1e6:.3g} µs"
