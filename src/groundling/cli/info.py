"""`groundling info`: what is in a checkpoint."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from groundling.checkpoint import Checkpoint
    from groundling.files import Location


def info(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Folder, checkpoint file or hub id.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show what a checkpoint is: family, sizes, parameters, layout, limits.

    Example: groundling info groundling/nano
    """
    import json

    from rich.console import Console
    from rich.table import Table

    from groundling.checkpoint import load_checkpoint
    from groundling.files import locate

    location = locate(model)
    facts = _describe(load_checkpoint(location), location)
    if as_json:
        typer.echo(json.dumps(facts))
        return
    table = Table(show_header=False)
    for name, value in facts.items():
        table.add_row(name.replace("_", " "), _for_people(value))
    Console(markup=False, highlight=False).print(table)


def _for_people(value: int | str | None) -> str:
    return "not stated" if value is None else f"{value:,}" if isinstance(value, int) else value


def _describe(checkpoint: "Checkpoint", location: "Location") -> dict[str, Any]:
    config = checkpoint.config
    backbone, text = config.backbone_config, config.text_config
    return {
        "model": location.name,
        "family": config.model_type,
        "layout": checkpoint.layout,
        "dtype": str(checkpoint.dtype).removeprefix("torch."),
        "parameters": sum(tensor.numel() for tensor in checkpoint.state_dict.values()),
        "image_backbone": f"{backbone.model_type}, width {backbone.embed_dim}, depths {backbone.depths}",
        "text_backbone": f"{text.model_type}, width {text.hidden_size}, {text.num_hidden_layers} layers",
        "width": config.d_model,
        "feature_levels": config.num_feature_levels,
        "enhancer_layers": config.encoder_layers,
        "decoder_layers": config.decoder_layers,
        "queries": config.num_queries,
        "prompt_limit": config.max_text_len,
        "image_size": _image_size(location),
    }


def _image_size(location: "Location") -> str | None:
    from groundling.pipeline.processor_files import has_image_processor, load_processor

    if location.file is None and not has_image_processor(location):
        return None
    size = load_processor(location).image_processor.size
    if size is None:
        return None
    return ", ".join(f"{name.replace('_', ' ')} {pixels}" for name, pixels in dict(size).items() if pixels is not None)
