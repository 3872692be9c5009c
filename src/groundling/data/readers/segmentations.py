"""Masks as they stand in COCO files: run lengths, compressed or as lists, and polygons."""

import numpy as np

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
    if not isinstance(segmentation, list) or not segmentation:
        raise DatasetError(f"the segmentation is {str(segmentation)!s:.80}. {FORMS}")
    for polygon in segmentation:
        _check_polygon(polygon, image_wh)
    return _rasterised(segmentation, image_wh)


def _check_polygon(polygon: object, image_wh: tuple[int, int]) -> None:
    """Refuse what is no polygon; the library would crash, or take four numbers for a box."""
    if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2 or not all(map(is_number, polygon)):
        raise DatasetError(f"the polygon {str(polygon)!s:.80} is not a list of three or more pairs of numbers. {FORMS}")
    try:
        points = np.array(polygon, np.float64).reshape(-1, 2) / image_wh
    except OverflowError:  # an integer of hundreds of digits
        points = np.full((1, 2), np.inf)
    if not ((points >= -1) & (points <= 2)).all():  # which nothing that is not finite is
        raise DatasetError(
            f"the polygon {str(polygon)!s:.80} lies far outside the picture of {image_wh[0]}x{image_wh[1]}, or "
            "holds a number that is not finite. Measure the object again or remove it."
        )


def _rasterised(polygons: list[list[float]], image_wh: tuple[int, int]) -> str:
    try:
        from faster_coco_eval.core import mask
    except ImportError as error:
        raise missing_extra("faster-coco-eval", "eval", "Reading masks that are polygons") from error
    width, height = image_wh
    parts = mask.frPyObjects([[float(number) for number in polygon] for polygon in polygons], height, width)
    counts: bytes = mask.merge(parts)["counts"]
    return counts.decode("ascii")
