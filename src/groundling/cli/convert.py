"""`groundling convert`: a checkpoint in another layout or number format."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from groundling.cli.options import Dtype
from groundling.errors import CheckpointError

if TYPE_CHECKING:
    import torch

    from groundling.checkpoint import Checkpoint


class LayoutName(StrEnum):
    """Layouts that can be written."""

    hugging_face = "hugging_face"
    original = "original"
    mmdetection = "mmdetection"


def convert(
    source: Annotated[str, typer.Argument(metavar="SRC", help="Folder, checkpoint file or hub id.")],
    destination: Annotated[Path, typer.Argument(metavar="DST", help="Folder (Hugging Face layout) or .pth file.")],
    layout: Annotated[
        LayoutName | None, typer.Option("--layout", help="Layout to write; else DST's ending says it.")
    ] = None,
    dtype: Annotated[Dtype | None, typer.Option("--dtype", help="Number format to write; else the same.")] = None,
) -> None:
    """Write a checkpoint in another layout or number format.

    Example: groundling convert groundling/nano half-nano --dtype float16
    """
    from groundling.checkpoint import convert as convert_checkpoint
    from groundling.files import locate
    from groundling.pipeline.processor_files import copy_processor_files

    _check_destination(source, destination)
    checkpoint = convert_checkpoint(
        source,
        destination,
        layout=None if layout is None else layout.value,
        dtype=None if dtype is None else dtype.value,
        expected=_expected_tensors,
    )
    if destination.is_dir():
        copy_processor_files(locate(source), destination)
    count = sum(tensor.numel() for tensor in checkpoint.state_dict.values())
    typer.echo(
        f"wrote {destination}: {checkpoint.config.model_type}, {count:,} parameters, read as {checkpoint.layout}"
    )


def _check_destination(source: str, destination: Path) -> None:
    """Refuse to overwrite the source, and to fill a folder of other things with a checkpoint."""
    origin = Path(source).expanduser()
    if origin.exists() and destination.exists() and destination.samefile(origin):
        raise CheckpointError(f"{source} would be converted onto itself. Name another destination.")
    if destination.suffix and destination.suffix not in (".pth", ".pt") and not destination.is_dir():
        raise CheckpointError(
            f"{destination} ends neither like a folder nor like a .pth file. Name a folder for the Hugging Face "
            "layout, or a file such as model.pth."
        )
    if destination.is_dir() and any(destination.iterdir()) and not (destination / "config.json").exists():
        raise CheckpointError(f"The folder {destination} holds other files. Name a new folder or that of a checkpoint.")


def _expected_tensors(checkpoint: "Checkpoint") -> "dict[str, torch.Size]":
    """Build the checkpoint's model without memory, so that half a checkpoint is not converted."""
    from groundling.auto import AutoModel, AutoModelForZeroShotObjectDetection
    from groundling.checkpoint.heads import is_detector
    from groundling.model.initialization import shapes_only

    with shapes_only():
        family = AutoModelForZeroShotObjectDetection if is_detector(checkpoint.state_dict) else AutoModel
        model = family.from_config(checkpoint.config)
    return {name: tensor.shape for name, tensor in model.state_dict().items()}
