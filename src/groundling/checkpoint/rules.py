"""The engine of the key maps: one table of rules, read in both directions.

A rule pairs the name of a tensor in our state dict with its name in a file. Names are templates:

* `{k}` stands for a number, the same on both sides; `{k+1}` for that number plus one;
* `*` stands for `weight` or `bias`.

A fused rule pairs several of our tensors with one tensor of the file, in which they lie one after the other along the
first axis (query, key and value in one projection).
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from groundling.errors import CheckpointError


@dataclass(frozen=True, slots=True)
class Transform:
    """A change of a tensor's values or shape, and its inverse.

    Attributes:
        read: from the file's tensor to ours.
        write: from our tensor to the file's.
    """

    read: Callable[[Tensor], Tensor]
    write: Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of a key map.

    Attributes:
        ours: template of our name; several for a fused tensor, in the order of its parts.
        theirs: template of the name in the file.
        transform: what else differs besides the name.
    """

    ours: tuple[str, ...]
    theirs: str
    transform: Transform | None = None


@dataclass(frozen=True, slots=True)
class KeyMap:
    """How one layout names the tensors.

    Attributes:
        layout: name of the layout.
        rules: the table; the first rule that fits a name wins, in both directions.
        copies: further names under which a file may hold the same tensors. Copies must be equal.
        writes_copies: whether a file of this layout must hold the copies.
        spellings: (pattern, replacement) pairs of older or newer names, applied to names read from a file.
        ignored: patterns of names in a file that have no place in the model.
        unwritten: patterns of our names that have no place in a file.
    """

    layout: str
    rules: tuple[Rule, ...]
    copies: tuple[Rule, ...] = ()
    writes_copies: bool = False
    spellings: tuple[tuple[str, str], ...] = ()
    ignored: tuple[str, ...] = ()
    unwritten: tuple[str, ...] = ()


def rule(ours: str, theirs: str, transform: Transform | None = None) -> Rule:
    """Pair one of our tensors with one of the file's."""
    return Rule((ours,), theirs, transform)


def fused(ours: Sequence[str], theirs: str) -> Rule:
    """Pair several of our tensors with the one tensor that holds them one after the other."""
    return Rule(tuple(ours), theirs)


def rules_below(ours: str, theirs: str, names: Mapping[str, str]) -> tuple[Rule, ...]:
    """Pair the weights and biases of modules below two prefixes; `names` maps our module to theirs."""
    return tuple(rule(f"{ours}.{mine}.*", f"{theirs}.{other}.*") for mine, other in names.items())


def read_names(tensors: Mapping[str, Tensor], key_map: KeyMap) -> tuple[dict[str, Tensor], list[str]]:
    """Translate a file's tensors to our names.

    Returns:
        The tensors under our names, and the file's names that no rule knows.

    Raises:
        CheckpointError: copies of one tensor differ, or a fused tensor cannot be split.
    """
    found: dict[str, Tensor] = {}
    origin: dict[str, str] = {}
    unknown: list[str] = []
    for name, tensor in tensors.items():
        spelled = _respell(name, key_map.spellings)
        if _matches_any(spelled, key_map.ignored):
            continue
        for candidate in (*key_map.rules, *key_map.copies):
            values = _match(candidate.theirs, spelled)
            if values is not None:
                break
        else:
            unknown.append(name)
            continue
        for template, part in zip(candidate.ours, _split(candidate, name, tensor), strict=True):
            ours = _fill(template, values)
            if ours in found and not same_tensor(found[ours], part):
                raise CheckpointError(
                    f"The tensors {origin[ours]!r} and {name!r} are two names of the same weights ({ours}), but their "
                    "values differ. Remove the wrong one from the file."
                )
            found[ours], origin[ours] = part, name
    return found, unknown


