"""Make everything that the labels name unrecognisable: faces, number plates, screens.

python examples/editing/blur.py scene.png --labels "brown house" "blue oval" --out hidden.png
python examples/editing/blur.py scene.png --labels "brown house" --how pixelate --boxes --out hidden.png
"""

import argparse
import sys
from collections.abc import Callable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from selection import between, edge, options, run, save

from groundling import Detections

Pixels = NDArray[np.uint8]
LEAST_MARGIN = 2.0
"""Pixels; a mask is seldom right to the pixel."""


def blurred(part: Pixels, mask: NDArray[np.bool_], size: int) -> Pixels:
    """Smear what is in a mask over about `size` pixels."""
    return np.where(mask[..., None], cv2.GaussianBlur(part, (0, 0), size), part)


def pixelated(part: Pixels, mask: NDArray[np.bool_], size: int) -> Pixels:
    """Give each square of `size` pixels that a mask touches one colour."""
    height, width = mask.shape
    fill = ((0, -height % size), (0, -width % size))
    squares = np.pad(part, (*fill, (0, 0)), "edge").reshape(-(-height // size), size, -(-width // size), size, 3)
    touched = np.pad(mask, fill).reshape(squares.shape[:4]).max(axis=(1, 3), keepdims=True)[..., None]
    result = np.where(touched, squares.mean(axis=(1, 3), keepdims=True).astype(np.uint8), squares)
    return result.reshape(height + fill[0][1], -1, 3)[:height, :width]


def black(part: Pixels, mask: NDArray[np.bool_], _size: int) -> Pixels:
    """Leave nothing of what is in a mask."""
    return np.where(mask[..., None], np.uint8(0), part)


WAYS: dict[str, Callable[[Pixels, NDArray[np.bool_], int], Pixels]]
WAYS = {"blur": blurred, "pixelate": pixelated, "black": black}


def hide(
    image: Pixels, found: Detections, how: str = "blur", *, margin: float = 0.1, detail: int = 5, boxes: bool = False
) -> Pixels:
    """Return a picture [H, W, 3] in which what was found is hidden; where a mask is empty, the whole box is.

    Args:
        image: the picture.
        found: what to hide, with masks.
        how: a key of WAYS.
        margin: what is hidden around each thing, as a part of its longer side.
        detail: about how many spots of colour are left along the longer side.
        boxes: hide whole boxes instead of masks.
    """
    result = image.copy()
    for row, box in enumerate(found.boxes_xyxy):
        mask = np.zeros(image.shape[:2], np.bool_) if boxes or found.masks is None else found.masks[row].copy()
        if not mask.any():
            left, top = np.floor(box[:2]).clip(0, np.array(found.image_wh) - 1).astype(int)
            right, bottom = np.ceil(box[2:]).astype(int)
            mask[top : max(bottom, top + 1), left : max(right, left + 1)] = True
        places = [np.flatnonzero(mask.max(axis=axis)) for axis in (1, 0)]
        longer = int(max(np.ptp(places[0]), np.ptp(places[1]))) + 1
        around, size = max(LEAST_MARGIN, margin * longer), max(2, -(-longer // detail))
        beyond = int(around) + size
        window = tuple(slice(max(0, its[0] - beyond), its[-1] + 1 + beyond) for its in places)
        result[window] = WAYS[how](result[window], edge(mask[window], grow=around) > 0.5, size)
    return result


def edit(given: argparse.Namespace, picture: Image.Image, found: Detections) -> None:
    """Write the picture that the options describe."""
    how = {"margin": given.margin, "detail": round(given.detail), "boxes": given.boxes}
    save(given, Image.fromarray(hide(np.asarray(picture), found, given.how, **how)), given.out)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = options(__doc__)
    parser.add_argument("--how", choices=WAYS, default="blur")
    parser.add_argument("--margin", type=between(0, 1), default=0.1, help="around a thing, part of its longer side")
    parser.add_argument("--detail", type=between(1, 30), default=5, help="spots that are left along its longer side")
    parser.add_argument("--boxes", action="store_true", help="hide whole boxes, in case masks miss a part")
    return run(edit, parser.parse_args(arguments))


if __name__ == "__main__":
    sys.exit(main())
