"""What a caller wants to find: labels, other words for them, words that compete, and a threshold for each label."""

import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from numbers import Real
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, Self, get_args

from groundling.errors import PromptError
from groundling.files import write_json
from groundling.keywords import closest

Packing = Literal["as_given", "sorted"]
"""In which order labels are divided into prompts; see `Vocabulary`."""

_KEYS = ("labels", "synonyms", "negatives", "thresholds", "packing", "per_prompt")


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Any number of labels, and how they are looked for.

    Attributes:
        labels: what to find, in the caller's order and spelling, each once; a detection's label is an index into this.
        synonyms: for a label other words for it; the best score of the label and its synonyms wins.
        negatives: words that are looked for too and whose boxes are dropped: what is more like a negative than like any
            label is not found. They stand in every prompt.
        thresholds: for a label the score that its boxes must exceed, 0 to 1, in place of the general threshold.
        packing: "as_given" fills prompts in the order of the labels. Labels in one prompt change each other's scores,
            and which of many labels share one then depends on their order. "sorted" fills prompts in the order of the
            alphabet, so that results do not depend on the order of the labels.
        per_prompt: most labels in one prompt; None is as many as it holds. Fewer find more and take longer. With 1 the
            results for a label do not depend on the other labels, up to rounding.

    Raises:
        PromptError: there is no label, one comes twice or is no text, or another part names a label that does not exist
            or a number outside 0 to 1.
    """

    labels: tuple[str, ...]
    synonyms: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    negatives: tuple[str, ...] = ()
    thresholds: Mapping[str, float] = field(default_factory=dict)
    packing: Packing = "as_given"
    per_prompt: int | None = None

    def __post_init__(self) -> None:
        put = object.__setattr__  # the dataclass is frozen
        put(self, "labels", tuple(check_labels(self.labels)))
        known = set(self.labels)
        if len(known) < len(self.labels):
            ((twice, _),) = Counter(self.labels).most_common(1)
            raise PromptError(f"The label {twice!r:.80} stands twice in the vocabulary. Name each label once.")
        put(self, "negatives", _negatives(self.negatives))
        words = {label: _synonyms(label, others) for label, others in _items(self.synonyms, "synonyms", known)}
        put(self, "synonyms", MappingProxyType(words))
        words_of_labels = [*self.labels, *(word for others in words.values() for word in others)]
        meant = {word.casefold(): word for word in words_of_labels}
        for negative in self.negatives:
            if negative.casefold() in meant:
                raise PromptError(
                    f"{negative!r:.80} is a negative, but {meant[negative.casefold()]!r:.80} is to be found. "
                    "It can only be one of them."
                )
        numbers = {label: _threshold(label, value) for label, value in _items(self.thresholds, "thresholds", known)}
        put(self, "thresholds", MappingProxyType(numbers))
        if self.packing not in get_args(Packing):
            raise PromptError(f"packing={self.packing!r} is not known. Use 'as_given' or 'sorted'.")
        most = self.per_prompt
        if most is not None and (isinstance(most, bool) or not isinstance(most, int) or most < 1):
            raise PromptError(f"per_prompt must be at least 1 label, or None for no limit; got {most!r}.")

    def __hash__(self) -> int:
        return hash((self.labels, self.negatives, self.packing, self.per_prompt))

    def __reduce__(self) -> tuple[type[Self], tuple[Any, ...]]:
        # Through the constructor, because a read-only view of a dictionary cannot be pickled.
        parts = self.labels, dict(self.synonyms), self.negatives, dict(self.thresholds), self.packing, self.per_prompt
        return type(self), parts

    def to_dict(self) -> dict[str, Any]:
        """Convert to plain lists, strings and numbers; `from_dict` gives back an equal object."""
        return {
            "labels": list(self.labels),
            "synonyms": {label: list(others) for label, others in self.synonyms.items()},
            "negatives": list(self.negatives),
            "thresholds": dict(self.thresholds),
            "packing": self.packing,
            "per_prompt": self.per_prompt,
        }

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Self:
        """Build from what `to_dict` wrote; only the labels are needed.

        Raises:
            PromptError: a key is unknown, or a value cannot be used.
        """
        if not isinstance(value, Mapping) or "labels" not in value:
            raise PromptError('A vocabulary must be an object with the key "labels", such as {"labels": ["a cat"]}.')
        unknown = [str(key) for key in value if key not in _KEYS]
        if unknown:
            raise PromptError(f"A vocabulary has no key {unknown[0]!r:.80}. Use {', '.join(_KEYS)}.")
        return cls(**value)

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Self:
        """Read a vocabulary from a file.

        Args:
            path: a .json file as `write` makes it, or a list of labels; or a text file with one label a line.

        Raises:
            PromptError: the file does not hold a vocabulary; the message names it.
            OSError: the file cannot be read.
        """
        place = Path(path)
        try:
            place = place.expanduser()
            text = place.read_text(encoding="utf-8-sig")
            if place.suffix.lower() != ".json":
                return cls(tuple(line.strip() for line in text.splitlines() if line.strip()))
            content = json.loads(text)
            return cls(tuple(content)) if isinstance(content, list) else cls.from_dict(content)
        except UnicodeDecodeError as error:
            raise PromptError(f"{place} is not UTF-8 text ({error.reason}). Give one label a line, or JSON.") from error
        except PromptError as error:
            raise PromptError(f"{place}: {error}") from error
        except json.JSONDecodeError as error:
            raise PromptError(f"{place} is not valid JSON: {error}.") from error
        except (ValueError, RuntimeError) as error:  # a home that does not exist, odd letters, endless brackets
            raise PromptError(f"{str(place)!a:.200} cannot be read as a vocabulary ({error!s:.200}).") from error

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write a .json file that `read` understands; an existing file is replaced only by a complete one.

        Raises:
            OSError: the file cannot be written.
        """
        write_json(Path(path).expanduser(), self.to_dict())


