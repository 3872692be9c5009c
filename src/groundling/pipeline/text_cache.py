"""Prompts that come again are not encoded again."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, Self

import torch
from torch import nn
from torch.multiprocessing.reductions import StorageWeakRef

from groundling.structures.features import TextFeatures
from groundling.structures.prompt import Prompt

MOST_BYTES = 256 * 2**20
"""Features that are kept, those used last. A full prompt takes 0.4 MB, so this is more than 13,000 short names."""

TEXTS_AT_A_TIME = 16
"""New prompts that go through the text backbone together; bounds memory."""

Encode = Callable[[Sequence[Prompt]], TextFeatures]


class TextCache:
    """Encodes prompts, or remembers how it did; several threads may use it.

    Everything is forgotten when a weight was changed in place, replaced, moved or converted. What is written behind
    PyTorch's back, into the memory of `weight.data`, is not noticed.

    Args:
        encode: turns prompts of any lengths into features, one row for each.
        weights: gives the parameters that it uses.
        most_bytes: how much is kept.
    """

    def __init__(
        self, encode: Encode, weights: Callable[[], Sequence[nn.Parameter]], most_bytes: int = MOST_BYTES
    ) -> None:
        self._encode, self._weights, self._most_bytes = encode, weights, most_bytes
        self._begin()

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[Hashable, TextFeatures] = OrderedDict()
        self._bytes = 0
        self._state: WeightsState | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {"_encode": self._encode, "_weights": self._weights, "_most_bytes": self._most_bytes}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._begin()

    def encode(self, prompts: Sequence[Prompt]) -> list[TextFeatures]:
        """Return the features of each prompt, one row without padding."""
        keys = [(prompt.token_ids, autocast_state()) for prompt in prompts]
        found, state = self._remember(keys)
        new = {key: prompt for key, prompt in zip(keys, prompts, strict=True) if key not in found}
        for start in range(0, len(new), TEXTS_AT_A_TIME):
            some = list(new)[start : start + TEXTS_AT_A_TIME]
            features = self._encode([new[key] for key in some])
            for row, key in enumerate(some):
                found[key] = text_row(features, row, len(new[key].token_ids))
                self._keep(key, found[key], state)
        return [found[key] for key in keys]

    def _remember(self, keys: Iterable[Hashable]) -> "tuple[dict[Hashable, TextFeatures], WeightsState]":
        """Return what is known, and of which weights."""
        weights = self._weights()
        with self._lock:
            if self._state is None or not self._state.holds(weights):
                self._kept.clear()
                self._bytes, self._state = 0, WeightsState(weights)
            found = {key: self._kept[key] for key in keys if key in self._kept}
            for key in found:
                self._kept.move_to_end(key)
            return found, self._state

    def _keep(self, key: Hashable, features: TextFeatures, state: "WeightsState") -> None:
        with self._lock:
            if (
                state is not self._state or key in self._kept
            ):  # another thread was quicker, with these weights or others
                return
            self._kept[key] = features
            self._bytes += _bytes(features)
            while self._bytes > self._most_bytes:
                self._bytes -= _bytes(self._kept.popitem(last=False)[1])


class WeightsState:
    """What is different as soon as a weight is.

    It tells weights apart by their memory, by references that do not keep it alive but let no other memory take its
    name, and by PyTorch's count of the changes in it.

    Args:
        weights: the parameters.
    """

    def __init__(self, weights: Sequence[nn.Parameter]) -> None:
        self._signs = _signs(weights)
        self._references = [
            StorageWeakRef(weight.untyped_storage())  # type: ignore[no-untyped-call]
            for weight in weights
        ]

    def __reduce__(self) -> tuple[type[Self], tuple[tuple[()]]]:
        # A reference counts, so it must not be copied byte by byte; and a copy of a model has weights of its own.
        return type(self), ((),)

    def holds(self, weights: Sequence[nn.Parameter]) -> bool:
        """Say whether these are the same weights, unchanged."""
        return self._signs == _signs(weights)


def _signs(weights: Sequence[nn.Parameter]) -> list[Hashable]:
    return [
        (
            weight.untyped_storage()._cdata,
            weight.dtype,
            weight.shape,
            0 if weight.is_inference() else weight._version,
        )
        for weight in weights
    ]


def autocast_state() -> Hashable:
    """Return what changes when autocast is switched."""
    return tuple((torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind)) for kind in ("cpu", "cuda"))


def text_row(text: TextFeatures, row: int, length: int) -> TextFeatures:
    """Copy one prompt of several, without its padding.

    Args:
        text: features of a batch.
        row: which of them.
        length: its tokens.
    """
    return TextFeatures(
        text.token_BTD[row : row + 1, :length].clone(),
        text.valid_BT[row : row + 1, :length].clone(),
        text.same_phrase_BTT[row : row + 1, :length, :length].clone(),
        text.position_BT[row : row + 1, :length].clone(),
    )


def _bytes(features: TextFeatures) -> int:
    return sum(part.nbytes for part in features)
