"""Whether the weights of a loaded segmenter can be meant, and in which words a failed loading is told."""

import pickle
import re
from pathlib import Path
from typing import Any

from groundling.errors import CheckpointError
from groundling.files import read_json

WEIGHTS = ("model.safetensors", "pytorch_model.bin")
"""The file of weights; the first that a checkpoint has is read. `<name>.index.json` lists the parts of a split one."""

_MOST_LETTERS = 200
_ADVICE = ("above report", "verbosity", "weights_only", "ignore_mismatched_sizes", "safe_globals", "trust_remote_code")
"""Sentences of other libraries with these tell what their own callers could do."""


def check_weights(model: Any, folder: Path, title: str) -> None:
    """Refuse weights that compute nothing: transformers casts tensors of any type, and loads NaN as any number.

    Args:
        model: as transformers loaded it.
        folder: where its files are.
        title: what people call its kind.

    Raises:
        CheckpointError: a tensor of the files holds no floating-point numbers though the model needs them, or a loaded
            one is not finite.
    """
    advice = "The checkpoint is damaged or quantised in a way that cannot be loaded. Fetch the original again."
    state = model.state_dict()
    # Names in the files and in the model differ; the last part of the name says what a tensor is.
    kinds = {name.rpartition(".")[2] for name, tensor in state.items() if tensor.is_floating_point()}
    for name, number_format in _number_formats(folder).items():
        if name.rpartition(".")[2] in kinds and not number_format.startswith(("F", "BF", "float", "bfloat")):
            raise CheckpointError(
                f"The tensor {name!r} of the {title} checkpoint in {str(folder)!r} holds {number_format} in place of "
                f"floating-point numbers. {advice}"
            )
    for name, tensor in state.items():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            cause = "With dtype float16 a weight may be too large: use bfloat16 or float32. Otherwise: "
            raise CheckpointError(
                f"The tensor {name!r} of the {title} checkpoint in {str(folder)!r} holds NaN or infinity. "
                f"{cause if str(tensor.dtype) == 'torch.float16' else ''}{advice}"
            )


def reason(error: Exception) -> str:
    """Return why loading failed in one line of up to some 200 letters, without advice for other libraries' callers."""
    if isinstance(error, pickle.UnpicklingError):
        return "the file of weights is no plain table of tensors; code in it is not run"
    text = " ".join(re.sub(r"\x1b\[[0-9;]*m", "", str(error)).split())
    sentences = re.split(r"(?<=[.!?])\s+", text)
    text = " ".join(one for one in sentences if not any(word in one for word in _ADVICE)).rstrip(".")
    shown = text if len(text) <= _MOST_LETTERS else f"{text[:_MOST_LETTERS].rsplit(' ', 1)[0]} ..."
    return f"{type(error).__name__}: {shown or 'no reason is given'}"


def _number_formats(folder: Path) -> dict[str, str]:
    """Return the number format of each tensor in the files, without reading the tensors."""
    formats: dict[str, str] = {}
    for path in _files(folder):
        formats |= _of_safetensors(path) if path.suffix == ".safetensors" else _of_pickle(path)
    return formats


def _files(folder: Path) -> list[Path]:
    for name in WEIGHTS:
        if (folder / name).is_file():
            return [folder / name]
        if (folder / f"{name}.index.json").is_file():
            parts = read_json(folder / f"{name}.index.json")["weight_map"].values()
            return [folder / part for part in sorted(set(parts))]
    return []


def _of_safetensors(path: Path) -> dict[str, str]:
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        return {name: str(file.get_slice(name).get_dtype()) for name in file.keys()}  # noqa: SIM118  (no mapping)


def _of_pickle(path: Path) -> dict[str, str]:
    import torch

    values = torch.load(path, map_location="meta", weights_only=True)
    found = {name: value for name, value in values.items() if isinstance(value, torch.Tensor)}
    return {name: str(value.dtype).removeprefix("torch.") for name, value in found.items()}
