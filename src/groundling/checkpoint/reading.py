"""From a checkpoint's files to tensors; a file never gets to run code."""

import argparse
import pickle
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from groundling.errors import CheckpointError
from groundling.files import Location, read_json

WEIGHTS_NAME = "model.safetensors"
INDEX_NAME = "model.safetensors.index.json"
_PICKLE_NAME = "pytorch_model.bin"
_PICKLE_INDEX_NAME = "pytorch_model.bin.index.json"
_INDEX_ENDING = ".index.json"

_LFS_POINTER = b"version https://git-lfs.github.com/spec/"
# Training scripts save their arguments beside the weights. A namespace is data: it is filled, and nothing is called.
_HARMLESS_TYPES: list[Any] = [argparse.Namespace]
_WRAPPERS = ("state_dict", "model")
_WRAPPER_PREFIX = re.compile(r"(^|\.)(?:(?:module|_orig_mod)\.)+")


def read_tensors(location: Location) -> dict[str, Tensor]:
    """Read all tensors of a checkpoint, under the names that the file has, on the CPU.

    Read are, in this order: the file itself if the location is one (`.safetensors`, or else a file of `torch.save`);
    `model.safetensors`, whole or in shards; `pytorch_model.bin`, whole or in shards. A training state is unwrapped
    (`{"model": ...}`, `{"state_dict": ...}`, `module.` before each name). Where possible tensors are mapped from the
    file and take no memory until they are used.

    Raises:
        CheckpointError: there are no weights; a file is missing, empty, cut off, a git-lfs pointer or of another
            kind; a file wants to run code; it holds something other than tensors.
    """
    if location.file is not None:
        if location.file.name.endswith(_INDEX_ENDING):
            return _read_shards(location, location.file)
        return _read_file(location.file)
    path = location.first_of(WEIGHTS_NAME, INDEX_NAME, _PICKLE_NAME, _PICKLE_INDEX_NAME)
    if path is not None:
        return _read_shards(location, path) if path.name.endswith(_INDEX_ENDING) else _read_file(path)
    raise CheckpointError(
        f"{location.name!r} has no weights: neither {WEIGHTS_NAME!r} nor {_PICKLE_NAME!r}, whole or in shards. "
        f"{location.contents()}"
    )


def _read_file(path: Path) -> dict[str, Tensor]:
    if path.suffix == ".json":
        raise CheckpointError(f"{path} holds no weights. Give the folder that it is in, or the weights' file.")
    _refuse_what_is_no_checkpoint(path)
    tensors = _read_safetensors(path) if path.suffix == ".safetensors" else _read_pickle(path)
    if not tensors:
        raise CheckpointError(f"{path} holds no tensors. Give the file of a saved model.")
    unwrapped: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        _refuse_what_is_no_weight(path, name, tensor)
        plain = _WRAPPER_PREFIX.sub(r"\1", name)
        if plain in unwrapped:
            raise CheckpointError(f"{path} holds {plain!r} twice, once with a prefix 'module.'. Remove one of them.")
        unwrapped[plain] = tensor
    return unwrapped


def _refuse_what_is_no_weight(path: Path, name: str, tensor: Tensor) -> None:
    """Refuse tensors without plain numbers, and those that claim to be larger than what the file holds."""
    is_plain = tensor.layout is torch.strided and not tensor.is_meta and not tensor.is_quantized
    is_known = tensor.dtype in _NUMBERS or not (tensor.is_floating_point() or tensor.is_complex())
    if not (is_plain and is_known):
        raise CheckpointError(
            f"{path} holds {name!r} as {tensor.dtype} ({tensor.layout}). Save the weights as plain float32, float16 or "
            "bfloat16 tensors."
        )
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise CheckpointError(f"{path} holds {name!r} with the shape {tuple(tensor.shape)}, but not that many numbers.")