def check_labels(labels: Sequence[str], noun: str = "label") -> list[str]:
    """Return labels as a list, if each is a string that names something.

    Args:
        labels: what a caller gave.
        noun: how messages call one of them.

    Raises:
        PromptError: there are none, or one of them is no text or blank.
    """
    if isinstance(labels, str):
        raise PromptError(
            f"The {noun}s are one string, {labels!r:.80}. Give a list such as ['a cat', 'a remote control'], or split "
            "a prompt with labels_from_text."
        )
    if not isinstance(labels, Iterable) or isinstance(labels, Set | Mapping | bytes):  # a set has no order to index
        raise PromptError(f"The {noun}s must be a list of names, got {type(labels).__name__}.")
    labels = list(labels)
    if not labels:
        raise PromptError(f"There are no {noun}s. Give at least one, such as ['a cat'].")
    for index, label in enumerate(labels):
        name = f"{noun.capitalize()} {index}"
        if not isinstance(label, str):
            raise PromptError(f"{name} is of type {type(label).__name__}, not a string: {label!r:.80}.")
        if any("\ud800" <= letter <= "\udfff" for letter in label):
            raise PromptError(f"{name} ({label!a:.80}) holds half a character (a surrogate).")
        if not label.strip():
            raise PromptError(f"{name} is blank ({label!r}). Name what to find, or remove it.")
    return labels


def _items(given: Mapping[str, Any], noun: str, known: Set[str]) -> list[tuple[str, Any]]:
    if not isinstance(given, Mapping):
        raise PromptError(f"The {noun} must be a mapping from labels, got {type(given).__name__}.")
    for label in given:
        if label not in known:
            close = closest(str(label), sorted(known))
            hint = f"Did you mean {close!r}?" if close else "Use a label of the vocabulary."
            raise PromptError(f"The {noun} name {label!r:.80}, which is not a label. {hint}")
    return list(given.items())


def _synonyms(label: str, others: Sequence[str]) -> tuple[str, ...]:
    try:
        return tuple(check_labels(others, "synonym"))
    except PromptError as error:
        raise PromptError(f"{label!r:.80}: {error}") from error


def _negatives(negatives: Sequence[str]) -> tuple[str, ...]:
    if isinstance(negatives, list | tuple) and not negatives:
        return ()
    return tuple(check_labels(negatives, "negative"))


def _threshold(label: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 <= float(value) <= 1:
        raise PromptError(f"The threshold of {label!r:.80} must be a number within 0..1, got {value!r:.80}.")
    return float(value)
