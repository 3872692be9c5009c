"""What need not be computed again: the words for many pictures, the picture for many prompts."""

from collections.abc import Callable
from typing import Any

import torch
from benchmarks.speed.cases import Case
from benchmarks.speed.contenders import Contender, Models, Workload, line_up
from benchmarks.speed.forward import model_inputs
from benchmarks.speed.prompts import many_labels, packed_prompts

from groundling.ops.features import take_images
from groundling.processing.prompt import collate_prompts

MANY = 1203
"""As many labels as LVIS has categories."""

PROMPTS_AT_A_TIME = 4


def caches(case: Case, models: Models) -> Workload:
    """Make the contenders: one picture and one prompt, with none, one or both of their features kept from before."""
    inputs = model_inputs(case, models.settings.device)
    pixels = inputs.pop("pixel_values")

    def ours(kept: str, mode: str, dtype: str) -> Callable[[], Any]:
        model = models.ours(case.preset, mode, dtype)
        with torch.inference_mode():
            image = model.encode_image(pixels) if kept in ("picture", "both") else None
            text = model.encode_text(**inputs) if kept in ("words", "both") else None

        def run() -> Any:
            with torch.inference_mode():
                return model.ground(
                    model.encode_image(pixels) if image is None else image,
                    model.encode_text(**inputs) if text is None else text,
                )

        return run

    def reference(mode: str, dtype: str) -> Callable[[], Any]:
        model = models.reference(case.preset, mode, dtype)
        typed = {"pixel_values": pixels.to(model.dtype), **inputs}

        def run() -> Any:
            with torch.inference_mode():
                return model(**typed)

        return run

    contenders: list[Contender] = []
    for side, mode, dtype in line_up(models.settings, case.dtypes):
        if side == "reference":
            contenders.append(Contender(side, mode, dtype, lambda key=(mode, dtype): reference(*key)))  # type: ignore[misc]
            continue
        contenders += [
            Contender(side, f"{mode}, {kept} cached", dtype, lambda key=(kept, mode, dtype): ours(*key))  # type: ignore[misc]
            for kept in ("nothing", "words", "picture", "both")
        ]
    note = "Many pictures with one prompt: words cached. A second prompt for a picture: picture cached."
    return Workload(contenders, notes=(note, "The reference computes everything each time."))


def labels(case: Case, models: Models) -> Workload:
    """Make the contenders: one picture, 1,203 labels in as few prompts as hold them."""
    device = models.settings.device
    prompts = packed_prompts(many_labels(MANY))
    pixels = model_inputs(case, device)["pixel_values"]

    def texts(at_a_time: int) -> list[dict[str, torch.Tensor]]:
        chunks = [prompts[start : start + at_a_time] for start in range(0, len(prompts), at_a_time)]
        return [{name: ids.to(device) for name, ids in collate_prompts(chunk).items()} for chunk in chunks]

    def ours(at_a_time: int, mode: str, dtype: str) -> Callable[[], Any]:
        model, batches = models.ours(case.preset, mode, dtype), texts(at_a_time)

        def run() -> Any:
            with torch.inference_mode():
                image = model.encode_image(pixels)
                return [
                    model.ground(take_images(image, [0] * len(batch["input_ids"])), model.encode_text(**batch))
                    for batch in batches
                ]

        return run

    def reference(mode: str, dtype: str) -> Callable[[], Any]:
        model, batches = models.reference(case.preset, mode, dtype), texts(1)
        typed = pixels.to(model.dtype)

        def run() -> Any:
            with torch.inference_mode():
                return [model(pixel_values=typed, **batch).pred_boxes for batch in batches]

        return run

    contenders: list[Contender] = []
    for side, mode, dtype in line_up(models.settings, case.dtypes):
        if side == "reference":
            contenders.append(Contender(side, mode, dtype, lambda key=(mode, dtype): reference(*key)))  # type: ignore[misc]
            continue
        contenders += [
            Contender(side, f"{mode}, {count} at a time", dtype, lambda key=(count, mode, dtype): ours(*key))  # type: ignore[misc]
            for count in (1, PROMPTS_AT_A_TIME)
        ]
    return Workload(
        contenders,
        notes=(
            f"{MANY} labels in {len(prompts)} prompts of at most 256 tokens. Ours encodes the picture once; the "
            "reference runs whole for each prompt.",
        ),
    )
