"""A training step: forward with labels, loss, backward, optimizer."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from benchmarks.speed.agreement import relative_difference
from benchmarks.speed.cases import Case
from benchmarks.speed.contenders import Agreement, Contender, Models, Workload, line_up
from benchmarks.speed.forward import model_inputs
from torch import Tensor, nn

OBJECTS = 5
"""Labelled objects in each picture."""

LOSS_LIMIT = 1e-3
"""Largest relative difference of the loss: a swapped rank gives two queries other boxes and nothing else."""

LEARNING_RATE = 0.0
"""The optimizer does all its work and the weights stay as they are, so every round computes the same."""


def training(case: Case, models: Models) -> Workload:
    """Make the contenders: the documented forward with labels of both, in training mode, and AdamW.

    In half precision the weights stay in float32 and the forward runs under autocast, as one trains.
    """
    device = models.settings.device
    inputs: dict[str, Any] = {**model_inputs(case, device), "labels": random_labels(case, device)}

    def load(side: str, mode: str, dtype: str) -> nn.Module:
        del dtype
        model: nn.Module = models.of(side, case.preset, mode, "float32")
        return model

    def build(side: str, mode: str, dtype: str) -> Callable[[], float]:
        model = load(side, mode, dtype)
        optimizer = torch.optim.AdamW([one for one in model.parameters() if one.requires_grad], lr=LEARNING_RATE)

        def step() -> float:
            model.train()
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast(device, getattr(torch, dtype), enabled=dtype != "float32"):
                loss: Tensor = model(**inputs).loss
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            return loss.item()

        return step

    def check(outputs: Mapping[str, Any]) -> list[Agreement]:
        """Compare loss and gradient without random drops."""
        checked = [one for one in contenders if one.name in outputs and one.dtype == "float32"]
        standard = next((one for one in checked if one.side == "reference" and one.mode == "eager"), None)
        if standard is None:
            return []
        loss, gradient = loss_and_gradient(load(standard.side, standard.mode, "float32"), inputs)
        found = []
        for one in checked:
            if one.side == "ours":
                our_loss, our_gradient = loss_and_gradient(load(one.side, one.mode, "float32"), inputs)
                relative = abs(our_loss - loss) / abs(loss)
                found.append(Agreement(one.name, "loss, relative", relative, LOSS_LIMIT))
                difference = relative_difference(gradient, our_gradient)
                found.append(Agreement(one.name, "gradient of the first convolution, relative", difference))
        return found

    contenders = [
        Contender(side, mode, dtype, lambda key=(side, mode, dtype): build(*key))  # type: ignore[misc]
        for side, mode, dtype in line_up(models.settings, case.dtypes)
    ]
    notes = (
        f"Batch {case.batch}, {OBJECTS} objects a picture, prompt of {case.tokens} tokens; AdamW on all parameters. "
        "Loss and gradient are compared without dropout. The gradients differ a little: ours also trains the head that "
        "proposes boxes.",
    )
    return Workload(contenders, check, notes)


def random_labels(case: Case, device: str) -> list[dict[str, Tensor]]:
    """Return labels as documented: `class_labels` [n] and `boxes` [n, 4] (cx, cy, w, h) in 0..1."""
    generator = torch.Generator().manual_seed(0)
    return [
        {
            "class_labels": torch.randint(0, 2, (OBJECTS,), generator=generator).to(device),
            "boxes": (torch.rand(OBJECTS, 4, generator=generator) * 0.4 + 0.1).to(device),
        }
        for _ in range(case.batch)
    ]


def loss_and_gradient(model: nn.Module, inputs: Mapping[str, Any]) -> tuple[float, Tensor]:
    """Return the loss and the gradient of the convolution that cuts the picture into patches, the longest way back."""
    model.eval().zero_grad(set_to_none=True)
    loss = model(**inputs).loss
    loss.backward()
    patches = next(one for one in model.modules() if isinstance(one, nn.Conv2d) and one.in_channels == 3)
    assert patches.weight.grad is not None
    gradient = patches.weight.grad.clone()
    model.zero_grad(set_to_none=True)
    return loss.item(), gradient
