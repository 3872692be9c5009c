"""Write picture and mask as diffusion pipelines want them to repaint what the labels name: white is repainted.

    python examples/editing/inpainting_masks.py scene.png --labels "brown house" --out house
    python examples/editing/inpainting_masks.py scene.png --labels "brown house" --crop 32 --multiple 64 --out house
    python examples/editing/inpainting_masks.py scene.png --labels "brown house" --invert --grow 0 --out around-house

The folder holds picture.png, mask.png and crop.json, which says where in the original they lie.
"""

import argparse
import sys
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from selection import edge, options, pixels, run, save, together

from groundling import Detections, ImageError
from groundling.files import write_json

Box = tuple[int, int, int, int]


def crop_box(share: NDArray[np.float32], padding: float | None, multiple: int) -> Box:
    """Return left, top, right, bottom around what is not black, in whole multiples; it may reach beyond the picture.

    Args:
        share: the mask, 0..1 [H, W]; something in it is above 0.
        padding: pixels to leave around it; None takes the whole picture.
        multiple: of what width and height are a multiple.
    """
    height, width = share.shape
    if padding is None:
        rows, columns = (0, height), (0, width)
    else:
        rows, columns = (_extent(share.max(axis=axis) > 0, int(padding)) for axis in (1, 0))
    top, bottom = _widened(*rows, height, multiple)
    left, right = _widened(*columns, width, multiple)
    return left, top, right, bottom


def _extent(touched: NDArray[np.bool_], padding: int) -> tuple[int, int]:
    places = np.flatnonzero(touched)
    return max(0, int(places[0]) - padding), min(len(touched), int(places[-1]) + 1 + padding)


def _widened(low: int, high: int, limit: int, multiple: int) -> tuple[int, int]:
    """Widen a range to a multiple, on both sides alike where 0..limit has room, else beyond `limit`."""
    length = -(-(high - low) // multiple) * multiple
    start = max(0, min(low - (length - high + low) // 2, limit - length))
    return start, start + length


def cut(array: NDArray[np.uint8], box: Box, beyond: str) -> Image.Image:
    """Cut a box out of a picture; beyond it, "edge" repeats its last pixels, "constant" is black."""
    left, top, right, bottom = box
    part = array[top:bottom, left:right]
    missing = [(0, bottom - top - part.shape[0]), (0, right - left - part.shape[1]), (0, 0)]
    return Image.fromarray(np.pad(part, missing[: array.ndim], beyond))  # type: ignore[call-overload]


def edit(given: argparse.Namespace, picture: Image.Image, found: Detections) -> None:
    """Write picture, mask and the place of both in the original."""
    if given.out.exists() and not given.out.is_dir():
        raise ImageError(f"--out {given.out} is a file. Name a folder for picture.png, mask.png and crop.json.")
    mask = together(found)
    share = edge(~mask if given.invert else mask, grow=given.grow, soften=given.soften)
    if not share.any():
        raise ImageError(f"The masks in {given.image} leave nothing to repaint.")
    box = crop_box(share, given.crop, given.multiple)
    save(given, cut(np.asarray(picture), box, "edge"), given.out / "picture.png")
    save(given, cut(np.rint(share * 255).astype(np.uint8), box, "constant"), given.out / "mask.png")
    write_json(given.out / "crop.json", {"image": given.image, "image_wh": picture.size, "box_xyxy": box})


def main(arguments: Sequence[str] | None = None) -> int:
    parser = options(__doc__)
    parser.add_argument("--grow", type=pixels, default=8.0, help="repaint so many pixels around the things too")
    parser.add_argument("--soften", type=pixels, default=4.0, help="half the width of the mask's edge, pixels")
    parser.add_argument("--crop", type=pixels, help="cut the picture to the mask and so many pixels around it")
    parser.add_argument("--multiple", type=int, choices=(1, 8, 16, 32, 64), default=1, help="of what sides are one")
    parser.add_argument("--invert", action="store_true", help="repaint everything else")
    return run(edit, parser.parse_args(arguments))


if __name__ == "__main__":
    sys.exit(main())
