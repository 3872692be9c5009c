"""Keyword arguments are checked by name, so that a misspelt option is an error and never silently ignored."""

from collections.abc import Collection, Iterable
from difflib import get_close_matches


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
        close = get_close_matches(name, list(allowed), n=1)
        hint = f"Did you mean {close[0]!r}?" if close else f"It takes: {', '.join(sorted(allowed))}."
        raise TypeError(f"{owner} got an unexpected keyword argument {name!r}. {hint}")
