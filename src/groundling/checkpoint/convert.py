"""From any layout to any other."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Unpack

import torch

from groundling.checkpoint.fitting import fit
from groundling.checkpoint.key_maps import Layout
from groundling.checkpoint.loading import Checkpoint, load_checkpoint
from groundling.checkpoint.saving import save_checkpoint
from groundling.configuration import DetectorConfig
from groundling.files import HubOptions, locate

_ONE_FILE_ENDINGS = (".pth", ".pt")
_ONE_FILE_LAYOUTS: dict[str, Layout] = {"grounding-dino": "original", "mm-grounding-dino": "mmdetection"}

Expected = Callable[[Checkpoint], Mapping[str, Sequence[int]]]


def convert(
    source: str | os.PathLike[str],
    destination: str | os.PathLike[str],
    *,
    layout: Layout | None = None,
    dtype: torch.dtype | str | None = None,
    expected: Expected | None = None,
    **options: Unpack[HubOptions],
) -> Checkpoint:
    """Write a checkpoint in another layout, or in the same one with another dtype.

    Args:
        source: folder, file or hub id.
        destination: folder or file.
        layout: layout to write; None is the original layout (Grounding DINO) or MMDetection's (MM-Grounding-DINO) for a
            destination that ends in `.pth` or `.pt`, and the Hugging Face layout for any other.
        dtype: type in which floating-point tensors are written; None keeps theirs.
        expected: gives the name and shape of each tensor that the model of a checkpoint must have; where given, the
            source is checked before anything is written.
        **options: how a hub id is looked up.

    Returns:
        What was read.

    Raises:
        CheckpointError: the source cannot be read or is incomplete, or the layout cannot hold the model.
        ConfigError: the source's configuration or an argument is not valid.
    """
    checkpoint = load_checkpoint(locate(source, **options))
    if expected is not None:
        fit(checkpoint.state_dict, expected(checkpoint), source=os.fspath(source))
    save_checkpoint(
        checkpoint.state_dict,
        checkpoint.config,
        destination,
        layout=layout or _default_layout(destination, checkpoint.config),
        dtype=dtype,
    )
    return checkpoint


def _default_layout(destination: str | os.PathLike[str], config: DetectorConfig) -> Layout:
    if Path(destination).suffix in _ONE_FILE_ENDINGS:
        return _ONE_FILE_LAYOUTS[config.model_type]
    return "hugging_face"
