"""Whether a checkpoint's tensors are exactly those that a model has; if not, why."""

from collections.abc import Mapping, Sequence

from torch import Tensor

from groundling.errors import CheckpointError

_SHOWN = 3
_PREFIX = "model."
_HEADS = ("box_heads.", "contrastive_heads.")
_WIDTH_NAME = "image_backbone.patch_embedding.projection.weight"
_PUBLISHED_WIDTHS = {96: "Swin-T", 128: "Swin-B", 192: "Swin-L"}


def fit(state_dict: Mapping[str, Tensor], expected: Mapping[str, Sequence[int]], *, source: str) -> dict[str, Tensor]:
    """Return exactly the tensors that a model expects.

    The heads of a detection checkpoint are set aside when the model expects none, and the prefix `model.` is taken
    off when the model's names have none: the base model loads detection checkpoints.

    Args:
        state_dict: the checkpoint's tensors in our names, with the prefix `model.`.
        expected: name and shape of each tensor of the model, as in its state dict.
        source: what the checkpoint is called, for error messages.

    Raises:
        CheckpointError: a tensor is missing, unexpected or of another shape.
    """
    wants_base_model = not any(name.startswith(_PREFIX) for name in expected)
    found = {
        name.removeprefix(_PREFIX) if wants_base_model else name: tensor
        for name, tensor in state_dict.items()
        if not (wants_base_model and name.startswith(_HEADS))
    }
    not_numbers = [name for name in expected if name in found and not found[name].is_floating_point()]
    if not_numbers:
        raise CheckpointError(
            f"{source} holds {len(not_numbers)} weights that are not floating-point numbers ({_listed(not_numbers)}). "
            "Save them as float32, float16 or bfloat16."
        )
    missing = [name for name in expected if name not in found]
    unexpected = [name for name in found if name not in expected]
    misshapen = [name for name in expected if name in found and tuple(found[name].shape) != tuple(expected[name])]
    if not (missing or unexpected or misshapen):
        return found
    problems = []
    if missing:
        problems.append(f"lacks {len(missing)} of {len(expected)} tensors ({_listed(missing)})")
    if unexpected:
        problems.append(f"holds {len(unexpected)} tensors that the model does not have ({_listed(unexpected)})")
    if misshapen:
        shapes = [f"{name} is {tuple(found[name].shape)}, not {tuple(expected[name])}" for name in misshapen[:_SHOWN]]
        rest = f"; and {len(misshapen) - _SHOWN} more" if len(misshapen) > _SHOWN else ""
        problems.append(f"holds {len(misshapen)} tensors of another shape ({'; '.join(shapes)}{rest})")
    guess = _guess(missing, unexpected, misshapen, {name: tuple(tensor.shape) for name, tensor in found.items()})
    raise CheckpointError(f"{source} does not fit the model: it {', and it '.join(problems)}. {guess}")


def _guess(
    missing: Sequence[str], unexpected: Sequence[str], misshapen: Sequence[str], found: Mapping[str, tuple[int, ...]]
) -> str:
    """Say what probably is the cause, and what to do."""
    has_heads = any(name.startswith("box_heads.") for name in found)
    if missing and not has_heads and all(name.startswith(_HEADS) for name in missing):
        return (
            "The file holds the base model only, without the detection heads. Load it as GroundingDinoModel, "
            "or give a checkpoint of GroundingDinoForObjectDetection."
        )
    if any("contrastive_head" in name for name in unexpected):
        return (
            "The file is an MM-Grounding-DINO checkpoint, but the model is a Grounding DINO. "
            "Load it with AutoModelForZeroShotObjectDetection or an MMGroundingDinoConfig."
        )
    if any("contrastive_head" in name and not name.startswith(_HEADS) for name in missing):
        return (
            "The file is a Grounding DINO checkpoint, but the model is an MM-Grounding-DINO. "
            "Load it with AutoModelForZeroShotObjectDetection or a GroundingDinoConfig."
        )
    if missing and all(name.startswith(_HEADS) for name in missing):
        return (
            "The configuration gives each decoder layer heads of its own, but the file does not hold them all. "
            "Set decoder_bbox_embed_share (and decoder_cls_embed_share) as the checkpoint has it."
        )
    width_name = next((name for name in misshapen if name.endswith(_WIDTH_NAME)), None)
    if width_name is not None:
        width = found[width_name][0]
        published = f", that of {_PUBLISHED_WIDTHS[width]}" if width in _PUBLISHED_WIDTHS else ""
        return (
            f"The file belongs to a model of another size: its image backbone has width {width}{published}. "
            "Load it with its own config.json, or choose the matching preset."
        )
    if misshapen:
        return "The file and the configuration are of different sizes. Load the file with its own config.json."
    return (
        "The file is incomplete or its configuration is another model's. "
        "Load the file with its own config.json, or download both again."
    )


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_SHOWN])
    return f"{shown}, and {len(names) - _SHOWN} more" if len(names) > _SHOWN else shown
