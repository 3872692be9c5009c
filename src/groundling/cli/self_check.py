"""Small calculations whose results are known: `groundling doctor --check`."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from groundling.data.scenes import make_scene
from groundling.files import BUNDLED_MODEL
from groundling.ops.boxes import pairwise_iou
from groundling.ops.deformable_attention import deformable_attention, grid, implementation
from groundling.pipeline.detector import Detector

LEVELS = [(9, 7), (4, 4), (1, 2)]

ALLOWED = {torch.float32: 1e-5, torch.float16: 2**-10, torch.bfloat16: 2**-7}
"""Largest error over the largest value: some rounding errors of float32, or one of a half-precision type."""

SAME_BOX = 0.7
"""Intersection over union from which on a box counts as the thing's."""


SCENE_SEED, SCENE = 2024, 5
"""A scene that training has not seen and in which the bundled model finds everything."""


class Check(NamedTuple):
    """The outcome of one check.

    Attributes:
        place: the device.
        subject: what was computed.
        passed: whether the result was right.
        detail: figures, or the error.
    """

    place: str
    subject: str
    passed: bool
    detail: str


def run_checks(devices: list[str]) -> Iterator[Check]:
    """Check on each device what it uses: deformable attention in each dtype, and the bundled model on a drawn scene."""
    for device in devices:
        chosen = implementation(torch.device(device))
        for dtype in ALLOWED:
            subject = f"attention: {chosen}, {str(dtype).removeprefix('torch.')}"
            yield Check(device, subject, *_outcome(partial(_check_attention, device, dtype)))
        yield Check(device, BUNDLED_MODEL, *_outcome(partial(_check_detection, device)))


def _outcome(check: Callable[[], tuple[bool, str]]) -> tuple[bool, str]:
    try:
        return check()
    except Exception as error:  # whatever it is, it is what was asked for, and the other checks go on
        return False, f"{type(error).__name__}: {' '.join(str(error).split())}"


def _check_attention(device: str, dtype: torch.dtype) -> tuple[bool, str]:
    """Compare the result and the gradients with sampling by `grid` in float64 on the CPU."""
    value, location, weight, gradient = _inputs()
    inputs = [value.to(dtype), location.float(), weight.float(), gradient.to(dtype)]
    found = _results(deformable_attention, [x.to(device) for x in inputs])
    expected = _results(grid.deformable_attention, [x.double() for x in inputs])
    errors = [
        ((one.cpu().double() - other).abs().max() / other.abs().max()).item()
        for one, other in zip(found, expected, strict=True)
    ]
    detail = f"error {max(errors):.1e}, limit {ALLOWED[dtype]:.0e}"
    return all(error <= ALLOWED[dtype] for error in errors), detail  # False for an error that is not a number


def _inputs() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Values, locations, weights and a gradient of the result.

    No location is so near a cell's centre that rounding could change its slope.
    """
    random = torch.Generator().manual_seed(0)
    batch, queries, heads, channels, points = 2, 33, 4, 32, 4
    tokens = sum(height * width for height, width in LEVELS)
    value = torch.randn(batch, tokens, heads, channels, generator=random)
    shape = (batch, queries, heads, len(LEVELS), points)
    size_L12 = torch.tensor([[[width, height]] for height, width in LEVELS])
    cell = (torch.rand(*shape, 2, generator=random) * (size_L12 + 2)).floor() - 1
    between = 0.25 * torch.randint(1, 4, (*shape, 2), generator=random)
    weight = torch.rand(shape, generator=random).flatten(3).softmax(dim=-1).view(shape)
    gradient = torch.randn(batch, queries, heads * channels, generator=random)
    return value, (cell + between + 0.5) / size_L12, weight, gradient


def _results(sampling: Callable[..., Tensor], inputs: list[Tensor]) -> list[Tensor]:
    """The result and the gradients of values, locations and weights."""
    *leaves, gradient = (x.detach().clone() for x in inputs)
    value, location, weight = (x.requires_grad_() for x in leaves)
    result = sampling(value, LEVELS, location, weight)
    return [result.detach(), *torch.autograd.grad(result, leaves, gradient)]


def _check_detection(device: str) -> tuple[bool, str]:
    scene = make_scene(SCENE_SEED, SCENE, split="seen", size=192)
    detector = Detector.from_pretrained(BUNDLED_MODEL, device=device, dtype="float32")
    labels = [thing.name for thing in scene.things]
    found = detector(scene.image, labels)
    iou = pairwise_iou(torch.from_numpy(scene.boxes_xyxy), torch.tensor(found.boxes_xyxy))
    right = sum(
        any(
            found.labels[label] == name and overlap > SAME_BOX
            for label, overlap in zip(found.label_ids, row, strict=True)
        )
        for name, row in zip(labels, iou.tolist(), strict=True)
    )
    return right == len(labels), f"found {right} of {len(labels)} drawn things"
