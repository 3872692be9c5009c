"""Which prediction heads the decoder layers share: the tensors decide, not the flags.

MM-Grounding-DINO was trained with heads of its own for every decoder layer, but files exist whose configuration says
that the heads are shared. Following the flag would silently replace the later heads by the first one.
"""

import copy
import re
from collections.abc import Mapping
from typing import TypeVar

from torch import Tensor

from groundling.checkpoint.rules import same_tensor
from groundling.configuration import DetectorConfig

SHARING_FLAGS = {"box_heads": "decoder_bbox_embed_share", "contrastive_heads": "decoder_cls_embed_share"}

AnyConfig = TypeVar("AnyConfig", bound=DetectorConfig)


def is_detector(names: Mapping[str, object]) -> bool:
    """Whether a state dict in our names has the detection heads, or is that of the base model."""
    return any(name.startswith("box_heads.") for name in names)


def settle_heads(tensors: Mapping[str, Tensor], config: AnyConfig) -> tuple[dict[str, Tensor], AnyConfig]:
    """Make heads and flags agree.

    Heads of several decoder layers stay as they are, and the flag says so, unless the flag says that they are shared
    and their values are equal; then one is kept.

    Returns:
        The tensors, and the configuration, a changed copy where a flag was wrong.
    """
    tensors = dict(tensors)
    for kind, flag in SHARING_FLAGS.items():
        heads = split_heads(tensors, kind)
        if not heads or not getattr(config, flag, True):
            continue
        first = heads[min(heads)]
        if all(_same_head(head, first) for head in heads.values()):
            tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith(f"{kind}.")}
            tensors |= {f"{kind}.0.{name}": tensor for name, tensor in first.items()}
        else:
            config = _unshared(config, flag)
    return tensors, config


def give_every_layer_its_heads(tensors: Mapping[str, Tensor], decoder_layers: int) -> dict[str, Tensor]:
    """Repeat shared heads for layouts that store one for each decoder layer."""
    repeated = dict(tensors)
    for kind in SHARING_FLAGS:
        heads = split_heads(tensors, kind)
        if set(heads) == {0}:
            for layer in range(1, decoder_layers):
                repeated |= {f"{kind}.{layer}.{name}": tensor for name, tensor in heads[0].items()}
    return repeated


def split_heads(tensors: Mapping[str, Tensor], kind: str) -> dict[int, dict[str, Tensor]]:
    """Return the tensors of each decoder layer's head, by the layer's number and the name within the head."""
    heads: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        found = re.fullmatch(rf"{kind}\.(\d+)\.(.+)", name)
        if found:
            heads.setdefault(int(found[1]), {})[found[2]] = tensor
    return heads


def _same_head(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(same_tensor(one[name], other[name]) for name in one)


def _unshared(config: AnyConfig, flag: str) -> AnyConfig:
    config = copy.deepcopy(config)
    setattr(config, flag, False)
    if getattr(config, "two_stage_bbox_embed_share", False):
        config.two_stage_bbox_embed_share = False  # it is without effect, and not allowed with unshared heads
    return config
