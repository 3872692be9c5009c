"""What a picture's predictions are compared with.

Shapes: G labelled object, T text token, P phrase.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from groundling.errors import DatasetError

LARGEST_COORDINATE = 1.001
"""Fractions may pass 1 by rounding; pixels are far above."""


class Targets(NamedTuple):
    """The labelled objects of one picture.

    Attributes:
        box_G4: boxes (cx, cy, w, h) in 0..1 of the un-padded picture.
        positive_GT: 1 on the tokens of each object's phrase, 0 elsewhere.
    """

    box_G4: Tensor
    positive_GT: Tensor


def read_targets(labels: Sequence[Mapping[str, Tensor]], maps_PT: Sequence[Tensor]) -> list[Targets]:
    """Join each picture's labels with its own prompt.

    Args:
        labels: for each picture `class_labels` [G], indices of phrases in that picture's prompt, and `boxes` [G, 4].
        maps_PT: for each picture which tokens spell which phrase.

    Raises:
        DatasetError: the number of pictures differs, a label names no phrase, or a box is not usable.
    """
    if isinstance(labels, Mapping):
        raise DatasetError("labels is one dict. Give a list with one dict for each picture.")
    if len(labels) != len(maps_PT):
        raise DatasetError(f"labels has {len(labels)} entries for {len(maps_PT)} pictures. Give one for each picture.")
    return [_read(index, label, map_PT) for index, (label, map_PT) in enumerate(zip(labels, maps_PT, strict=True))]


def _read(index: int, label: Mapping[str, Tensor], map_PT: Tensor) -> Targets:
    missing = [key for key in ("class_labels", "boxes") if key not in label]
    if missing:
        raise DatasetError(f"labels[{index}] lacks {' and '.join(missing)}. It has: {', '.join(label) or 'nothing'}.")
    class_G = label["class_labels"].to(map_PT.device).long()
    box_G4 = label["boxes"].to(map_PT.device, torch.float32).reshape(-1, 4)
    if class_G.shape[0] != box_G4.shape[0]:
        raise DatasetError(f"labels[{index}] has {class_G.shape[0]} class_labels, but {box_G4.shape[0]} boxes.")
    if class_G.numel() and not 0 <= int(class_G.min()) <= int(class_G.max()) < map_PT.shape[0]:
        raise DatasetError(
            f"labels[{index}] has class_labels from {int(class_G.min())} to {int(class_G.max())}, but the prompt of "
            f"that picture has {map_PT.shape[0]} phrases. class_labels are indices of phrases from 0, not category ids."
        )
    if not bool(box_G4.isfinite().all()) or bool((box_G4[:, 2:] < 0).any()):
        raise DatasetError(
            f"labels[{index}] has boxes with NaN, infinite or negative sizes. Boxes are (cx, cy, w, h) in 0..1."
        )
    if box_G4.numel() and float(box_G4.max()) > LARGEST_COORDINATE:
        raise DatasetError(
            f"labels[{index}] has boxes that reach {float(box_G4.max()):g}. Boxes are (cx, cy, w, h) in 0..1 of the "
            "picture: divide pixels by its width and height."
        )
    return Targets(box_G4, map_PT[class_G])
