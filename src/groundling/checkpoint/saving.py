"""Writing checkpoints; what is on disk is the previous checkpoint or the new one, whole."""

import json
import os
import re
import shutil
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from string import ascii_lowercase
from typing import Any

import torch
from huggingface_hub import split_torch_state_dict_into_shards
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from groundling.checkpoint.heads import give_every_layer_its_heads, is_detector, settle_heads
from groundling.checkpoint.key_maps import LAYOUTS, Layout, key_map_for_writing
from groundling.checkpoint.reading import INDEX_NAME, WEIGHTS_NAME
from groundling.checkpoint.rules import write_names
from groundling.configuration import CONFIG_NAME, DetectorConfig, float_type
from groundling.errors import CheckpointError, ConfigError
from groundling.files import atomic_path

_PREFIX = "model."
_FAMILY_NAMES = {"grounding-dino": "GroundingDino", "mm-grounding-dino": "MMGroundingDino"}
_OUR_SHARDS = re.compile(r"model-\d{5}-of-\d{5}(-[a-z])?\.safetensors")


def save_checkpoint(
    state_dict: Mapping[str, Tensor],
    config: DetectorConfig,
    destination: str | os.PathLike[str],
    *,
    layout: Layout = "hugging_face",
    max_shard_size: int | str = "5GB",
    dtype: torch.dtype | str | None = None,
    architecture: str | None = None,
) -> None:
    """Write a checkpoint.

    The Hugging Face layout is a folder with `config.json` and `model.safetensors`, or shards and their index; other
    files of the folder stay. The other layouts are one file of `torch.save`. If saving fails, what was there before
    is still there.

    Args:
        state_dict: tensors in our names, of the detection model or (without heads) of the base model, whose names may
            lack the prefix `model.`.
        config: the model's configuration; it is not changed. The sharing flags that are written agree with the tensors.
        destination: folder, or file for the layouts of one file.
        layout: "hugging_face", "original" or "mmdetection".
        max_shard_size: largest size of a file of the Hugging Face layout, in bytes or such as "5GB".
        dtype: type in which floating-point tensors are written; None keeps theirs.
        architecture: class name in `config.json`; None is the documented one for these tensors.

    Raises:
        CheckpointError: the layout cannot hold this model, or the destination is of the wrong kind.
        ConfigError: an argument is not valid.
    """
    if layout not in LAYOUTS:
        raise ConfigError(f"layout={layout!r} is unknown. Choose one of {', '.join(map(repr, LAYOUTS))}.")
    path = Path(destination)
    _check_destination(path, layout)
    tensors = _converted(_with_prefix(state_dict), None if dtype is None else float_type(dtype))
    tensors, config = settle_heads(tensors, config)
    config.validate()
    try:
        _write(tensors, config, path, layout=layout, max_shard_size=max_shard_size, architecture=architecture)
    except (SafetensorError, RuntimeError) as error:  # how these writers report a full disk
        raise CheckpointError(
            f"{path} could not be written ({str(error).splitlines()[0]}). Is the disk full? "
            "What was there is unchanged."
        ) from error


def _write(
    tensors: dict[str, Tensor],
    config: DetectorConfig,
    path: Path,
    *,
    layout: Layout,
    max_shard_size: int | str,
    architecture: str | None,
) -> None:
    if layout != "hugging_face":
        _save_file(tensors, config, path, layout)
        return
    values = _config_values(tensors, config, architecture)
    names = key_map_for_writing("hugging_face", backbone_maps=0, decoder_layers=config.decoder_layers)
    written = write_names(tensors, names)
    if not is_detector(tensors):
        written = {name.removeprefix(_PREFIX): tensor for name, tensor in written.items()}
    _save_folder(written, values, path, max_shard_size)


def _check_destination(path: Path, layout: Layout) -> None:
    if layout == "hugging_face" and path.is_file():
        raise CheckpointError(f"{path} is a file, but the Hugging Face layout is a folder. Give a folder.")
    if layout != "hugging_face" and path.is_dir():
        raise CheckpointError(
            f"{path} is a folder, but the {layout} layout is one file. Give a name such as model.pth."
        )


