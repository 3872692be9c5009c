"""The names in ODVG detection lines: from a label map, or as the objects state them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from groundling.data.problems import Kind, Place, Problems
from groundling.data.readers.files import clean_name, read_json
from groundling.data.readers.phrases import same_words
from groundling.errors import DatasetError

_MOST_DIGITS = 18
"""Of a label's number, so that it fits into 64 bits."""


class Labels:
    """Which name an object has.

    Attributes:
        names: the vocabulary. Without a label map it grows while a file is read.
        is_fixed: whether there is a label map.
    """

    def __init__(self, label_map: Path | None, problems: Problems) -> None:
        """Read the label map, if there is one.

        Raises:
            DatasetError: it is missing or is not a JSON object or list of names.
        """
        self.names: list[str] = []
        self.is_fixed = label_map is not None
        self._problems = problems
        self._index_of_label: dict[int, int] = {}
        self._index_of_name: dict[str, int] = {}
        if label_map is not None:
            for label, name in sorted(_label_map(label_map, problems).items()):
                if name in self._index_of_name:
                    cause = f"the name {name!r} has several numbers. Rename one, or give both the same number."
                    problems.add(Kind.DUPLICATE_NAME, Place(str(label_map), f"label {label}"), cause)
                self._index_of_label[label] = self._index_of(name)

    def index_of(self, instance: Mapping[str, Any], place: Place) -> int | None:
        """Return the index of an object's name; None if it has none, which is a problem."""
        label, category = instance.get("label"), instance.get("category")
        name = None if category is None else clean_name(category)
        if (category is not None and name is None) or not (label is None or _is_label(label)):
            cause = f"label={label!r} must be an integer and category={category!r} usable text; one of them is enough."
            self._problems.add(Kind.FIELD, place, cause)
            return None
        if label is None:
            return self._by_name(name, place)
        if label not in self._index_of_label:
            if self.is_fixed or name is None:
                self._problems.add(Kind.UNKNOWN_CATEGORY, place, self._unknown(label))
                return None
            self._index_of_label[label] = self._index_of(name)
        index = self._index_of_label[label]
        if name is not None and not same_words(name, self.names[index]):
            cause = f"label {label} is {self.names[index]!r} elsewhere, but the category is {name!r}. Correct one."
            self._problems.add(Kind.CONTRADICTION, place, cause)
            return None
        return index

    def _by_name(self, name: str | None, place: Place) -> int | None:
        if name is None:
            self._problems.add(Kind.FIELD, place, "an object must have a 'label' number or a 'category' name.")
            return None
        if self.is_fixed and name not in self._index_of_name:
            self._problems.add(Kind.UNKNOWN_CATEGORY, place, f"the category {name!r} is not in the label map. Add it.")
            return None
        return self._index_of(name)

    def _index_of(self, name: str) -> int:
        if name not in self._index_of_name:
            self._index_of_name[name] = len(self.names)
            self.names.append(name)
        return self._index_of_name[name]

    def _unknown(self, label: int) -> str:
        if not self.is_fixed:
            return f"label {label} has no 'category', and there is no label map. Name the label map (label_map=...)."
        known = sorted(self._index_of_label)
        span = f"{known[0]} to {known[-1]}" if known else "none"
        return f"label {label} is not in the label map, whose numbers are {span}. Add it or correct the label."


def _is_label(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _label_map(path: Path, problems: Problems) -> dict[int, str]:
    value = read_json(path)
    if isinstance(value, list):
        value = {str(number): name for number, name in enumerate(value)}
    if not isinstance(value, dict):
        raise DatasetError(f'{path} must hold a JSON object from numbers to names, such as {{"0": "a cat"}}.')
    found: dict[int, str] = {}
    for label, entry in value.items():
        name, number, place = clean_name(entry), label.strip(), Place(str(path), f"label {label:.20}")
        if name is None or not number.isdecimal() or len(number) > _MOST_DIGITS:
            problems.add(Kind.FIELD, place, f"{label!r:.80}: {entry!r:.80} must be a number and a name.")
        elif int(number) in found:
            problems.add(Kind.DUPLICATE_ID, place, f"the number {int(number)} stands twice. Give each name its own.")
        else:
            found[int(number)] = name
    if not found:
        problems.add(Kind.EMPTY, Place(str(path)), "there are no names in the label map.")
    return found
