"""Where the phrases of a caption stand in it: found once, when a file is read."""

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from groundling.structures.prompt import Span

_LETTER = r"[^\W\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]"
"""A letter or digit, except of scripts that put no space between words (Thai, Lao, Japanese, Chinese)."""


class Located(NamedTuple):
    """Where a phrase stands.

    Attributes:
        span: its characters [start, end).
        ambiguous: the phrase is named more often than it occurs, and it occurs more than once.
    """

    span: Span
    ambiguous: bool


def locate_phrases(caption: str, phrases: Sequence[str], taken: Iterable[Span] = ()) -> list[Located | None]:
    """Find each phrase in a caption as whole words, whatever the case and white space.

    Longer phrases choose first, and what they cover is left to shorter ones only if these occur nowhere else: in "a hot
    dog beside a dog" the phrase "dog" is the last word. A phrase that is named several times takes its occurrences in
    order; what is left over means the last one.

    Args:
        caption: the sentence.
        phrases: what to find, each as often as it is named.
        taken: characters that belong to other phrases already.

    Returns:
        One entry for each phrase in order; None for a phrase that is not in the caption.
    """
    named: dict[str, list[int]] = {}
    for number, phrase in enumerate(phrases):
        named.setdefault(_normal(phrase), []).append(number)
    located: list[Located | None] = [None] * len(phrases)
    covered = list(taken)
    for normal in sorted(named, key=len, reverse=True):
        numbers = named[normal]
        places = _occurrences(caption, phrases[numbers[0]])
        free = [place for place in places if not any(_overlap(place, other) for other in covered)]
        places = free or places
        for turn, number in enumerate(numbers if places else []):
            located[number] = Located(places[min(turn, len(places) - 1)], len(numbers) > len(places) > 1)
        covered += places[: len(numbers)]
    return located


def same_words(one: str, other: str) -> bool:
    """Tell whether two texts differ at most in case and white space."""
    return _normal(one) == _normal(other)


def _normal(phrase: str) -> str:
    return " ".join(phrase.casefold().split())


def _occurrences(caption: str, phrase: str) -> list[Span]:
    if not phrase.strip():
        return []
    words = r"\s+".join(re.escape(word) for word in phrase.split())
    return [match.span() for match in re.finditer(rf"(?<!{_LETTER}){words}(?!{_LETTER})", caption, re.IGNORECASE)]


def _overlap(one: Span, other: Span) -> bool:
    return one[0] < other[1] and other[0] < one[1]
