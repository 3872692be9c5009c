"""What values detections can have: corners in order, scores within 0 to 1, labels that exist, masks that fit."""

from typing import TYPE_CHECKING

from groundling.errors import DatasetError
from groundling.structures.checks import check_corners
from groundling.structures.masks import Masks

if TYPE_CHECKING:
    from groundling.structures.detections import Detections


def check_values(found: "Detections") -> None:
    """Check corners, scores, label ids and track ids.

    Raises:
        DatasetError: one of them is impossible.
    """
    check_corners(found.boxes_xyxy)
    named = ("scores", found.scores), ("label_scores", found.label_scores), ("mask_scores", found.mask_scores)
    for name, values in named:
        if values is not None and values.size and not (values.min() >= 0 and values.max() <= 1):
            raise DatasetError(
                f"{name} must be between 0 and 1, but they reach from {values.min():g} to {values.max():g}. "
                "Raw logits need a sigmoid first."
            )
    wrong = (found.label_ids < 0) | (found.label_ids >= len(found.labels))
    if wrong.any():
        raise DatasetError(
            f"label_ids holds {int(found.label_ids[wrong][0])}, but there are {len(found.labels)} labels. "
            f"Each id must be an index into labels, 0 to {len(found.labels) - 1}."
        )
    if found.track_ids is not None and len(found) and found.track_ids.min() < 0:
        raise DatasetError(
            f"track_ids holds {int(found.track_ids.min())}, but track ids are 0 or more. Leave out what has no track."
        )


def check_masks(found: "Detections") -> None:
    """Check that each box has a mask of the picture's size, or none has one.

    Raises:
        DatasetError: it is otherwise.
    """
    if found.masks is None:
        if found.mask_scores is not None:
            raise DatasetError("There are mask_scores, but no masks. Give both or none.")
        return
    if not isinstance(found.masks, Masks):
        raise DatasetError(f"masks must be Masks, got {type(found.masks).__name__}. Use Masks.from_array.")
    if len(found.masks) != len(found) or found.masks.image_wh != found.image_wh:
        (width, height), (own_width, own_height) = found.masks.image_wh, found.image_wh
        raise DatasetError(
            f"There are {len(found.masks)} masks of {width} x {height} pixels for {len(found)} boxes in a picture of "
            f"{own_width} x {own_height}. Every box needs one mask of the picture's size."
        )
