"""Words that a change of the picture could turn into a lie."""

import re
from collections.abc import Iterable

_SIDE = re.compile(r"(?<![a-z])(left|right|lft|rgt|rt|east|west|clockwise|anticlockwise|o'clock)", re.IGNORECASE)

_WHOLE = re.compile(
    r"(?<![a-z])("
    "north|south|top|bottom|above|below|over|under|upper|lower|middle|cent(er|re)|"
    "corner|edge|beside|between|behind|front|back|next|near|far|close|closer|closest|nearest|farthest|furthest|"
    "first|second|third|last|only|the other|all|both|biggest|largest|smallest|tallest|shortest|"
    "small|smaller|big|bigger|large|larger|tiny|huge|little|tall|taller|short|shorter"
    r")(?![a-z])",
    re.IGNORECASE,
)


def name_a_side(texts: Iterable[str]) -> bool:
    """Whether a text speaks of left or right, so that it may be wrong in a mirror image."""
    return any(_SIDE.search(text) for text in texts)


def need_the_whole(texts: Iterable[str]) -> bool:
    """Whether a text compares things or places them, so that it may be wrong or unclear in a part of the picture."""
    return any(_SIDE.search(text) or _WHOLE.search(text) for text in texts)
