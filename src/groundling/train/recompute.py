"""Gradient checkpointing: less memory for more time (Chen et al. 2016)."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from groundling.model.grounding_dino import GroundingDinoForObjectDetection
from groundling.model.swin import SwinStage


def recompute_layers(detector: GroundingDinoForObjectDetection) -> None:
    """Let the blocks of both backbones and the enhancer's layers forget their values until the backward pass.

    They are computed again there with the same random numbers, so the gradients are the same. Names of parameters do
    not change.

    Args:
        detector: changed in place.
    """
    for layer in _layers(detector):
        # A bound method: a deep copy of the layer is bound to the copy.
        layer.forward = partial(_recomputed, layer.forward)


def _layers(detector: GroundingDinoForObjectDetection) -> Iterator[nn.Module]:
    for stage in detector.model.image_backbone.stages:
        assert isinstance(stage, SwinStage)
        yield from stage.blocks
    yield from detector.model.text_backbone.layers
    yield from detector.model.feature_enhancer.layers


def _recomputed(forward: Callable[..., Any], *arguments: Any) -> Any:
    if not torch.is_grad_enabled():
        return forward(*arguments)
    return checkpoint(forward, *arguments, use_reentrant=False)
