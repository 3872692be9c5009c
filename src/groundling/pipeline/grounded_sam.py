"""Boxes from words, masks from boxes: a detector and a segmenter that are handed the same picture.

Ren et al. 2024, "Grounded SAM: Assembling Open-World Models for Diverse Visual Tasks" (arXiv 2401.14159).
"""

import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Self, TypedDict, Unpack

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from groundling.errors import ConfigError, ImageError
from groundling.files import BUNDLED_MODEL, BUNDLED_SEGMENTER, HubOptions
from groundling.pipeline.detector import Detector
from groundling.pipeline.pictures import Picture, read_picture
from groundling.pipeline.stages import Labels
from groundling.postprocess.label_scores import Aggregation
from groundling.segmentation import EncodedPicture, MaskOptions, Segmenter, load_segmenter
from groundling.segmentation.options import USUAL_MASKS, check_mask_options
from groundling.structures.detections import Detections
from groundling.structures.masks import Masks

if TYPE_CHECKING:
    from groundling.pipeline.tiles import Tiles
    from groundling.pipeline.video.mask_tracking import MaskTrackOptions
    from groundling.pipeline.video.sources import Footage
    from groundling.pipeline.video.tracking import TrackedFrame
    from groundling.segmentation.video_model import VideoSegmenter


class FindOptions(TypedDict, total=False):
    """How boxes are found in many pictures; `Detector.detect_many` says what each option means."""

    threshold: float
    top_k: int | None
    nms_iou: float | None
    nms_across_labels: bool
    drop_groups: bool
    aggregate: Aggregation
    allow_url: bool


class FindOneOptions(FindOptions, total=False):
    """How boxes are found in one picture; `Detector.__call__` says what each option means."""

    batch_size: int
    tiles: "Tiles | None"


