"""From a JPEG file to pixels, from the model's outputs to boxes, and all of it."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from benchmarks.speed.agreement import largest_difference
from benchmarks.speed.cases import Case
from benchmarks.speed.contenders import Agreement, Contender, Models, Workload, line_up, reference_library
from benchmarks.speed.prompts import prompt_of_length
from PIL import Image
from torch import Tensor

from groundling import (
    Detector,
    GroundingDinoForObjectDetection,
    GroundingDinoImageProcessor,
    GroundingDinoProcessor,
)
from groundling.configuration.presets import tiny
from groundling.processing import GroundingDinoTokenizer
from groundling.processing.tokenizer import BUNDLED_VOCABULARY
from groundling.structures.outputs import GroundingDinoObjectDetectionOutput

ONE_LEVEL = 1 / 255 / 0.224
"""One of 256 levels of a channel, after normalisation."""

LEVELS = 2.1
"""Largest difference of a pixel: Pillow and torch round the resized picture in different places."""

THRESHOLD = 0.3
LONGEST_EDGE = 1333
FOUND, QUERIES, COLUMNS = 50, 900, 256
SAME_BOX = 1e-3
"""Boxes count as the same when no coordinate (0..1 of the picture) differs by more."""


def jpeg_file(case: Case, folder: Path) -> Path:
    """Return a JPEG file of the case's size, written where there is none: waves, edges and grain like a photograph."""
    height, width = case.file_hw
    file = folder / f"picture-{height}x{width}.jpg"
    if not file.exists():
        y, x = np.mgrid[0:height, 0:width].astype(np.float32)
        waves = np.stack([np.sin(x / 97) + np.sin(y / 61), np.cos(y / 83), np.sin((x + y) / 113)], axis=-1)
        edges = ((x // 211 + y // 173) % 2)[..., None] * 60
        grain = np.random.default_rng(0).normal(0, 12, (height, width, 1)).astype(np.float32)
        pixels = np.clip(100 + 40 * waves + edges + grain, 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(file, quality=90)
    return file


def our_processor(case: Case) -> GroundingDinoProcessor:
    """Return our processor; a picture's shorter side becomes the case's height."""
    size = {"shortest_edge": case.height, "longest_edge": LONGEST_EDGE}
    return GroundingDinoProcessor(GroundingDinoImageProcessor(size=size), GroundingDinoTokenizer.default())


def reference_processor(case: Case, mode: str = "pillow") -> Any:
    """Return the reference's processor with the same settings."""
    from transformers.models.grounding_dino.image_processing_pil_grounding_dino import GroundingDinoImageProcessorPil

    transformers = reference_library()
    size = {"shortest_edge": case.height, "longest_edge": LONGEST_EDGE}
    kind = GroundingDinoImageProcessorPil if mode == "pillow" else transformers.GroundingDinoImageProcessor
    tokenizer = transformers.BertTokenizer(vocab=str(BUNDLED_VOCABULARY))
    return transformers.GroundingDinoProcessor(kind(size=size), tokenizer)


def _has_torchvision() -> bool:
    return bool(reference_library().utils.is_torchvision_available())


def preprocessing(case: Case, models: Models) -> Workload:
    """Make the contenders: a JPEG file to `pixel_values`."""
    file = jpeg_file(case, models.settings.folder)

    def ours() -> Callable[[], Tensor]:
        detector = Detector(GroundingDinoForObjectDetection(tiny()), our_processor(case))  # the model is not run
        return lambda: detector.prepare(file).pixel_values

    def reference(mode: str) -> Callable[[], Tensor]:
        images = reference_processor(case, mode).image_processor

        def run() -> Tensor:
            with Image.open(file) as picture:
                pixels: Tensor = images(images=picture.convert("RGB"), return_tensors="pt")["pixel_values"]
            return pixels

        return run

    def check(outputs: Mapping[str, Any]) -> list[Agreement]:
        standard, name = outputs.get("reference pillow float32"), "ours Detector.prepare float32"
        if standard is None or name not in outputs:
            return []
        worst = largest_difference(standard, outputs[name]) / ONE_LEVEL
        mean = (standard - outputs[name]).abs().mean().item() / ONE_LEVEL
        return [
            Agreement(name, "pixels, max |Δ| in levels of 256", worst, LEVELS),
            Agreement(name, "pixels, mean |Δ| in levels of 256", mean),
        ]

    contenders = []
    if "reference" in models.settings.sides:
        modes = ["pillow", "torchvision"] if _has_torchvision() else ["pillow"]
        contenders += [Contender("reference", mode, "float32", lambda mode=mode: reference(mode)) for mode in modes]  # type: ignore[misc]
    if "ours" in models.settings.sides:
        contenders.append(Contender("ours", "Detector.prepare", "float32", ours))
    height, width = case.file_hw
    return Workload(contenders, check, (f"A JPEG file of {width} x {height} pixels to pixel_values.",))


def random_outputs(tokens: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
    """Return logits [1, 900, 256] in which 50 queries found something, boxes [1, 900, 4] and token ids [1, T]."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.full((1, QUERIES, COLUMNS), -torch.inf)
    logits[..., : len(tokens)] = torch.randn(1, QUERIES, len(tokens), generator=generator) * 0.5 - 5
    words = torch.randint(1, len(tokens) - 1, (FOUND,), generator=generator)
    logits[0, torch.randperm(QUERIES, generator=generator)[:FOUND], words] = 1.0
    boxes = torch.rand(1, QUERIES, 4, generator=generator) * 0.4 + 0.2
    return logits, boxes, torch.tensor([list(tokens)])


def postprocessing(case: Case, models: Models) -> Workload:
    """Make the contenders: outputs to boxes with words, as documented."""
    logits, boxes, input_ids = random_outputs(prompt_of_length(case.tokens).token_ids)

    def ours() -> Callable[[], Any]:
        return _postprocessor(our_processor(case), GroundingDinoObjectDetectionOutput)

    def reference() -> Callable[[], Any]:
        from transformers.models.grounding_dino.modeling_grounding_dino import GroundingDinoObjectDetectionOutput

        return _postprocessor(reference_processor(case), GroundingDinoObjectDetectionOutput)

    def _postprocessor(processor: Any, kind: Any) -> Callable[[], Any]:
        outputs = kind(logits=logits, pred_boxes=boxes)
        return lambda: processor.post_process_grounded_object_detection(
            outputs, input_ids, threshold=THRESHOLD, text_threshold=THRESHOLD, target_sizes=[case.file_hw]
        )[0]

    def check(outputs: Mapping[str, Any]) -> list[Agreement]:
        if len(outputs) < 2:
            return []
        (expected, actual), name = outputs.values(), list(outputs)[1]
        other_words = sum(a != b for a, b in zip(expected["text_labels"], actual["text_labels"], strict=True))
        return [
            Agreement(name, "boxes in pixels, max |Δ|", largest_difference(expected["boxes"], actual["boxes"]), 1e-2),
            Agreement(name, "scores, max |Δ|", largest_difference(expected["scores"], actual["scores"]), 1e-4),
            Agreement(name, "boxes with other words", float(other_words), 0.0),
        ]

    builders = {"reference": reference, "ours": ours}
    contenders = [Contender(side, "eager", "float32", builders[side]) for side in models.settings.sides]
    return Workload(contenders, check, (f"{QUERIES} queries, of which {FOUND} found something.",))


def end_to_end(case: Case, models: Models) -> Workload:
    """Make the contenders: a JPEG file and labels to boxes; `Detector` beside processor, model, post-processing."""
    file = jpeg_file(case, models.settings.folder)
    labels = list(prompt_of_length(case.tokens).labels)

    def ours(mode: str, dtype: str) -> Callable[[], Tensor]:
        detector = Detector(models.ours(case.preset, mode, dtype), our_processor(case))
        return lambda: torch.tensor(detector(file, labels, threshold=THRESHOLD, aggregate="max").boxes_xyxy)

    def reference(mode: str, dtype: str) -> Callable[[], Tensor]:
        model, processor = models.reference(case.preset, mode, dtype), reference_processor(case)

        def run() -> Tensor:
            with Image.open(file) as picture:
                image = picture.convert("RGB")
            inputs = processor(images=image, text=[labels], return_tensors="pt").to(models.settings.device)
            inputs["pixel_values"] = inputs["pixel_values"].to(model.dtype)
            with torch.inference_mode():
                outputs = model(**inputs)
            (found,) = processor.post_process_grounded_object_detection(
                outputs, inputs["input_ids"], THRESHOLD, THRESHOLD, target_sizes=[image.size[::-1]]
            )
            boxes: Tensor = found["boxes"].cpu()
            return boxes

        return run

    def check(outputs: Mapping[str, Any]) -> list[Agreement]:
        standard = outputs.get("reference eager float32")
        if standard is None:
            return []
        return [
            Agreement(one.name, "boxes that the reference has not, share", missing_share(standard, outputs[one.name]))
            for one in contenders
            if one.name in outputs
        ]

    def missing_share(expected: Tensor, actual: Tensor) -> float:
        scale = torch.tensor([*case.file_hw[::-1], *case.file_hw[::-1]])
        if not len(actual):
            return 0.0
        if not len(expected):
            return 1.0
        expected, actual = ((boxes.float() / scale).clamp(0, 1) for boxes in (expected, actual))
        apart = torch.cdist(actual, expected, p=torch.inf).amin(dim=1)
        return (apart > SAME_BOX).float().mean().item()

    builders = {"ours": ours, "reference": reference}
    contenders = [
        Contender(side, mode, dtype, lambda side=side, mode=mode, dtype=dtype: builders[side](mode, dtype))  # type: ignore[misc]
        for side, mode, dtype in line_up(models.settings, case.dtypes)
    ]
    height, width = case.file_hw
    notes = (
        f"A JPEG file of {width} x {height} pixels and {len(labels)} labels to boxes.",
        "With random weights the last grey level of the pixels changes some boxes.",
    )
    return Workload(contenders, check, notes)
