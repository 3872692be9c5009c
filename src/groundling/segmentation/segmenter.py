"""Boxes in, masks out.

Shapes: B pictures, N boxes, M proposals for each, h and w of the decoder's masks, S side of the model's square.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from groundling.errors import GroundlingError, ImageError
from groundling.segmentation.cleaning import clean
from groundling.segmentation.families import Family, Features
from groundling.segmentation.options import USUAL_MASKS, MaskOptions, check_mask_options
from groundling.segmentation.preparation import Preparation
from groundling.structures.checks import check_corners, frozen_array
from groundling.structures.masks import Masks

MOST_PIXELS = 16_000_000
"""Masks are brought to the size of their picture a few at a time: so many that they have at most these pixels."""


@dataclass(frozen=True, eq=False)
class EncodedPicture:
    """What a segmenter knows about one picture.

    Attributes:
        features: what the vision encoder made of it, on the segmenter's device.
        image_wh: width and height of the picture in pixels.
    """

    features: Features
    image_wh: tuple[int, int]


class Segmenter:
    """Says which pixels belong to the thing in a box. `load_segmenter` makes it.

    It holds nothing but the model and how pictures are put before it, and changes neither, so several threads may use
    one.

    Attributes:
        model: the model of transformers, in evaluation mode.
        family: which kind it is.
        preparation: how pictures become what the model sees.
        folder: where its checkpoint lies.
    """

    def __init__(self, model: Any, family: Family, preparation: Preparation, folder: Path) -> None:
        self.model = model
        self.family = family
        self.preparation = preparation
        self.folder = folder

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return torch.device(self.model.device)

    @property
    def dtype(self) -> torch.dtype:
        """The number format that it computes in."""
        found: torch.dtype = self.model.dtype
        return found

    def __repr__(self) -> str:
        return f"Segmenter({self.family.title}, {self.device}, {self.dtype})"

    @torch.inference_mode()
    def encode(self, pictures: Sequence[NDArray[np.uint8]]) -> list[EncodedPicture]:
        """Look at pictures, each once; any number of boxes can then be decoded.

        Args:
            pictures: RGB, uint8 [H, W, 3], of any sizes. They are computed together, so memory limits their number.

        Raises:
            ImageError: something else is given.
        """
        _check_pictures(pictures)
        if not pictures:
            return []
        pixel_B3SS = self.preparation.pixels(pictures).to(self.device, self.dtype)
        with _advice("fewer pictures at a time, a smaller model or dtype='bfloat16'"):
            features = self.family.encode(self.model, pixel_B3SS)
        return [
            # a copy: the others of the batch shall not stay in memory with it
            EncodedPicture(tuple(part[row : row + 1].clone() for part in features), (one.shape[1], one.shape[0]))
            for row, one in enumerate(pictures)
        ]

    @torch.inference_mode()
    def decode(
        self, encoded: EncodedPicture, boxes_xyxy: ArrayLike, options: MaskOptions = USUAL_MASKS
    ) -> tuple[Masks, NDArray[np.float32]]:
        """Turn boxes into masks.

        Memory does not grow with the number of boxes: `options.chunk` of them are decoded at a time, and each mask is
        compressed before the next few are made.

        Args:
            encoded: the picture, from `encode` of this segmenter.
            boxes_xyxy: left, top, right, bottom in pixels of the picture, [N, 4]; N may be 0. What reaches beyond the
                picture is cut off; the mask of a box without area or outside the picture is empty and has the score 0.
            options: how masks are made and cleaned.

        Returns:
            One mask for each box, and how good the segmenter thinks it is: the IoU that it predicts, 0 to 1, float32
            [N]. It is said of the mask before it is cleaned.

        Raises:
            ConfigError: the options are no MaskOptions.
            DatasetError: the boxes are no such array, not finite, or inverted.
            TypeError: the picture is not encoded.
            GroundlingError: the model's output is not a number.
        """
        check_mask_options(options)
        if not isinstance(encoded, EncodedPicture):
            raise TypeError(f"encoded must come from Segmenter.encode, got {type(encoded).__name__}.")
        boxes, is_inside = _checked_boxes(boxes_xyxy, encoded.image_wh)
        width, height = encoded.image_wh
        counts, scores = [""] * len(boxes), np.zeros(len(boxes), np.float32)
        if not is_inside.all():
            (blank,) = Masks.from_array(np.zeros((1, height, width), np.bool_)).counts
            counts = [blank] * len(boxes)
        rows = np.flatnonzero(is_inside)
        for start in range(0, len(rows), options.chunk):
            some = rows[start : start + options.chunk]
            with _advice(f"a smaller chunk of boxes than {options.chunk}"):
                logit_Nhw, quality_N = self._decoded(encoded, boxes[some], several=options.best_of_three)
                for row, mask in zip(some, self._masks(logit_Nhw, encoded.image_wh, options), strict=True):
                    counts[row] = mask
            scores[some] = quality_N.clamp(0, 1).cpu().numpy()
        return Masks(tuple(counts), encoded.image_wh), scores

    def _decoded(
        self, encoded: EncodedPicture, boxes_xyxy: NDArray[np.float64], *, several: bool
    ) -> tuple[Tensor, Tensor]:
        """Return the best mask's scores [N, h, w] and its predicted IoU [N] of a few boxes, float32."""
        # In float32 also for a model in half precision, which turns them into numbers around 0 before it rounds them.
        box_1N4 = self.preparation.boxes(boxes_xyxy, encoded.image_wh)[None].to(self.device)
        features = self.family.arguments(encoded.features)
        outputs = self.model(**features, input_boxes=box_1N4, multimask_output=several)
        logit_NMhw, quality_NM = outputs.pred_masks[0].float(), outputs.iou_scores[0].float()
        if bool(logit_NMhw.isnan().any() | quality_NM.isnan().any()):
            raise GroundlingError(
                "The segmenter's output is not a number (NaN), so there are no masks. With dtype float16 a value was "
                "too large: use bfloat16 or float32. Otherwise the checkpoint is damaged."
            )
        best_N = quality_NM.argmax(dim=1)
        every_N = torch.arange(len(best_N), device=best_N.device)
        return logit_NMhw[every_N, best_N], quality_NM[every_N, best_N]

    def _masks(self, logit_Nhw: Tensor, image_wh: tuple[int, int], options: MaskOptions) -> Iterator[str]:
        """Bring a few masks at a time to the size of the picture, and yield each as compressed run lengths."""
        at_once = max(1, MOST_PIXELS // max(image_wh[0] * image_wh[1], self.preparation.side**2))
        for start in range(0, len(logit_Nhw), at_once):
            logits = logit_Nhw[start : start + at_once]
            masks = (self.preparation.restored(logits, image_wh) > 0).cpu().numpy()
            for mask in masks:
                cleaned = clean(mask, fill_holes=options.fill_holes, drop_islands=options.drop_islands)
                yield Masks.from_array(cleaned[None]).counts[0]


def _check_pictures(pictures: Sequence[NDArray[np.uint8]]) -> None:
    if not isinstance(pictures, list | tuple):
        raise ImageError(f"pictures must be a list of arrays, got one {type(pictures).__name__}. Put it into a list.")
    for number, picture in enumerate(pictures):
        is_array = isinstance(picture, np.ndarray)
        if not is_array or picture.dtype != np.uint8 or picture.shape[2:] != (3,) or not picture.size:
            given = f"{picture.dtype} {picture.shape}" if is_array else type(picture).__name__
            raise ImageError(
                f"Picture {number} must be an RGB array of 8-bit values, uint8 [H, W, 3], but is {given}. "
                "Convert it, such as np.asarray(image.convert('RGB')) of a PIL image."
            )


def _checked_boxes(boxes_xyxy: ArrayLike, image_wh: tuple[int, int]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return boxes cut at the picture's edges, and which of them have an area in it."""
    given = np.zeros((0, 4)) if isinstance(boxes_xyxy, list | tuple) and not boxes_xyxy else boxes_xyxy
    boxes = frozen_array("boxes_xyxy", given, np.float64, columns=4)
    check_corners(boxes)
    cut = boxes.clip(0, [*image_wh, *image_wh])
    is_inside: NDArray[np.bool_] = np.all(cut[:, 2:] > cut[:, :2], axis=1)
    return cut, is_inside


@contextmanager
def _advice(what: str) -> Iterator[None]:
    """Say what helps when the memory of the GPU is not enough; the error itself goes on."""
    try:
        yield
    except torch.cuda.OutOfMemoryError as error:
        error.add_note(f"Use {what}.")
        raise
