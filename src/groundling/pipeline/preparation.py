"""From a picture in any form to what the model reads."""

import os
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from groundling.pipeline.pictures import Picture, read_picture
from groundling.processing.image_processor import GroundingDinoImageProcessor


class PreparedPicture(NamedTuple):
    """One picture as the model reads it.

    Attributes:
        pixel_values: [1, 3, H, W].
        pixel_mask: [1, H, W], 1 on picture; None where all of it is picture.
        image_hw: height and width of the original.
        source: path or URL of the original.
    """

    pixel_values: Tensor
    pixel_mask: Tensor | None
    image_hw: tuple[int, int]
    source: str | None

    @property
    def kind(self) -> tuple[torch.Size, bool]:
        """What pictures must agree in to be computed together: their size, and whether all of it is picture."""
        return self.pixel_values.shape, self.pixel_mask is None


def prepare_picture(
    processor: GroundingDinoImageProcessor, image: Picture, *, allow_url: bool = False
) -> PreparedPicture:
    """Resize and normalise one picture.

    Args:
        processor: says how.
        image: see `read_picture`.
        allow_url: download the picture where `image` is a URL.

    Raises:
        ImageError: the picture cannot be used.
    """
    picture = read_picture(image, allow_url=allow_url)
    # uint8 values 0..255, and never a guess about which axis is the channels; one picture has a canvas of its size
    inputs = processor(
        images=picture,
        input_data_format="channels_first",
        return_tensors="pt",
        do_pad=processor.pad_size is not None,
    )
    mask = inputs.get("pixel_mask")
    source = os.fspath(image) if isinstance(image, str | os.PathLike) else None
    return PreparedPicture(
        pixel_values=inputs["pixel_values"],
        pixel_mask=None if mask is None or bool(mask.all()) else mask,
        image_hw=(picture.shape[1], picture.shape[2]),
        source=source,
    )


def rows_by_kind(prepared: Sequence[PreparedPicture]) -> list[list[int]]:
    """Group the pictures that can be computed together; the first picture's group comes first."""
    rows: dict[tuple[torch.Size, bool], list[int]] = {}
    for row, one in enumerate(prepared):
        rows.setdefault(one.kind, []).append(row)
    return list(rows.values())
