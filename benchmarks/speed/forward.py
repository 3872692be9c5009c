"""The model alone: pixels and token ids in, boxes and probabilities out."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from benchmarks.speed.agreement import same_proposals, whole_results
from benchmarks.speed.cases import Case
from benchmarks.speed.contenders import Agreement, Contender, Models, Workload, line_up
from benchmarks.speed.prompts import prompt_of_length
from torch import Tensor

from groundling.processing.prompt import collate_prompts

STANDARD = "reference eager float32"
"""The contender that all are compared with."""


def random_pixels(case: Case, device: str) -> Tensor:
    """Return normalised pixels [B, 3, H, W] that have no structure; the time does not depend on what is seen."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(case.batch, 3, case.height, case.width, generator=generator).to(device)


def model_inputs(case: Case, device: str) -> dict[str, Tensor]:
    """Return the arguments of a forward, the same for both sides; no picture is padded."""
    texts = collate_prompts([prompt_of_length(case.tokens)] * case.batch)
    return {"pixel_values": random_pixels(case, device)} | {name: ids.to(device) for name, ids in texts.items()}


def forward(case: Case, models: Models) -> Workload:
    """Make the contenders: the documented forward of both, without gradients."""
    device = models.settings.device
    inputs = model_inputs(case, device)

    def build(side: str, mode: str, dtype: str) -> Callable[[], Any]:
        model = models.of(side, case.preset, mode, dtype)
        typed = inputs | {"pixel_values": inputs["pixel_values"].to(getattr(torch, dtype))}

        def run() -> Any:
            with torch.inference_mode():
                return model(**typed)

        return run

    def check(outputs: Mapping[str, Any]) -> list[Agreement]:
        found: list[Agreement] = []
        if (expected := outputs.get(STANDARD)) is None:
            return found
        for one in contenders:
            if one.name in outputs and one.name != STANDARD:
                if (one.side, one.dtype) == ("ours", "float32"):
                    model = models.ours(case.preset, one.mode, one.dtype)
                    found += same_proposals(one.name, expected, model, inputs)
                found += whole_results(one.name, expected, outputs[one.name])
        return found

    contenders = [
        Contender(side, mode, dtype, lambda key=(side, mode, dtype): build(*key))  # type: ignore[misc]
        for side, mode, dtype in line_up(models.settings, case.dtypes)
    ]
    notes = (f"Random weights and pixels; batch {case.batch}, prompt of {case.tokens} tokens.",)
    return Workload(contenders, check, notes)