class GroundedSam:
    """Finds what labels name and says which pixels belong to it.

    It holds nothing but the two models, and from the first video on the segmenter's memory. It changes none of them, so
    several threads may use one.

    Args:
        detector: finds the boxes.
        segmenter: turns each box into a mask.

    Attributes:
        detector: the same.
        segmenter: the same.

    Raises:
        TypeError: they are something else, such as names; those are for `from_pretrained`.
    """

    def __init__(self, detector: Detector, segmenter: Segmenter) -> None:
        for model, kind in ((detector, Detector), (segmenter, Segmenter)):
            if not isinstance(model, kind):
                raise TypeError(
                    f"GroundedSam takes a Detector and a Segmenter, got {type(model).__name__} for the "
                    f"{kind.__name__}. Use GroundedSam.from_pretrained for names."
                )
        self.detector = detector
        self.segmenter = segmenter
        self._loading = threading.Lock()

    @classmethod
    def from_pretrained(
        cls,
        detector: str | os.PathLike[str] = BUNDLED_MODEL,
        segmenter: str | os.PathLike[str] | None = None,
        *,
        device: str | torch.device | None = None,
        dtype: str | torch.dtype | None = None,
        **options: Unpack[HubOptions],
    ) -> Self:
        """Load both models.

        Args:
            detector: a folder, a checkpoint file or a hub id; see `Detector.from_pretrained`.
            segmenter: a folder or a hub id such as "facebook/sam-vit-base" or "facebook/sam2.1-hiera-tiny"; see
                `load_segmenter`. None is the one that comes with the package, which goes with its detector only.
            device: where to compute, such as "cpu" or "cuda:1"; None is CUDA where there is any, else the CPU.
            dtype: number format to compute in; None is each checkpoint's own, but float32 in place of float16 on a CPU.
            **options: how hub ids are looked up, both of them.

        Raises:
            CheckpointError: there is no such checkpoint, or it is not complete or of another kind.
            ConfigError: the device or dtype does not exist here, a detector is named without its segmenter, or the
                bundled segmenter as the detector.
            MissingExtraError: transformers is not installed.
        """
        name = choose_segmenter(detector, segmenter)
        masks = load_segmenter(name, device=device, dtype=dtype, **options)
        return cls(Detector.from_pretrained(detector, device=device, dtype=dtype, **options), masks)

    def __call__(
        self,
        image: Picture,
        labels: Labels,
        *,
        masks: MaskOptions = USUAL_MASKS,
        tighten: bool = False,
        **options: Unpack[FindOneOptions],
    ) -> Detections:
        """Find what the labels name in one picture.

        Args:
            image: see `Detector.__call__`.
            labels: what to find; see `Detector.prompts`.
            masks: how masks are made and cleaned.
            tighten: make each box tight around its mask; otherwise it is the detector's.
            **options: how boxes are found; see `Detector.__call__`.

        Returns:
            What the detector found, best first, with `masks` and `mask_scores`; scores are the detector's.

        Raises:
            ImageError: the picture cannot be used.
            PromptError: the labels cannot be used.
            ConfigError: a number is outside its range.
        """
        check_mask_options(masks)
        pixels = read_picture(image, allow_url=options.get("allow_url", False))
        found = replace(self.detector(pixels, labels, **options), source=_source(image))
        return self.add_masks([pixels], [found], masks, tighten=tighten)[0]

    def segment(
        self,
        image: Picture,
        found: Detections,
        *,
        masks: MaskOptions = USUAL_MASKS,
        tighten: bool = False,
        allow_url: bool = False,
    ) -> Detections:
        """Give boxes that were found or drawn in another way their masks.

        Args:
            image: the picture that they belong to.
            found: the boxes; one without area gets an empty mask with the score 0.
            masks: how masks are made and cleaned.
            tighten: make each box tight around its mask.
            allow_url: download the picture if it is a URL.

        Raises:
            ImageError: the picture cannot be used, or has another size than the boxes' picture.
            ConfigError: `masks` are no MaskOptions.
            TypeError: `found` is no Detections.
        """
        check_mask_options(masks)
        if not isinstance(found, Detections):
            raise TypeError(
                f"found must be Detections, got {type(found).__name__}. Give what a detector returned; plain boxes "
                "become Detections(boxes_xyxy=..., scores=..., label_ids=..., labels=..., image_wh=...)."
            )
        pixels = read_picture(image, allow_url=allow_url)
        if (pixels.shape[2], pixels.shape[1]) != found.image_wh:
            raise ImageError(
                f"The boxes belong to a picture of {found.image_wh[0]} x {found.image_wh[1]} pixels, but this one has "
                f"{pixels.shape[2]} x {pixels.shape[1]}. Give the picture that was searched."
            )
        return self.add_masks([pixels], [found], masks, tighten=tighten)[0]

    def segment_many(
        self,
        images: Iterable[Picture],
        labels: Labels,
        *,
        batch_size: int = 1,
        masks: MaskOptions = USUAL_MASKS,
        tighten: bool = False,
        **options: Unpack[FindOptions],
    ) -> Iterator[Detections]:
        """Find what the labels name in many pictures, one result after the other.

        Pictures are read as the results are asked for; a batch at a time is held in memory.

        Args:
            images: pictures of any form and size.
            labels: what to find in every one of them.
            batch_size: most pictures computed at a time; it changes speed and memory, not results.
            masks: how masks are made and cleaned.
            tighten: make each box tight around its mask.
            **options: how boxes are found; see `Detector.detect_many`.

        Raises:
            ImageError: a picture cannot be used; it comes when that picture's batch is reached.
            PromptError: the labels cannot be used.
            ConfigError: a number is outside its range.
        """
        check_mask_options(masks)
        question = self.detector.encode(labels)
        self.detector.detect_many(images, question, batch_size=batch_size, **options)  # says mistakes, begins nothing
        return self._stream(iter(images), question, batch_size, masks, tighten, options)

    def track(
        self, source: "Footage", labels: Labels, **options: Unpack["MaskTrackOptions"]
    ) -> "Iterator[TrackedFrame]":
        """Find and follow what the labels name in a video, frame by frame, with masks.

        Args:
            source: a video file, a folder of frames, the number of a camera, an http(s) or rtsp address, or pictures.
            labels: what to find; see `Detector.prompts`.
            **options: see `groundling.pipeline.video.mask_tracking.track_masks`.

        Raises:
            ImageError: the source cannot be read.
            PromptError: the labels cannot be used.
            ConfigError: a number is outside its range.
            MissingExtraError: a package for video is not installed.
        """
        from groundling.pipeline.video.mask_tracking import track_masks

        with self._loading:
            segmenter = self._memory or self.segmenter
        return track_masks(self.detector, segmenter, source, labels, **options)

    @cached_property
    def _memory(self) -> "VideoSegmenter | None":
        """What follows things through videos, loaded for the first of them; None where the segmenter has no memory."""
        from groundling.segmentation.video_model import with_memory

        return with_memory(self.segmenter)

    def _stream(
        self,
        images: Iterator[Picture],
        labels: Labels,
        batch_size: int,
        masks: MaskOptions,
        tighten: bool,
        options: FindOptions,
    ) -> Iterator[Detections]:
        allow_url = options.get("allow_url", False)
        while chunk := list(islice(images, batch_size)):
            pixels = [read_picture(image, allow_url=allow_url) for image in chunk]
            found = self.detector.detect_many(pixels, labels, batch_size=batch_size, **options)
            named = [replace(some, source=_source(image)) for some, image in zip(found, chunk, strict=True)]
            yield from self.add_masks(pixels, named, masks, tighten=tighten)

    def add_masks(
        self, pictures: Sequence[Tensor], found: Sequence[Detections], masks: MaskOptions, *, tighten: bool
    ) -> list[Detections]:
        """Give boxes of several pictures their masks; pictures in which there is nothing are not encoded.

        Args:
            pictures: as `read_picture` gives them, uint8 RGB [3, H, W].
            found: the boxes in each of them.
            masks: how masks are made and cleaned.
            tighten: make each box tight around its mask.
        """
        wanted = [row for row, some in enumerate(found) if len(some)]
        encoded = dict(zip(wanted, self.segmenter.encode([_array(pictures[row]) for row in wanted]), strict=True))
        return [self._joined(some, encoded.get(row), masks, tighten=tighten) for row, some in enumerate(found)]

    def _joined(
        self, found: Detections, encoded: EncodedPicture | None, masks: MaskOptions, *, tighten: bool
    ) -> Detections:
        if encoded is None:
            return replace(found, masks=Masks((), found.image_wh), mask_scores=np.zeros(0, np.float32))
        made, scores = self.segmenter.decode(encoded, found.boxes_xyxy, masks)
        segmented = replace(found, masks=made, mask_scores=scores)
        return segmented.tightened() if tighten else segmented


