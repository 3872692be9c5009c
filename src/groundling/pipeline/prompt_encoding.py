"""Prompts as the model sees them, to be used for many pictures and kept in a file."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from groundling.errors import PromptError
from groundling.files import atomic_path
from groundling.structures.features import TextFeatures
from groundling.structures.prompt import Prompt, PromptSet

FORMAT = "groundling prompt encoding 1"


@dataclass(frozen=True, slots=True, eq=False)
class PromptEncoding:
    """What `Detector.encode` makes of labels.

    Attributes:
        prompts: the labels in prompts.
        features: for each prompt what the text backbone makes of it, one row without padding.
        model: fingerprint of the text backbone's weights; only a detector with the same weights can use it.
    """

    prompts: PromptSet
    features: tuple[TextFeatures, ...]
    model: str

    @property
    def labels(self) -> tuple[str, ...]:
        """The caller's labels; a detection's label is an index into them."""
        return self.prompts.labels

    def __repr__(self) -> str:
        tokens = sum(len(prompt.token_ids) for prompt in self.prompts.prompts)
        return f"PromptEncoding({len(self.labels)} labels, {len(self.features)} prompts, {tokens} tokens)"

    def to(self, device: torch.device) -> Self:
        """Return it with its features on a device."""
        moved = tuple(TextFeatures(*(part.to(device) for part in text)) for text in self.features)
        return replace(self, features=moved)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a .safetensors file; an existing file is replaced only by a complete one.

        Raises:
            OSError: the file cannot be written.
        """
        tensors = {
            f"{number}.{name}": part.cpu().clone()
            for number, text in enumerate(self.features)
            for name, part in zip(TextFeatures._fields, text, strict=True)
        }
        about = {"format": FORMAT, "model": self.model, "prompts": json.dumps(_to_plain(self.prompts))}
        with atomic_path(Path(path).expanduser()) as temporary:
            save_file(tensors, temporary, metadata=about)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read what `save` wrote.

        Raises:
            PromptError: the file is not of that form.
            OSError: the file cannot be read.
        """
        place = Path(path).expanduser()
        with place.open("rb"):
            pass  # a missing file is an OSError with its name
        try:
            with safe_open(place, "pt") as file:
                about = file.metadata() or {}
                if about.get("format") != FORMAT:
                    raise KeyError("it holds no encoded prompts")
                prompts = _from_plain(json.loads(about["prompts"]))
                features = tuple(
                    TextFeatures(*(file.get_tensor(f"{number}.{name}") for name in TextFeatures._fields))
                    for number in range(len(prompts.prompts))
                )
            _check_features(prompts, features)
            return cls(prompts, features, about["model"])
        except (SafetensorError, KeyError, IndexError, TypeError, ValueError, RecursionError) as error:
            why = error.args[0] if isinstance(error, KeyError) and error.args else error
            raise PromptError(f"{place} is damaged or of another kind ({why}). Encode the labels again.") from error


def _check_features(prompts: PromptSet, features: Sequence[TextFeatures]) -> None:
    for prompt, text in zip(prompts.prompts, features, strict=True):
        count = len(prompt.token_ids)
        expected = [(1, count, text.token_BTD.shape[-1]), (1, count), (1, count, count), (1, count)]
        kinds = [text.token_BTD.dtype, torch.bool, torch.bool, torch.int64]
        if [tuple(part.shape) for part in text] != expected or [part.dtype for part in text] != kinds:
            found = ", ".join(f"{tuple(part.shape)} {part.dtype}" for part in text)
            raise ValueError(f"a prompt has {count} tokens, but its features are {found}")
        if not text.token_BTD.is_floating_point() or not bool(text.token_BTD.isfinite().all() & text.valid_BT.all()):
            raise ValueError("its features are no finite numbers, or padding")


def _to_plain(prompts: PromptSet) -> dict[str, Any]:
    return {
        "labels": prompts.labels,
        "label_ids": prompts.label_ids,
        "thresholds": prompts.thresholds,
        "prompts": [
            {"text": one.text, "labels": one.labels, "token_ids": one.token_ids, "label_tokens": one.label_tokens}
            for one in prompts.prompts
        ],
    }


def _from_plain(value: dict[str, Any]) -> PromptSet:
    """Build what `_to_plain` took apart.

    Raises:
        ValueError: a part is of another kind than it was.
    """
    prompts = [
        Prompt(
            _text(one["text"]),
            tuple(map(_text, one["labels"])),
            tuple(map(_number, one["token_ids"])),
            tuple(tuple(map(_number, places)) for places in one["label_tokens"]),
        )
        for one in value["prompts"]
    ]
    thresholds = tuple(value["thresholds"])
    if any(one is not None and not (isinstance(one, float) and 0 <= one <= 1) for one in thresholds):
        raise ValueError(f"the thresholds are {str(thresholds)[:80]}, but must be numbers within 0..1")
    label_ids = tuple(tuple(map(_number, ids)) for ids in value["label_ids"])
    return PromptSet(tuple(map(_text, value["labels"])), tuple(prompts), label_ids, thresholds)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r:.80} is no text")
    return value


def _number(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{value!r:.80} is no whole number")
    return value
