"""A checkpoint of any layout, as a configuration and a state dict in our names."""

import copy
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor

from groundling.checkpoint.heads import settle_heads
from groundling.checkpoint.inference import infer_config
from groundling.checkpoint.key_maps import Layout, detect_layout, key_map_for_reading
from groundling.checkpoint.reading import read_tensors
from groundling.checkpoint.rules import read_names
from groundling.configuration import CONFIG_NAME, DetectorConfig, read_config
from groundling.errors import CheckpointError
from groundling.files import Location

_SHOWN = 3
_FINAL_NORM = "model.image_backbone.final_norm"
_LAST_NORM = "model.image_backbone.stages.{}.blocks.0.attention_norm.weight"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint in memory.

    Attributes:
        config: what the model is made of; the sharing flags agree with the tensors.
        state_dict: the tensors in our names, with the prefix `model.`; without heads if the file has none.
        layout: the layout of the file.
        dtype: the type of all floating-point tensors: that which `config.json` says, else that of the file.
    """

    config: DetectorConfig
    state_dict: dict[str, Tensor]
    layout: Layout
    dtype: torch.dtype


def load_checkpoint(location: Location, *, config: DetectorConfig | None = None) -> Checkpoint:
    """Read a checkpoint of any layout.

    Args:
        location: a folder, a file or a hub repository.
        config: used instead of the checkpoint's own. Without it, it is read from `config.json`, or from the shapes of
            the tensors where there is no such file. It is not changed; the result has a copy.

    Raises:
        CheckpointError: the files are missing or damaged, or do not hold a Grounding DINO.
        ConfigError: `config.json` is not valid.
    """
    tensors = read_tensors(location)
    layout = detect_layout(list(tensors), source=location.name)
    state_dict, unknown = read_names(tensors, key_map_for_reading(layout, tensors))
    if unknown:
        shown = ", ".join(repr(name) for name in unknown[:_SHOWN])
        raise CheckpointError(
            f"{location.name} holds {len(unknown)} of {len(tensors)} tensors that have no place in a Grounding DINO of "
            f"the {layout} layout, first: {shown}. Remove them from the file if the model does not need them."
        )
    _add_final_norm(state_dict)
    dtype = _dtype(state_dict)
    if config is not None:
        config = copy.deepcopy(config)
    elif layout == "hugging_face" and location.find(CONFIG_NAME) is not None:
        config = read_config(location)
        dtype = config.dtype or dtype
    else:
        config = _inferred(state_dict, location.name)
        if layout != "hugging_face":
            config.dropout = 0.0  # both were trained without; the Hugging Face layout's default is 0.1
    state_dict, config = settle_heads(state_dict, config)
    state_dict = {
        name: tensor.to(dtype) if tensor.is_floating_point() else tensor for name, tensor in state_dict.items()
    }
    config.dtype = dtype
    return Checkpoint(config=config, state_dict=state_dict, layout=layout, dtype=dtype)


def _inferred(state_dict: dict[str, Tensor], source: str) -> DetectorConfig:
    try:
        return infer_config(state_dict, source=source)
    except (IndexError, ZeroDivisionError, OverflowError) as error:
        raise CheckpointError(
            f"{source} has no configuration, and its tensors have shapes that no Grounding DINO has. Download it again."
        ) from error


def _add_final_norm(state_dict: dict[str, Tensor]) -> None:
    """Add the norm after Swin's last stage if the file has none: nothing uses it, but the documented model has it."""
    stage = 0
    while _LAST_NORM.format(stage + 1) in state_dict:
        stage += 1
    like = state_dict.get(_LAST_NORM.format(stage))
    if like is not None:
        state_dict.setdefault(f"{_FINAL_NORM}.weight", torch.ones_like(like))
        state_dict.setdefault(f"{_FINAL_NORM}.bias", torch.zeros_like(like))


def _dtype(state_dict: dict[str, Tensor]) -> torch.dtype:
    """Return the widest floating-point type, so that nothing of a mixed file is lost."""
    types = {tensor.dtype for tensor in state_dict.values() if tensor.is_floating_point()}
    return reduce(torch.promote_types, types) if types else torch.float32
