"""Weights of a fresh model."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from groundling.configuration import DetectorConfig
from groundling.model.feature_enhancer import ImageTextFusion, Projection
from groundling.model.heads import MLP
from groundling.model.layers import DeformableAttention
from groundling.model.position_encoding import LearnedPositionEncoding

_FILLING: frozenset[Callable[..., Tensor]] = frozenset(
    {Tensor.normal_, Tensor.uniform_, nn.init.constant_, nn.init.kaiming_uniform_, nn.init.normal_, nn.init.uniform_}
)


class _WithoutValues(TorchFunctionMode):
    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func in _FILLING:
            return args[0] if args else (kwargs or {})["tensor"]
        return (torch.empty if func is torch.randn else func)(*args, **(kwargs or {}))


@contextmanager
def shapes_only() -> Iterator[None]:
    """Build modules in this context as shapes without values; a checkpoint's tensors take their place.

    It is torch's meta device without random numbers: torch computes those there by its compiler's decompositions, and
    to import these takes more than a second.
    """
    with torch.device("meta"), _WithoutValues():
        yield


def initialize(model: nn.Module, config: DetectorConfig) -> None:
    """Fill a model with fresh weights, as the documented classes do.

    Linear layers, convolutions and embeddings are normal with each part's own deviation and zero bias; sampling
    offsets point around the circle, attention weights are even; the last layer of every small network is zero, so that
    boxes start at their proposals. A model of shapes without values stays as it is.
    """
    if next(model.parameters()).is_meta:
        return
    deviations = {
        "image_backbone": config.backbone_config.initializer_range,
        "text_backbone": config.text_config.initializer_range,
    }
    for name, module in model.named_modules():
        part = next((part for part in deviations if part in name.split(".")), None)
        _normal(module, deviations[part] if part else config.init_std)
    for module in model.modules():
        _special(module)


@torch.no_grad()
def _normal(module: nn.Module, deviation: float) -> None:
    if isinstance(module, nn.Linear | nn.Conv2d | Projection):
        module.weight.normal_(0.0, deviation)
        if module.bias is not None:
            module.bias.zero_()
    elif isinstance(module, nn.Embedding):
        module.weight.normal_(0.0, deviation)
        if module.padding_idx is not None:
            module.weight[module.padding_idx].zero_()


@torch.no_grad()
def _special(module: nn.Module) -> None:
    if isinstance(module, DeformableAttention):
        _deformable_attention(module)
    elif isinstance(module, ImageTextFusion):
        for linear in module.children():
            if isinstance(linear, nn.Linear | Projection):
                nn.init.xavier_uniform_(linear.weight)
    elif isinstance(module, MLP):
        last = module.layers[-1]
        for parameter in last.parameters():
            nn.init.zeros_(parameter)
    elif isinstance(module, LearnedPositionEncoding):
        module.row_embedding.weight.uniform_()
        module.column_embedding.weight.uniform_()


def _deformable_attention(module: DeformableAttention) -> None:
    num_heads, num_levels, num_points = module.shape
    nn.init.zeros_(module.sampling_offsets.weight)
    angle_H = torch.arange(num_heads) * (2 * math.pi / num_heads)
    direction_H2 = torch.stack([angle_H.cos(), angle_H.sin()], dim=-1)
    direction_H2 = direction_H2 / direction_H2.abs().amax(dim=-1, keepdim=True)
    reach_P = torch.arange(1, num_points + 1)
    offset_HLP2 = (direction_H2[:, None, None] * reach_P[:, None]).expand(-1, num_levels, -1, -1)
    module.sampling_offsets.bias.copy_(offset_HLP2.reshape(-1))
    nn.init.zeros_(module.attention_weights.weight)
    nn.init.zeros_(module.attention_weights.bias)
    for linear in (module.value, module.output):
        nn.init.xavier_uniform_(linear.weight)
        nn.init.zeros_(linear.bias)
