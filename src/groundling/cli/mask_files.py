"""Masks of one picture as PNG files in a folder: each thing, both maps, and what is cut out."""

import re
from collections import defaultdict
from collections.abc import Iterable
from itertools import count
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

_THING = re.compile(r"(\d{4,})-.*\.png")


def save_masks(found: "Detections", folder: Path) -> None:
    """Write each thing's mask (255 is inside), `labels.png` and `instances.png`; see `Detections.label_map`.

    Things that an earlier call has written into the folder are removed.

    Args:
        found: the detections, with masks.
        folder: where to; it is made if needed.

    Raises:
        OSError: something cannot be written.
    """
    masks = (PIL.Image.fromarray(mask.astype(np.uint8) * 255) for mask in found.masks or ())
    _save_things(found, masks, folder)
    save_picture(PIL.Image.fromarray(found.label_map()), folder / LABEL_MAP)
    save_picture(PIL.Image.fromarray(found.instance_map()), folder / INSTANCE_MAP)


def save_cutouts(found: "Detections", picture: "Drawable", folder: Path) -> None:
    """Write each thing, cut out, with alpha; see `Detections.cutouts`.

    Things that an earlier call has written into the folder are removed.

    Args:
        found: the detections, with masks.
        picture: what they were found in.
        folder: where to; it is made if needed.

    Raises:
        OSError: something cannot be written.
    """
    _save_things(found, found.cutouts(picture), folder)


def _save_things(found: "Detections", pictures: "Iterable[PIL.Image.Image]", folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    names = [thing_name(number, item.label) for number, item in enumerate(found, 1)]
    for name, picture in zip(names, pictures, strict=True):
        save_picture(picture, folder / name)
    _remove_others(folder, frozenset(names))


def _remove_others(folder: Path, names: frozenset[str]) -> None:
    """Remove things that were found here before, or they would look like found now.

    Their numbers follow each other, so a user's own file such as "2024-summer.png" is not taken for one.
    """
    there: dict[int, list[Path]] = defaultdict(list)
    for path in folder.iterdir():
        if thing := _THING.fullmatch(path.name):
            there[int(thing[1])].append(path)
    for number in count(1):
        if number not in there:
            return
        for path in there[number]:
            if path.name not in names:
                path.unlink()
