"""Keyword arguments are checked by name, so that a misspelt option is an error and never silently ignored."""

from collections.abc import Collection, Iterable
from difflib import get_close_matches


def closest(name: str, allowed: Collection[str], *, cutoff: float = 0.6) -> str | None:
    """Return the allowed name that is most like a given one; None if none is, by difflib's measure of 0..1."""
    return next(iter(get_close_matches(name, list(allowed), n=1, cutoff=cutoff)), None)


def check_keywords(owner: str, given: Iterable[str], allowed: Collection[str]) -> None:
    """Refuse the first keyword that is not allowed.

    Args:
        owner: what was called, for the message.
        given: the keywords that the caller wrote.
        allowed: the keywords that exist.

    Raises:
        TypeError: a keyword does not exist; the message names the closest one that does.
    """
    for name in given:
        if name in allowed:
            continue
        close = closest(name, allowed)
        hint = f"Did you mean {close!r}?" if close else f"It takes: {', '.join(sorted(allowed))}."
        raise TypeError(f"{owner} got an unexpected keyword argument {name!r}. {hint}")
