"""How large a picture becomes before the model sees it. Sizes are (height, width) in pixels."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from groundling.errors import ConfigError

DEFAULT_LONGEST_EDGE = 1333

_KEY_SETS: tuple[frozenset[str], ...] = (
    frozenset({"height", "width"}),
    frozenset({"shortest_edge"}),
    frozenset({"shortest_edge", "longest_edge"}),
    frozenset({"longest_edge"}),
    frozenset({"max_height", "max_width"}),
    frozenset({"min_pixels", "max_pixels"}),
)
_KEYS = frozenset().union(*_KEY_SETS)


class SizeDict(dict[str, int]):
    """A size rule such as {"shortest_edge": 800, "longest_edge": 1333}; each key is also an attribute.

    The attribute of a key that the rule does not have is None.
    """

    def __getattr__(self, name: str) -> int | None:
        if name not in _KEYS:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return self.get(name)


def size_rule(size: Any, *, max_size: int | None = None, name: str = "size") -> SizeDict:
    """Read the ways in which a size is written.

    Args:
        size: an int is the shortest edge; two ints are (height, width); a mapping has one of the documented key sets.
        max_size: the longest edge that goes with an int; None is 1333.
        name: the argument's name, for messages.

    Raises:
        ConfigError: the size is none of these, or a number in it is not a positive integer.
    """
    if isinstance(size, int | np.integer) and not isinstance(size, bool):
        longest = DEFAULT_LONGEST_EDGE if max_size is None else max_size
        return _checked({"shortest_edge": size, "longest_edge": longest}, name)
    if isinstance(size, Mapping):
        given = {key: value for key, value in size.items() if value is not None}
        if frozenset(given) not in _KEY_SETS:
            allowed = ", ".join(str(tuple(sorted(keys))) for keys in _KEY_SETS)
            raise ConfigError(f"{name} must have one of the following set of keys: {allowed}, got {tuple(size)}.")
        return _checked(given, name)
    if isinstance(size, Sequence) and not isinstance(size, str) and len(size) == 2:
        return _checked({"height": size[0], "width": size[1]}, name)
    raise ConfigError(
        f"{name}={size!r} is not a size. Give an int (the shortest edge), a pair (height, width), or a mapping such as "
        "{'shortest_edge': 800, 'longest_edge': 1333}."
    )


def _checked(size: Mapping[str, Any], name: str) -> SizeDict:
    for key, value in size.items():
        if not isinstance(value, int | np.integer) or isinstance(value, bool) or int(value) < 1:
            raise ConfigError(f"{name}[{key!r}] must be a positive integer number of pixels, got {value!r}.")
    return SizeDict({key: int(value) for key, value in size.items()})


def target_size(height: int, width: int, size: SizeDict) -> tuple[int, int]:
    """Return the (height, width) that a picture is resized to.

    Raises:
        ConfigError: the rule cannot be used for resizing.
    """
    if size.shortest_edge and size.longest_edge:
        return _fit_edges(height, width, size.shortest_edge, size.longest_edge)
    if size.max_height and size.max_width:
        factor = min(size.max_height / height, size.max_width / width)
        return max(int(height * factor), 1), max(int(width * factor), 1)
    if size.height and size.width:
        return size.height, size.width
    raise ConfigError(
        f"A picture cannot be resized by size={dict(size)}. Give 'shortest_edge' and 'longest_edge', "
        "'height' and 'width', or 'max_height' and 'max_width'."
    )


def _fit_edges(height: int, width: int, shortest: int, longest: int) -> tuple[int, int]:
    """Bring the shorter edge to `shortest` unless the other edge would pass `longest`.

    The long edge is truncated and the clamped short edge rounded half to even: published weights were measured so.
    """
    small, large = min(height, width), max(height, width)
    exact: float = shortest
    if large / small * shortest > longest:
        exact = longest * small / large
        shortest = round(exact)
    if small == shortest:
        return height, width
    # a strip so thin that its short edge rounds to nothing still has one row of pixels
    shortest = max(shortest, 1)
    if width < height:
        return max(int(exact * height / width), 1), shortest
    return shortest, max(int(exact * width / height), 1)