def write_names(tensors: Mapping[str, Tensor], key_map: KeyMap) -> dict[str, Tensor]:
    """Translate our tensors to a file's names.

    Raises:
        CheckpointError: a tensor has no place in the layout, or a part of a fused tensor is missing.
    """
    parts: dict[str, list[Tensor | None]] = {}
    transforms: dict[str, Transform | None] = {}
    homeless: list[str] = []
    for name, tensor in tensors.items():
        if _matches_any(name, key_map.unwritten):
            continue
        places = [_place(name, key_map.rules)]
        if key_map.writes_copies:
            places.append(_place(name, key_map.copies))
        if places[0] is None:
            homeless.append(name)
        for place in places:
            if place is None:
                continue
            theirs, index, found = place
            parts.setdefault(theirs, [None] * len(found.ours))[index] = tensor
            transforms[theirs] = found.transform
    if homeless:
        raise CheckpointError(
            f"The {key_map.layout} layout has no place for {len(homeless)} of {len(tensors)} tensors, "
            f"first: {homeless[0]!r}. Write the Hugging Face layout, which holds every model."
        )
    return {theirs: _join(theirs, found, transforms[theirs]) for theirs, found in parts.items()}


def same_tensor(first: Tensor, second: Tensor) -> bool:
    """Whether two tensors have the same type, shape and values; NaN equals NaN."""
    if first.dtype != second.dtype or first.shape != second.shape:
        return False
    return torch.allclose(first, second, rtol=0, atol=0, equal_nan=first.is_floating_point())


def _place(name: str, rules: Sequence[Rule]) -> tuple[str, int, Rule] | None:
    for candidate in rules:
        for index, template in enumerate(candidate.ours):
            values = _match(template, name)
            if values is not None:
                return _fill(candidate.theirs, values), index, candidate
    return None


def _split(found: Rule, name: str, tensor: Tensor) -> Sequence[Tensor]:
    if found.transform is not None:
        try:
            tensor = found.transform.read(tensor)
        except RuntimeError as error:  # the shape does not allow it
            raise CheckpointError(
                f"{name!r} has shape {tuple(tensor.shape)}, which this layout does not allow. "
                "The file is damaged or belongs to another model."
            ) from error
    count = len(found.ours)
    if count == 1:
        return (tensor,)
    if tensor.ndim == 0 or tensor.shape[0] % count:
        raise CheckpointError(
            f"{name!r} has shape {tuple(tensor.shape)}, which cannot be split into {count} equal parts. "
            "The file is damaged or belongs to another model."
        )
    return tensor.chunk(count)


def _join(theirs: str, parts: Sequence[Tensor | None], transform: Transform | None) -> Tensor:
    present = [part for part in parts if part is not None]
    if len(present) != len(parts):
        raise CheckpointError(
            f"{theirs!r} holds {len(parts)} tensors in one, but only {len(present)} of them were given. "
            "Save the state dict of a whole model."
        )
    joined = present[0] if len(present) == 1 else torch.cat(present)
    return joined if transform is None else transform.write(joined)


def _respell(name: str, spellings: Sequence[tuple[str, str]]) -> str:
    for pattern, replacement in spellings:
        name = re.sub(pattern, replacement, name)
    return name


def _matches_any(name: str, patterns: Sequence[str]) -> bool:
    return any(re.search(pattern, name) for pattern in patterns)


_FIELD = re.compile(r"\{(\w+)(\+\d+)?\}|(\*)")


@cache
def _pattern(template: str) -> tuple[re.Pattern[str], dict[str, int]]:
    """Compile a template; return the pattern and what is added to each number."""
    pattern, end, offsets = "", 0, {}
    for field in _FIELD.finditer(template):
        pattern += re.escape(template[end : field.start()])
        if field[3]:
            pattern += "(?P<kind>weight|bias)"
        else:
            pattern += f"(?P<{field[1]}>[0-9]+)"
            offsets[field[1]] = int(field[2] or 0)
        end = field.end()
    return re.compile(pattern + re.escape(template[end:])), offsets


def _match(template: str, name: str) -> dict[str, str] | None:
    pattern, offsets = _pattern(template)
    found = pattern.fullmatch(name)
    if found is None:
        return None
    values = found.groupdict()
    for field, offset in offsets.items():
        number = int(values[field]) - offset
        if number < 0:
            return None
        values[field] = str(number)
    return values


def _fill(template: str, values: Mapping[str, str]) -> str:
    def value(field: re.Match[str]) -> str:
        return values["kind"] if field[3] else str(int(values[field[1]]) + int(field[2] or 0))

    return _FIELD.sub(value, template)
