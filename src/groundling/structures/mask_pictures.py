"""Masks of detections as pictures: things cut out, and maps that say which thing or label a pixel belongs to."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from groundling.errors import DatasetError
from groundling.pictures.drawing import check_size
from groundling.structures.detections_shown import given_picture
from groundling.structures.masks import Masks

if TYPE_CHECKING:
    import PIL.Image

    from groundling.structures.detections import Detections
    from groundling.structures.detections_shown import Drawable

LARGEST_ID = 65_535
"""A map holds 16 bits a pixel, which PNG can keep."""


def masks_of(found: "Detections", purpose: str) -> Masks:
    """Return the masks; nothing found has none to miss.

    Args:
        found: the detections.
        purpose: what they are needed for, in words that follow "There are no masks".

    Raises:
        DatasetError: something was found, but not segmented.
    """
    if found.masks is not None:
        return found.masks
    if len(found):
        raise DatasetError(f"There are no masks {purpose}. Segment first; see GroundedSam.")
    return Masks((), found.image_wh)


def cutouts(found: "Detections", image: "Drawable | None" = None) -> "Iterator[PIL.Image.Image]":
    """Cut things out one after the other; see `Detections.cutouts`. Mistakes are raised at once."""
    from groundling.pictures.reading import open_picture, rgb_picture

    masks = masks_of(found, "to cut out")
    given = given_picture(found, image)
    picture = open_picture(given) if isinstance(given, Path) else rgb_picture(given, "the picture to cut", warn=False)
    check_size(picture.size, found.image_wh)
    return (_cutout(picture, *masks.crop(row)) for row in range(len(masks)))


def _cutout(picture: "PIL.Image.Image", left: int, top: int, part: NDArray[np.bool_]) -> "PIL.Image.Image":
    import PIL.Image

    if part.size == 0:
        part = np.zeros((1, 1), np.bool_)  # a picture without pixels could not be written
    height, width = part.shape
    cut = picture.crop((left, top, left + width, top + height))
    cut.putalpha(PIL.Image.fromarray(part.astype(np.uint8) * 255))
    return cut


def label_map(found: "Detections") -> NDArray[np.uint16]:
    """See `Detections.label_map`."""
    return _map(found, found.label_ids, len(found.labels), "labels")


def instance_map(found: "Detections") -> NDArray[np.uint16]:
    """See `Detections.instance_map`."""
    return _map(found, np.arange(len(found)), len(found), "detections")


def _map(found: "Detections", ids: NDArray[np.int64], count: int, what: str) -> NDArray[np.uint16]:
    masks = masks_of(found, "to make a map of")
    if count > LARGEST_ID:
        raise DatasetError(
            f"A map holds 16 bits a pixel, so at most {LARGEST_ID} {what}, but there are {count}. "
            "Choose some first, such as found.best(1000), or give fewer labels."
        )
    width, height = found.image_wh
    map_HW = np.zeros((height, width), np.uint16)
    for row in np.argsort(-found.scores, kind="stable")[::-1].tolist():
        left, top, part = masks.crop(row)
        map_HW[top : top + part.shape[0], left : left + part.shape[1]][part] = ids[row] + 1
    return map_HW