def _read_shards(location: Location, index: Path) -> dict[str, Tensor]:
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f"{index} has no 'weight_map' of tensor names to files. Download or save it again.")
    tensors: dict[str, Tensor] = {}
    shards = sorted({str(shard) for shard in weight_map.values()})
    for number, shard in enumerate(shards, start=1):
        path = location.find(shard) if Path(shard).name == shard else None
        if path is None:
            raise CheckpointError(
                f"{location.name!r} lacks {shard!r}, part {number} of {len(shards)} that {index.name!r} lists. "
                "Download or copy the missing file."
            )
        tensors |= _read_file(path)
    missing = [name for name in weight_map if _WRAPPER_PREFIX.sub(r"\1", name) not in tensors]
    if missing:
        raise CheckpointError(
            f"{index} lists {len(missing)} tensors that its files do not hold, first: {missing[0]!r} in "
            f"{weight_map[missing[0]]!r}. Index and files come from different saves: download or save them again."
        )
    return tensors


def _refuse_what_is_no_checkpoint(path: Path) -> None:
    """Recognise the usual failed downloads before a parser stumbles over them."""
    try:
        with path.open("rb") as file:
            head = file.read(len(_LFS_POINTER))
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}.") from error
    if not head:
        raise CheckpointError(f"{path} is empty (0 bytes). Download or copy it again.")
    if head == _LFS_POINTER:
        raise CheckpointError(
            f"{path} is a git-lfs pointer, not the weights themselves. Run `git lfs pull` in its folder, "
            "or download the file from the hub."
        )
    if head.lstrip().lower().startswith((b"<!doctype", b"<html")):
        raise CheckpointError(f"{path} is a web page, not weights. Download the file itself.")


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (not a mapping)
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"{path} ({path.stat().st_size} bytes) is not a whole safetensors file: {error}. "
            "It may be cut off, or of another kind. Download or copy it again."
        ) from error


def _read_pickle(path: Path) -> dict[str, Tensor]:
    try:
        with torch.serialization.safe_globals(_HARMLESS_TYPES):
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError as error:
        raise CheckpointError(_unpickling_message(path, str(error))) from error
    except Exception as error:  # torch has no error class of its own for damaged files
        raise CheckpointError(
            f"{path} ({path.stat().st_size} bytes) is not a whole file of torch.save ({type(error).__name__}: "
            f"{_first_line(error)}). It may be cut off, or of another kind. Download or copy it again."
        ) from error
    return _unwrap(content, path)


def _unpickling_message(path: Path, reason: str) -> str:
    forbidden = re.search(r"GLOBAL ([\w.]+)", reason)
    if forbidden is None:
        return (
            f"{path} is not a file of torch.save. It may be text, damaged or of another kind. Download it again, "
            "and give .safetensors files that ending."
        )
    return (
        f"{path} was not loaded: besides tensors it holds {forbidden[1]!r}, and to load that would run code from the "
        "file. If you trust its origin, load it with torch.load(..., weights_only=False) where it was made and save "
        'the tensors alone: torch.save({"model": state_dict}, path).'
    )


def _unwrap(content: object, path: Path) -> dict[str, Tensor]:
    for _ in range(_MOST_WRAPPERS):
        if not isinstance(content, Mapping):
            break
        wrapped = next((content[key] for key in _WRAPPERS if isinstance(content.get(key), Mapping)), None)
        if wrapped is None:
            break
        content = wrapped
    if not isinstance(content, Mapping):
        raise CheckpointError(
            f"{path} holds a {type(content).__name__}, not tensors by name. Save the model's state dict: "
            "torch.save(model.state_dict(), path)."
        )
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise CheckpointError(
                f"{path} holds a {type(value).__name__} under {name!r} where tensors by name are expected "
                "(at the top level, or under 'model' or 'state_dict'). Save the model's state dict alone."
            )
    return dict(content)


_MOST_WRAPPERS = 8
_NUMBERS = (torch.float64, torch.float32, torch.float16, torch.bfloat16)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else "no further reason"
