"""How each layout names the tensors, and how a layout is recognised."""

import re
from collections.abc import Iterable, Sequence
from typing import Literal, get_args

from groundling.checkpoint.key_maps.hugging_face import HUGGING_FACE
from groundling.checkpoint.key_maps.mmdetection import mmdetection
from groundling.checkpoint.key_maps.original import ORIGINAL
from groundling.checkpoint.rules import KeyMap
from groundling.errors import CheckpointError

Layout = Literal["hugging_face", "original", "mmdetection"]
LAYOUTS: tuple[Layout, ...] = get_args(Layout)

__all__ = ["LAYOUTS", "Layout", "detect_layout", "key_map_for_reading", "key_map_for_writing"]

# Names that only one layout has, from different parts of the model.
_SIGNS: dict[Layout, str] = {
    "hugging_face": r"^(model\.)?(backbone\.conv_encoder\.|query_position_embeddings\.|encoder_output_bbox_embed\.)",
    "original": r"^(backbone\.0\.|transformer\.|feat_map\.)",
    "mmdetection": r"^(backbone\.(patch_embed|stages)\.|neck\.|bbox_head\.|memory_trans_|language_model\.)",
}


def detect_layout(names: Sequence[str], *, source: str) -> Layout:
    """Recognise a layout by the names of its tensors.

    Args:
        names: the tensors' names.
        source: the file, for the error message.

    Raises:
        CheckpointError: no layout has such names.
    """
    signs = {layout: sum(bool(re.search(sign, name)) for name in names) for layout, sign in _SIGNS.items()}
    best = max(LAYOUTS, key=lambda layout: signs[layout])
    if signs[best] == 0:
        shown = ", ".join(repr(name) for name in names[:3])
        raise CheckpointError(
            f"{source} holds {len(names)} tensors ({shown}, ...), which are not those of a Grounding DINO. "
            "Known are Hugging Face folders, the original .pth files and MMDetection's .pth files."
        )
    return best


def key_map_for_reading(layout: Layout, names: Iterable[str]) -> KeyMap:
    """Return a layout's key map for a file with these names."""
    if layout == "mmdetection":
        names = list(names)
        return mmdetection(
            backbone_maps=_count(r"neck\.convs\.(\d+)\.", names),
            decoder_layers=_count(r"decoder\.layers\.(\d+)\.", names),
        )
    return HUGGING_FACE if layout == "hugging_face" else ORIGINAL


def key_map_for_writing(layout: Layout, *, backbone_maps: int, decoder_layers: int) -> KeyMap:
    """Return a layout's key map for a model of this shape."""
    if layout == "mmdetection":
        return mmdetection(backbone_maps=backbone_maps, decoder_layers=decoder_layers)
    return HUGGING_FACE if layout == "hugging_face" else ORIGINAL


def _count(pattern: str, names: Iterable[str]) -> int:
    return len({found[1] for found in (re.match(pattern, name) for name in names) if found})
