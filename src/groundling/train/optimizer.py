"""AdamW with groups, the learning rate of each step, and the averaged weights."""

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from groundling.errors import ConfigError
from groundling.train.settings import OptimizerSettings

_PARTS = {".image_backbone.": "image_backbone", ".text_backbone.": "text_backbone"}
_NO_DECAY = ("relative_position_bias", "position_embedding", "level_embedding", "image_scale", "text_scale")


def build_optimizer(model: nn.Module, settings: OptimizerSettings) -> torch.optim.AdamW:
    """Build AdamW with a group for each factor of the learning rate and each weight decay.

    Args:
        model: the detector, or a module that holds it; its parameters that require no gradient are left out.
        settings: rates and decay.

    Raises:
        ConfigError: nothing is trained.
    """
    groups: dict[tuple[float, float], list[Tensor]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            part = next((_PARTS[word] for word in _PARTS if word in name), None)
            factor = 1.0 if part is None else float(getattr(settings, part))
            is_matrix = parameter.ndim > 1 and not any(word in name for word in _NO_DECAY)
            groups.setdefault((factor, settings.weight_decay if is_matrix else 0.0), []).append(parameter)
    if not groups:
        raise ConfigError("Nothing is trained: all parameters are frozen. Shorten model.freeze.")
    return torch.optim.AdamW(
        [
            {"params": parameters, "factor": factor, "weight_decay": decay, "lr": settings.learning_rate * factor}
            for (factor, decay), parameters in groups.items()
        ],
        betas=(0.9, settings.beta2),
    )


def rate_at(step: int, settings: OptimizerSettings) -> float:
    """Return the share of the learning rate for a step, from 0: warm-up times schedule."""
    rising = min(1.0, (step + 1) / max(settings.warmup, 1))
    done = step / max(settings.steps, 1)
    if settings.schedule == "constant":
        return rising
    if settings.schedule == "cosine":
        return rising * (settings.final + (1 - settings.final) * 0.5 * (1 + math.cos(math.pi * min(done, 1.0))))
    return float(rising * 0.1 ** sum(done >= milestone for milestone in settings.milestones))


def set_rate(optimizer: torch.optim.Optimizer, step: int, settings: OptimizerSettings) -> float:
    """Set the learning rate of all groups for a step and return the highest."""
    share = rate_at(step, settings)
    for group in optimizer.param_groups:
        group["lr"] = settings.learning_rate * group["factor"] * share
    return settings.learning_rate * share


def averaged(model: nn.Module, decay: float) -> AveragedModel:
    """Return a copy of a model that follows it slowly; the first steps are forgotten sooner.

    Args:
        model: what is trained.
        decay: share of the average that stays at each update.
    """

    def update(average: Sequence[Tensor], current: Iterable[Tensor], count: Tensor | int) -> None:
        share = 1.0 - min(decay, (1.0 + float(count)) / (10.0 + float(count)))
        torch._foreach_lerp_(list(average), list(current), share)

    return AveragedModel(model, multi_avg_fn=torch.no_grad()(update))
