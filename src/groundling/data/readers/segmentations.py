"""Masks as they stand in files: COCO's run lengths, compressed or as lists, and polygons.

Shapes: K point of a polygon.
"""

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from groundling.data.readers.files import is_number, is_whole
from groundling.errors import DatasetError, missing_extra
from groundling.structures.masks import Masks

FORMS = (
    "It must be {'size': [height, width], 'counts': ...} with run lengths of the whole picture, or a list of polygons "
    "[x, y, x, y, x, y, ...] in pixels."
)


def run_lengths(segmentation: object, image_wh: tuple[int, int]) -> str:
    """Return the compressed run lengths of a "segmentation"; several polygons are one mask.

    Args:
        segmentation: what stands in the file.
        image_wh: width and height of the picture in pixels.

    Raises:
        DatasetError: it is missing or damaged, or belongs to a picture of another size.
        MissingExtraError: it is polygons, and faster-coco-eval is not installed.
    """
    if isinstance(segmentation, dict):
        counts = segmentation.get("counts")
        if isinstance(counts, list) and not all(map(is_whole, counts)):
            raise DatasetError(f"the run lengths {str(counts)!s:.80} are not all whole numbers. {FORMS}")
        return Masks.from_coco([segmentation], image_wh).counts[0]
    if segmentation is None:
        raise DatasetError(f"the segmentation is missing. {FORMS}")
    if not isinstance(segmentation, list) or not segmentation:
        raise DatasetError(f"the segmentation is {str(segmentation)!s:.80}. {FORMS}")
    for polygon in segmentation:
        _check_polygon(polygon, image_wh)
    return filled([[float(number) for number in polygon] for polygon in segmentation], image_wh)


def filled(polygons: Sequence[Sequence[float]], image_wh: tuple[int, int]) -> str:
    """Return the compressed run lengths of polygons, which are one mask together, filled as pycocotools fills them.

    Args:
        polygons: each x, y, x, y, ... in pixels, three points or more, none of them far outside; see `is_near`.
        image_wh: width and height of the picture in pixels.

    Raises:
        MissingExtraError: faster-coco-eval is not installed.
    """
    mask = polygon_filler()
    width, height = image_wh
    counts: bytes = mask.merge(mask.frPyObjects(polygons, height, width))["counts"]
    return counts.decode("ascii")


def polygon_filler() -> ModuleType:
    """Return the library's functions about masks.

    Raises:
        MissingExtraError: faster-coco-eval is not installed.
    """
    try:
        from faster_coco_eval.core import mask
    except ImportError as error:
        raise missing_extra("faster-coco-eval", "eval", "Reading masks that are polygons") from error
    module: ModuleType = mask
    return module


def is_near(points_K2: NDArray[np.floating[Any]]) -> bool:
    """Tell whether points are finite and at most the picture's own size away from it, beyond which a polygon is wrong.

    Args:
        points_K2: points in fractions of the picture [K, 2].
    """
    return bool(((points_K2 >= -1) & (points_K2 <= 2)).all())  # which nothing that is not finite is


def _check_polygon(polygon: object, image_wh: tuple[int, int]) -> None:
    """Refuse what is no polygon; the library would crash, or take four numbers for a box."""
    if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2 or not all(map(is_number, polygon)):
        raise DatasetError(f"the polygon {str(polygon)!s:.80} is not a list of three or more pairs of numbers. {FORMS}")
    try:
        points = np.array(polygon, np.float64).reshape(-1, 2) / image_wh
    except OverflowError:  # an integer of hundreds of digits
        points = np.full((1, 2), np.inf)
    if not is_near(points):
        raise DatasetError(
            f"the polygon {str(polygon)!s:.80} lies far outside the picture of {image_wh[0]}x{image_wh[1]}, or "
            "holds a number that is not finite. Measure the object again or remove it."
        )
