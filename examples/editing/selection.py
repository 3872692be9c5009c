"""What the recipes of this folder share: their options, finding, the edge of a mask, and how they end."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from groundling import Detections, GroundedSam, GroundlingError, ImageError, MaskOptions
from groundling.pictures.drawing import save_picture
from groundling.pictures.reading import open_picture
from groundling.postprocess.select import THRESHOLD

NOTHING_FOUND, MISTAKE = 1, 2
SPECK = 50

Recipe = Callable[[argparse.Namespace, Image.Image, Detections], None]


def options(document: str | None) -> argparse.ArgumentParser:
    """Return the options that every recipe has; its description is the first line of the recipe's document."""
    parser = argparse.ArgumentParser(description=(document or "").partition("\n")[0])
    parser.add_argument("image", help="a picture")
    parser.add_argument("--labels", nargs="+", required=True, metavar="WORDS", help="what is meant")
    parser.add_argument("--out", type=Path, required=True, help="where the result goes")
    parser.add_argument("--model", default="groundling/nano", help="detector: a folder or a hub id")
    parser.add_argument("--sam", help="segmenter: a folder or a hub id; needed with another --model")
    parser.add_argument("--threshold", type=between(0, 1), default=THRESHOLD, help="0 to 1; less finds more")
    parser.add_argument(
        "--drop-islands",
        type=int,
        default=SPECK,
        metavar="PIXELS",
        help="drop parts of masks with fewer pixels, which mostly lie on other things; the largest always stays",
    )
    return parser


def between(low: float, high: float) -> Callable[[str], float]:
    """Return what reads a number of this range from the command line."""

    def number(text: str) -> float:
        value = float(text)
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text} is not between {low:g} and {high:g}")
        return value

    return number


pixels = between(0, 1000)
"""Reads a distance; a mistyped one shall not fill the memory."""


def run(recipe: Recipe, given: argparse.Namespace) -> int:
    """Find what the labels name and hand it to a recipe; return the exit status."""
    try:
        picture = open_picture(given.image)
        masks = MaskOptions(drop_islands=given.drop_islands)
        sam = GroundedSam.from_pretrained(given.model, given.sam)
        found = sam(picture, given.labels, threshold=given.threshold, masks=masks)
        for item in found:
            print(f"{item.label}  {item.score:.2f}")
        missing = [label for label in given.labels if label not in {item.label for item in found}]
        if missing:
            print(f"not found in {given.image}: {', '.join(missing)}", file=sys.stderr)
        if not len(found):
            print("Nothing was written. Try other words or a smaller --threshold.", file=sys.stderr)
            return NOTHING_FOUND
        recipe(given, picture, found)
    except (GroundlingError, OSError) as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        return MISTAKE
    return 0


def save(given: argparse.Namespace, picture: Image.Image, path: Path) -> None:
    """Write a picture whole or not at all, but never over one that it was made of."""
    for source, what in ((given.image, "that is edited"), (getattr(given, "picture", None), "of the background")):
        read = None if source is None else Path(source).expanduser()
        if read is not None and path.exists() and read.exists() and path.samefile(read):
            raise ImageError(f"{path} is the picture {what}. Give the result another name with --out.")
    save_picture(picture, path)


def together(found: Detections) -> NDArray[np.bool_]:
    """Return which pixels belong to anything that was found, [H, W]."""
    masks = found.masks or ()
    mask = np.zeros(found.image_wh[::-1], np.bool_)
    for one in masks:
        mask |= one
    return mask


def edge(mask: NDArray[np.bool_], *, grow: float = 0.0, soften: float = 0.0) -> NDArray[np.float32]:
    """Return how much of each pixel is inside, 0..1 [H, W], of a mask that is grown and whose edge is a slope.

    Args:
        mask: which pixels are inside, [H, W].
        grow: pixels by which the edge is moved outwards; below 0 inwards.
        soften: pixels on either side of the edge in which the slope falls from 1 to 0.
    """
    outside = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    inside = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    depth = np.where(mask, inside - 0.5, 0.5 - outside) + grow  # distances are to centres of pixels, not to their edges
    share: NDArray[np.float32] = np.clip(0.5 + depth / max(2 * soften, 1e-6), 0, 1).astype(np.float32)
    return share if mask.any() else np.zeros_like(share)