def _with_prefix(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    if any(name.startswith(_PREFIX) for name in state_dict):
        return dict(state_dict)
    return {f"{_PREFIX}{name}": tensor for name, tensor in state_dict.items()}


def _converted(tensors: Mapping[str, Tensor], dtype: torch.dtype | None) -> dict[str, Tensor]:
    """Return tensors on the CPU, each with a memory of its own, in which it lies without gaps."""
    converted = {}
    for name, tensor in tensors.items():
        target = dtype if tensor.is_floating_point() else None
        moved = tensor.detach().to(device="cpu", dtype=target).contiguous()
        is_part = moved.untyped_storage().nbytes() != moved.nbytes
        converted[name] = moved.clone() if is_part else moved
    return converted


def _config_values(tensors: Mapping[str, Tensor], config: DetectorConfig, architecture: str | None) -> dict[str, Any]:
    if architecture is None:
        architecture = _FAMILY_NAMES[config.model_type] + ("ForObjectDetection" if is_detector(tensors) else "Model")
    dtype = next((tensor.dtype for tensor in tensors.values() if tensor.is_floating_point()), torch.float32)
    values: dict[str, Any] = json.loads(config.to_json_string())
    return values | {"architectures": [architecture], "dtype": str(dtype).removeprefix("torch.")}


def _save_file(tensors: Mapping[str, Tensor], config: DetectorConfig, path: Path, layout: Layout) -> None:
    if not is_detector(tensors):
        raise CheckpointError(
            f"The {layout} layout holds detection models only, and this is the base model without its heads. "
            "Write the Hugging Face layout."
        )
    if layout == "original" and config.model_type != "grounding-dino":
        raise CheckpointError(
            f"The original layout has no place for the contrastive heads' biases of a {config.model_type} model. "
            "Write the mmdetection or the Hugging Face layout."
        )
    key_map = key_map_for_writing(
        layout,
        backbone_maps=len(config.backbone_config.out_indices),
        decoder_layers=config.decoder_layers,
    )
    written = write_names(give_every_layer_its_heads(tensors, config.decoder_layers), key_map)
    content = {"model": written} if layout == "original" else {"meta": {}, "state_dict": written}
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        torch.save(content, file)


def _save_folder(
    tensors: dict[str, Tensor], values: Mapping[str, Any], folder: Path, max_shard_size: int | str
) -> None:
    """Write all files beside the old ones, put them in place at the end, and then remove old files of no more use.

    The files are put in place in the reverse order of opening: shards, index or whole file, configuration. The shards
    never have the names of those that an older index lists, so that the index, which is one file, switches from the
    old checkpoint to the new one at once.
    """
    files = _split(tensors, max_shard_size, folder)
    with ExitStack() as stack:
        config = _stage_json(stack, folder / CONFIG_NAME, values)
        if len(files) > 1:
            _stage_json(stack, folder / INDEX_NAME, _index(files))
        for name, part in files.items():
            temporary = stack.enter_context(atomic_path(folder / name))
            save_file(part, temporary, metadata={"format": "pt"})
            shutil.copymode(config, temporary)  # safetensors lets only the owner read, whatever the umask
    kept = {*files, INDEX_NAME} if len(files) > 1 else set(files)
    # A reader prefers the whole file, so it goes first: until then the old weights are read, from then on the new ones.
    for old in sorted(folder.iterdir(), key=lambda path: (path.name != WEIGHTS_NAME, path.name != INDEX_NAME)):
        is_weights = old.name in (WEIGHTS_NAME, INDEX_NAME) or _OUR_SHARDS.fullmatch(old.name)
        if is_weights and old.name not in kept:
            old.unlink()


def _stage_json(stack: ExitStack, path: Path, value: Mapping[str, Any]) -> Path:
    temporary = stack.enter_context(atomic_path(path))
    temporary.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return temporary


def _split(tensors: dict[str, Tensor], max_shard_size: int | str, folder: Path) -> dict[str, dict[str, Tensor]]:
    """Return the tensors of each file."""
    if isinstance(max_shard_size, int) and max_shard_size < 1:
        raise ConfigError(f"max_shard_size={max_shard_size!r} is not a size: it must be at least 1 byte.")
    try:
        plan = split_torch_state_dict_into_shards(
            tensors, filename_pattern="model{suffix}.safetensors", max_shard_size=max_shard_size
        )
    except ValueError as error:
        raise ConfigError(
            f"max_shard_size={max_shard_size!r} is not a size: {error} Write for example '5GB'."
        ) from error
    names = list(plan.filename_to_tensors)
    if len(names) > 1 and any((folder / name).exists() for name in names):
        variant = next(letter for letter in ascii_lowercase if not (folder / _variant(names[0], letter)).exists())
        renamed = {name: _variant(name, variant) for name in names}
    else:
        renamed = {name: name for name in names}
    return {renamed[name]: {key: tensors[key] for key in keys} for name, keys in plan.filename_to_tensors.items()}


def _variant(name: str, letter: str) -> str:
    return f"{Path(name).stem}-{letter}.safetensors"


def _index(files: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Any]:
    tensors = [tensor for part in files.values() for tensor in part.values()]
    return {
        "metadata": {
            "total_parameters": sum(tensor.numel() for tensor in tensors),
            "total_size": sum(tensor.nbytes for tensor in tensors),
        },
        "weight_map": {name: file for file, part in files.items() for name in part},
    }