def choose_segmenter(
    detector: str | os.PathLike[str], segmenter: str | os.PathLike[str] | None
) -> str | os.PathLike[str]:
    """Return the name of a detector's segmenter: the one that is named, or the bundled one for the bundled detector.

    Raises:
        ConfigError: a detector is named without its segmenter, or the bundled segmenter as the detector.
    """
    if detector == BUNDLED_SEGMENTER:
        raise ConfigError(
            f"{BUNDLED_SEGMENTER!r} is a segmenter, not a detector: name it with --sam (segmenter=), and a detector "
            f"such as {BUNDLED_MODEL!r} with --model (detector=)."
        )
    if segmenter is not None:
        return segmenter
    if detector != BUNDLED_MODEL:
        raise ConfigError(
            f"A segmenter for {os.fspath(detector)!r} must be named (--sam), such as 'facebook/sam2.1-hiera-tiny' or "
            f"'facebook/sam-vit-base'; {BUNDLED_SEGMENTER!r} knows drawn shapes only."
        )
    return BUNDLED_SEGMENTER


def _array(pixels: Tensor) -> NDArray[np.uint8]:
    """Return [3, H, W] as [H, W, 3]."""
    return np.ascontiguousarray(pixels.permute(1, 2, 0).numpy())


def _source(image: Picture) -> str | None:
    return os.fspath(image) if isinstance(image, str | os.PathLike) else None
