"""`GroundingDinoImageProcessor`: pictures and annotations to the tensors that the model reads."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self, Unpack

from torch import Tensor

from groundling.errors import CheckpointError
from groundling.files import Location, locate, read_json, split_hub_options, write_json
from groundling.keywords import check_keywords
from groundling.postprocess import HasBoxes, detect_tokens
from groundling.processing.annotations import (
    AnnotationFormat,
    Label,
    annotation_list,
    check_one_each,
    detection_label,
    panoptic_label,
)
from groundling.processing.batch_feature import BatchFeature
from groundling.processing.image_settings import (
    CALL_OPTIONS,
    CONSTRUCTOR_OPTIONS,
    CallSettings,
    ImageOptions,
    ImageProcessorOptions,
    call_settings,
    constructor_settings,
    saved_settings,
)
from groundling.processing.images import Picture, picture_list, picture_tensor
from groundling.processing.label_transforms import normalised_label, padded_label, resized_label
from groundling.processing.pixels import batch_mask, batch_pixels
from groundling.processing.resize import resize
from groundling.processing.sizes import SizeDict, target_size

IMAGE_PROCESSOR_FILE = "preprocessor_config.json"
PROCESSOR_FILE = "processor_config.json"
_TYPE_KEYS = ("image_processor_type", "feature_extractor_type", "processor_class", "_valid_processor_keys")


class GroundingDinoImageProcessor:
    """Turns pictures into `pixel_values` and `pixel_mask`, and COCO annotations into `labels`.

    Any picture is accepted: PIL images of every mode, arrays [H, W], [H, W, C] or [C, H, W] with values 0..255, torch
    tensors, paths, URLs, base64 text and lists of these. Transparency is laid on white, sixteen-bit grey is brought to
    eight bits and the EXIF orientation is applied.

    Args:
        **options: see `ImageProcessorOptions`; each is also an attribute.

    Raises:
        ConfigError: a value is not possible.
        TypeError: an option does not exist.
    """

    model_input_names: ClassVar[list[str]] = ["pixel_values", "pixel_mask"]

    do_resize: bool | None
    size: SizeDict | None
    resample: int | None
    do_rescale: bool | None
    rescale_factor: float | None
    do_normalize: bool | None
    image_mean: tuple[float, ...] | None
    image_std: tuple[float, ...] | None
    do_pad: bool | None
    pad_size: SizeDict | None
    do_convert_rgb: bool | None
    do_convert_annotations: bool | None
    format: AnnotationFormat

    def __init__(self, **options: Unpack[ImageProcessorOptions]) -> None:
        check_keywords(type(self).__name__, options, CONSTRUCTOR_OPTIONS)
        for name, value in constructor_settings(options).items():
            setattr(self, name, value)
        self._extra: dict[str, Any] = {}

    def __call__(
        self,
        images: Any,
        annotations: Any = None,
        return_segmentation_masks: bool | None = None,
        masks_path: str | Path | None = None,
        **options: Unpack[ImageOptions],
    ) -> BatchFeature:
        """Do what `preprocess` does."""
        return self.preprocess(images, annotations, return_segmentation_masks, masks_path, **options)

    def preprocess(
        self,
        images: Any,
        annotations: Any = None,
        return_segmentation_masks: bool | None = None,
        masks_path: str | Path | None = None,
        **options: Unpack[ImageOptions],
    ) -> BatchFeature:
        """Prepare a batch of pictures.

        Args:
            images: one picture, a list of them in any nesting, or a 4-D array.
            annotations: one COCO annotation for each picture; a dict for a single picture.
            return_segmentation_masks: add object masks to the labels; None means only for panoptic annotations.
            masks_path: folder of the mask pictures of panoptic annotations.
            **options: see `ImageOptions`; what is not given is the processor's attribute of that name.

        Returns:
            `pixel_mask` int64 [B, H, W], 1 on real pixels (only with `do_pad`); `pixel_values` [B, 3, H, W]; `labels`,
            a list with one mapping for each picture, when there are annotations. Its boxes are (centre x, centre y,
            width, height) as fractions of the padded canvas; with `do_convert_annotations=False` they are corners in
            pixels of the resized picture.

        Raises:
            ConfigError: an option's value is not possible.
            DatasetError: the annotations are not in the COCO format or do not fit the pictures.
            ImageError: a picture is broken, empty or of no known shape; the message names it.
            TypeError: an option does not exist, or something that is no picture was given.
        """
        check_keywords(type(self).__name__, options, CALL_OPTIONS)
        settings = call_settings(self, options)
        pictures = picture_list(images)
        entries = None if annotations is None else annotation_list(annotations, settings.format)
        if entries is not None:
            check_one_each(len(pictures), len(entries))
        originals = [_tensor(picture, index, settings) for index, picture in enumerate(pictures)]
        resized = [_resized(original, settings) for original in originals]
        canvas = _canvas(resized, settings)
        data: dict[str, Any] = {}
        if canvas is not None:
            data["pixel_mask"] = batch_mask(resized, canvas)
        data["pixel_values"] = batch_pixels(resized, settings.arithmetic, canvas)
        batch = BatchFeature(data, settings.return_tensors)
        if entries is not None:
            labels = [
                _read_label(entry, _size(original), settings.format, return_segmentation_masks, masks_path)
                for entry, original in zip(entries, originals, strict=True)
            ]
            sizes = [(_size(original), _size(image)) for original, image in zip(originals, resized, strict=True)]
            batch["labels"] = [
                BatchFeature(_transformed(label, old, new, canvas, settings), settings.return_tensors)
                for label, (old, new) in zip(labels, sizes, strict=True)
            ]
        return batch

    def post_process_object_detection(
        self,
        outputs: HasBoxes,
        threshold: float = 0.1,
        target_sizes: Tensor | Sequence[tuple[int, int]] | None = None,
    ) -> list[dict[str, Tensor]]:
        """Return the boxes whose best token scores above a threshold; `labels` are token positions.

        Args:
            outputs: the model's outputs, with `logits` [B, Q, T] and `pred_boxes` [B, Q, 4].
            threshold: a box is kept when its score is greater.
            target_sizes: (height, width) of each original picture in pixels; None leaves boxes in the unit square.

        Returns:
            For each picture "scores" [N], "labels" [N] and "boxes" [N, 4], corners, in the order of the queries.

        Raises:
            TypeError: `target_sizes` is of another type.
            ValueError: there is not one target size for each picture.
        """
        found = detect_tokens(outputs.logits, outputs.pred_boxes, threshold=threshold, target_sizes=target_sizes)
        return [{"scores": each.scores, "labels": each.labels, "boxes": each.boxes} for each in found]

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | os.PathLike[str], **options: Any) -> Self:
        """Read a processor from a folder, a JSON file or a hub repository.

        In a folder the "image_processor" of `processor_config.json` wins over `preprocessor_config.json`.

        Args:
            pretrained_model_name_or_path: the checkpoint's name.
            **options: those of `HubOptions` say where to look; all others replace what the file says.

        Raises:
            CheckpointError: there is no such place, or it has no image processor.
            TypeError: an option does not exist.
        """
        hub, settings = split_hub_options(options)
        return cls.from_dict(read_image_processor(locate(pretrained_model_name_or_path, **hub)), **settings)

    @classmethod
    def from_dict(cls, image_processor_dict: Mapping[str, Any], **options: Unpack[ImageProcessorOptions]) -> Self:
        """Build a processor from what a file holds; keys that are no options are kept as attributes.

        Args:
            image_processor_dict: the file's values.
            **options: replace them.

        Raises:
            ConfigError: a value is not possible.
            TypeError: an option does not exist.
        """
        check_keywords(f"{cls.__name__}.from_dict", options, CONSTRUCTOR_OPTIONS)
        values = {key: value for key, value in image_processor_dict.items() if key not in _TYPE_KEYS} | dict(options)
        processor = cls(**{key: value for key, value in values.items() if key in CONSTRUCTOR_OPTIONS})
        processor._extra = {key: value for key, value in values.items() if key not in CONSTRUCTOR_OPTIONS}
        for key, value in processor._extra.items():
            setattr(processor, key, value)
        return processor

    def to_dict(self) -> dict[str, Any]:
        """Return the options as JSON values; those that are None are left out."""
        kept = {key: value for key, value in self._extra.items() if value is not None}
        return kept | saved_settings(self) | {"image_processor_type": "GroundingDinoImageProcessor"}

    def to_json_string(self) -> str:
        """Return the text of `preprocessor_config.json`."""
        return json.dumps(self.to_dict(), indent=2, sort_keys=True) + "\n"

    def save_pretrained(self, save_directory: str | os.PathLike[str]) -> None:
        """Write `preprocessor_config.json` into a folder, which is made if need be."""
        write_json(Path(save_directory) / IMAGE_PROCESSOR_FILE, self.to_dict())

    def __repr__(self) -> str:
        return f"{type(self).__name__} {self.to_json_string()}"


GroundingDinoImageProcessorFast = GroundingDinoImageProcessor


def read_image_processor(location: Location) -> dict[str, Any]:
    """Return what a checkpoint's files say about its image processor.

    Raises:
        CheckpointError: it has neither of the two files.
    """
    if location.file is not None and location.file.suffix == ".json":
        values = read_json(location.file)
        nested = values.get("image_processor")
        return nested if isinstance(nested, dict) else values
    path = location.first_of(PROCESSOR_FILE, IMAGE_PROCESSOR_FILE)
    if path is not None and path.name == PROCESSOR_FILE:
        nested = read_json(path).get("image_processor")
        if isinstance(nested, dict):
            return nested
        path = location.find(IMAGE_PROCESSOR_FILE)
    if path is not None:
        return read_json(path)
    raise CheckpointError(
        f"{location.name!r} has no image processor: neither {IMAGE_PROCESSOR_FILE!r} nor an 'image_processor' in "
        f"{PROCESSOR_FILE!r}. {location.contents()} GroundingDinoImageProcessor() has the published settings."
    )


def _tensor(picture: Picture, index: int, settings: CallSettings) -> Tensor:
    tensor = picture_tensor(
        picture, index=index, convert_rgb=settings.convert_rgb, channels=settings.channels, white=settings.white
    )
    return tensor if settings.device is None else tensor.to(settings.device)


def _resized(image: Tensor, settings: CallSettings) -> Tensor:
    if settings.size is None:
        return image
    return resize(image, target_size(*_size(image), settings.size), settings.resample)


def _canvas(images: Sequence[Tensor], settings: CallSettings) -> tuple[int, int] | None:
    if not settings.do_pad:
        return None
    largest = max(image.shape[1] for image in images), max(image.shape[2] for image in images)
    return settings.pad_size or largest


def _read_label(
    entry: Mapping[str, Any],
    size: tuple[int, int],
    style: AnnotationFormat,
    with_masks: bool | None,
    masks_path: str | Path | None,
) -> Label:
    if style is AnnotationFormat.COCO_PANOPTIC:
        return panoptic_label(entry, *size, masks_path=masks_path, with_masks=with_masks is not False)
    return detection_label(entry, *size, with_masks=bool(with_masks))


def _transformed(
    label: Label, old: tuple[int, int], new: tuple[int, int], canvas: tuple[int, int] | None, settings: CallSettings
) -> Label:
    if settings.size is not None:
        label = resized_label(label, old, new)
    if settings.convert_annotations:
        label = normalised_label(label, new)
    if canvas is not None:
        label = padded_label(label, new, canvas, is_normalised=settings.convert_annotations)
    return label


def _size(image: Tensor) -> tuple[int, int]:
    return image.shape[1], image.shape[2]


__all__ = [
    "GroundingDinoImageProcessor",
    "GroundingDinoImageProcessorFast",
    "read_image_processor",
]
