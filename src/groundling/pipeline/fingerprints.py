"""What tells one model from another, whatever it is called: its weights and its settings."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

DIGITS = 16

_FOR_THE_RECORD = ("architectures", "dtype", "transformers_version", "_name_or_path")
"""What a saved configuration says beside the model's sizes; the weights have their number format themselves."""


def weights_fingerprint(weights: Iterable[tuple[str, Tensor]]) -> str:
    """Return a short text that is the same for the same named tensors, whatever device they are on."""
    digest = hashlib.sha256()
    for name, weight in weights:
        digest.update(f"{name} {weight.dtype} {tuple(weight.shape)}".encode())
        digest.update(weight.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()[:DIGITS]


def settings_fingerprint(config: Mapping[str, Any], preparation: Mapping[str, Any]) -> str:
    """Return a short text that is the same where the same weights find the same in a picture.

    Args:
        config: the model's configuration, in plain values.
        preparation: how pictures are put before the model, in plain values.
    """
    own = {name: value for name, value in config.items() if name not in _FOR_THE_RECORD}
    plain = json.dumps([own, dict(preparation)], sort_keys=True, default=str)
    return hashlib.sha256(plain.encode()).hexdigest()[:DIGITS]
