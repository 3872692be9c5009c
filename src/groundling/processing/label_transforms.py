"""What resizing, normalising and padding of a picture do to its label. Every function returns a new label."""

import torch
import torch.nn.functional as F
from torch import Tensor

from groundling.ops.boxes import xyxy_to_cxcywh
from groundling.processing.annotations import Label
from groundling.processing.resize import resize_masks

Size = tuple[int, int]


def resized_label(label: Label, old: Size, new: Size) -> Label:
    """Scale boxes, areas and masks from a picture of (height, width) `old` to `new`; "size" becomes the first key.

    Keypoints stay in pixels of the original picture, as documented.
    """
    ratio_height, ratio_width = new[0] / old[0], new[1] / old[1]
    result: Label = {"size": torch.Size(new)}
    for key, value in label.items():
        if key == "boxes":
            result[key] = value * _whwh((ratio_height, ratio_width))
        elif key == "area":
            result[key] = value * (ratio_width * ratio_height)
        elif key == "masks":
            result[key] = resize_masks(value, new)
        elif key != "size":
            result[key] = value
    return result


def normalised_label(label: Label, size: Size) -> Label:
    """Turn corners in pixels into (centre x, centre y, width, height) as fractions of the picture's `size`."""
    return label | {"boxes": xyxy_to_cxcywh(label["boxes"]) / _whwh(size)}


def padded_label(label: Label, size: Size, padded: Size, *, is_normalised: bool) -> Label:
    """Carry a label of a picture of `size` to the padded canvas; normalised boxes become fractions of the canvas."""
    if size == padded:
        return label
    result: Label = {"size": torch.Size(padded)}
    for key, value in label.items():
        if key == "masks":
            result[key] = F.pad(value, (0, padded[1] - size[1], 0, padded[0] - size[0]))
        elif key == "boxes" and is_normalised:
            result[key] = value * _whwh((size[0] / padded[0], size[1] / padded[1]))
        elif key != "size":
            result[key] = value
    return result


def _whwh(size: tuple[float, float]) -> Tensor:
    height, width = size
    return torch.tensor([width, height, width, height], dtype=torch.float32)
