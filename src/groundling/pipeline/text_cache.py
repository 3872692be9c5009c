"""Prompts that come again are not encoded again."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Sequence

import torch
from torch import nn

from groundling.ops.features import text_row
from groundling.structures.features import TextFeatures
from groundling.structures.prompt import Prompt

MOST_TEXTS = 512
"""Encoded prompts that are kept, those used last, each at most 0.4 MB. 13,000 short names are about 200 prompts."""

TEXTS_AT_A_TIME = 16
"""New prompts that go through the text backbone together; bounds memory."""


class TextCache:
    """Encodes prompts, or remembers how it did; several threads may use it.

    What was encoded with other weights, or in another number format of autocast, is not used again. A change of weights
    is noticed by PyTorch's counter of changes; what is written behind its back, through `tensor.data`, is not.

    Args:
        encode: turns prompts of any lengths into features, one row for each.
        weights: the parameters that it uses.
        most: how many prompts are kept.
    """

    def __init__(
        self,
        encode: Callable[[Sequence[Prompt]], TextFeatures],
        weights: Callable[[], Iterable[nn.Parameter]],
        most: int = MOST_TEXTS,
    ) -> None:
        self._encode, self._weights, self._most = encode, weights, most
        self._lock = threading.Lock()
        self._kept: OrderedDict[Hashable, TextFeatures] = OrderedDict()

    def encode(self, prompts: Sequence[Prompt]) -> list[TextFeatures]:
        """Return the features of each prompt, one row without padding."""
        state = weights_state(self._weights())
        keys = [(prompt.token_ids, state) for prompt in prompts]
        found = {key: features for key in keys if (features := self._remember(key)) is not None}
        new = {key: prompt for key, prompt in zip(keys, prompts, strict=True) if key not in found}
        for start in range(0, len(new), TEXTS_AT_A_TIME):
            some = list(new)[start : start + TEXTS_AT_A_TIME]
            features = self._encode([new[key] for key in some])
            for row, key in enumerate(some):
                found[key] = text_row(features, row)
                self._keep(key, found[key])
        return [found[key] for key in keys]

    def _remember(self, key: Hashable) -> TextFeatures | None:
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def _keep(self, key: Hashable, features: TextFeatures) -> None:
        with self._lock:
            self._kept[key] = TextFeatures(*(part.clone() for part in features))  # not the whole batch it is a view of
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)


def weights_state(weights: Iterable[nn.Parameter]) -> Hashable:
    """Return what changes when weights are changed, moved or converted, or when autocast is switched."""
    versions = [
        (weight.data_ptr(), weight.dtype, 0 if weight.is_inference() else weight._version) for weight in weights
    ]
    casts = [(torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind)) for kind in ("cpu", "cuda")]
    return hash((*versions, *casts))
