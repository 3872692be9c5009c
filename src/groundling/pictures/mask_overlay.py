"""Masks on a picture: a colour that the picture is seen through, with a thin line around."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import PIL.Image
    import supervision

OPACITY = 0.35


def lay_masks(
    picture: "PIL.Image.Image",
    masks: Iterable[NDArray[np.bool_]],
    color_ids: NDArray[np.int64],
    palette: "supervision.ColorPalette",
    thickness: int,
) -> "PIL.Image.Image":
    """Draw masks on a copy of a picture; where several overlap, the smallest is seen.

    Args:
        picture: of mode RGB.
        masks: as large as the picture, [H, W] each; one is held at a time, of the others what lies in its tight box.
        color_ids: which colour of the palette each has, [N].
        palette: the colours.
        thickness: of the lines around, pixels.
    """
    import cv2
    import supervision
    from supervision.detection.compact_mask import CompactMask

    compact, boxes = [], []
    for mask in masks:
        left, top, width, height = cv2.boundingRect(mask.astype(np.uint8))
        box = np.array([[left, top, left + width - 1, top + height - 1]], np.float32)
        compact.append(CompactMask.from_dense(mask[None], box, mask.shape))
        boxes.append(box)
    found = supervision.Detections(
        xyxy=np.concatenate(boxes), mask=CompactMask.merge(compact), class_id=np.asarray(color_ids)
    )
    covered = supervision.MaskAnnotator(color=palette, opacity=OPACITY).annotate(picture.copy(), found)
    drawn: PIL.Image.Image = supervision.PolygonAnnotator(color=palette, thickness=thickness).annotate(covered, found)
    return drawn
