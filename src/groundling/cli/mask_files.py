"""Masks of one picture as PNG files in a folder: each thing, both maps, and what is cut out."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import PIL.Image

from groundling.pictures.drawing import save_picture
from groundling.pictures.folders import thing_name

if TYPE_CHECKING:
    from groundling.structures.detections import Detections
    from groundling.structures.detections_shown import Drawable

LABEL_MAP, INSTANCE_MAP = "labels.png", "instances.png"


def save_masks(found: "Detections", folder: Path) -> None:
    """Write each thing's mask (255 is inside), `labels.png` and `instances.png`; see `Detections.label_map`.

    Args:
        found: the detections, with masks.
        folder: where to; it is made if needed.

    Raises:
        OSError: something cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for number, (item, mask) in enumerate(zip(found, found.masks or (), strict=True), 1):
        save_picture(PIL.Image.fromarray(mask.astype(np.uint8) * 255), folder / thing_name(number, item.label))
    save_picture(PIL.Image.fromarray(found.label_map()), folder / LABEL_MAP)
    save_picture(PIL.Image.fromarray(found.instance_map()), folder / INSTANCE_MAP)


def save_cutouts(found: "Detections", picture: "Drawable", folder: Path) -> None:
    """Write each thing, cut out, with alpha; see `Detections.cutouts`.

    Args:
        found: the detections, with masks.
        picture: what they were found in.
        folder: where to; it is made if needed.

    Raises:
        OSError: something cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for number, (item, cut) in enumerate(zip(found, found.cutouts(picture), strict=True), 1):
        save_picture(cut, folder / thing_name(number, item.label))
