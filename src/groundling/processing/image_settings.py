"""The options of the image processor: their names, defaults, checks and how a file writes them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypedDict

import torch
from PIL import Image

from groundling.errors import ConfigError
from groundling.processing.annotations import AnnotationFormat, annotation_format
from groundling.processing.batch_feature import check_tensor_type
from groundling.processing.images import channel_format
from groundling.processing.pixels import PixelArithmetic, check_factors
from groundling.processing.sizes import SizeDict, size_rule


class ImageOptions(TypedDict, total=False):
    """Options of the image processor, in its constructor and in a call.

    Attributes:
        do_resize: resize to `size`.
        size: see `size_rule`.
        resample: 0 nearest, 1 Lanczos, 2 bilinear, 3 bicubic.
        do_rescale: multiply by `rescale_factor`.
        rescale_factor: 1/255 brings 0..255 to 0..1.
        do_normalize: subtract `image_mean` and divide by `image_std`.
        image_mean: one number a channel, of rescaled values.
        image_std: one number a channel, of rescaled values.
        do_pad: pad the pictures of a batch to one size and return a pixel mask.
        pad_size: the size to pad to; None is the largest height and width of the batch.
        do_convert_rgb: None and True make every picture RGB; False keeps its channels.
        do_convert_annotations: make label boxes centre-size fractions; False keeps corners in pixels.
        format: "coco_detection" or "coco_panoptic".
        input_data_format: "channels_first" or "channels_last" for arrays; None looks for the channel axis.
        device: where the pixels are computed.
        return_tensors: "pt", "np" or None; pixels are stacked tensors with None too.
        default_to_square: accepted for old files; has no effect.
        do_center_crop: accepted for old files; has no effect.
        crop_size: accepted for old files; has no effect.
        data_format: accepted for old files; has no effect.
        disable_grouping: accepted for old files; has no effect.
        image_seq_length: accepted for old files; has no effect.
    """

    do_resize: bool | None
    size: int | Sequence[int] | Mapping[str, int] | None
    resample: int | None
    do_rescale: bool | None
    rescale_factor: float | None
    do_normalize: bool | None
    image_mean: float | Sequence[float] | None
    image_std: float | Sequence[float] | None
    do_pad: bool | None
    pad_size: int | Sequence[int] | Mapping[str, int] | None
    do_convert_rgb: bool | None
    do_convert_annotations: bool | None
    format: str
    input_data_format: str | None
    device: str | torch.device | None
    return_tensors: str | None
    default_to_square: bool | None
    do_center_crop: bool | None
    crop_size: int | Sequence[int] | Mapping[str, int] | None
    data_format: str | None
    disable_grouping: bool | None
    image_seq_length: int | None


class ImageProcessorOptions(ImageOptions, total=False):
    """Options of the constructor alone.

    Attributes:
        max_size: the longest edge that goes with an int `size`.
        pad_and_return_pixel_mask: older name of `do_pad`.
    """

    max_size: int | None
    pad_and_return_pixel_mask: bool | None


DEFAULTS: dict[str, Any] = dict.fromkeys(ImageOptions.__annotations__) | {
    "do_resize": True,
    "size": SizeDict(shortest_edge=800, longest_edge=1333),
    "resample": Image.Resampling.BILINEAR,
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": (0.485, 0.456, 0.406),
    "image_std": (0.229, 0.224, 0.225),
    "do_pad": True,
    "format": AnnotationFormat.COCO_DETECTION,
    "default_to_square": False,
}
CALL_OPTIONS = frozenset(ImageOptions.__annotations__)
CONSTRUCTOR_OPTIONS = CALL_OPTIONS | {"max_size", "pad_and_return_pixel_mask"}
# a file holds all but these, which belong to one call
_UNSAVED = frozenset({"default_to_square", "device", "return_tensors"})


class CallSettings(NamedTuple):
    """The checked options of one call."""

    size: SizeDict | None
    resample: int
    arithmetic: PixelArithmetic
    do_pad: bool
    pad_size: tuple[int, int] | None
    convert_rgb: bool
    convert_annotations: bool
    format: AnnotationFormat
    channels: str | None
    device: str | torch.device | None
    return_tensors: str | None

    @property
    def white(self) -> float:
        """The value of white in a picture of floating numbers."""
        return 1.0 if self.arithmetic.rescale_factor is None else 1.0 / self.arithmetic.rescale_factor


def constructor_settings(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return every option's value for the constructor's keywords, checked.

    Raises:
        ConfigError: a value is not possible.
    """
    values = DEFAULTS | {"size": SizeDict(DEFAULTS["size"])} | dict(given)
    legacy_pad, max_size = values.pop("pad_and_return_pixel_mask", None), values.pop("max_size", None)
    if legacy_pad is not None and "do_pad" not in given:
        values["do_pad"] = legacy_pad
    if given.get("do_convert_annotations") is None:
        values["do_convert_annotations"] = values["do_normalize"] if given.get("do_normalize") is not None else True
    return {name: _checked(name, value, max_size) for name, value in values.items()}


def call_settings(processor: object, given: Mapping[str, Any]) -> CallSettings:
    """Return the options of one call: what was given, else the processor's attributes.

    Raises:
        ConfigError: a value is not possible, or a step lacks its numbers.
    """
    values = {name: _checked(name, given[name] if name in given else getattr(processor, name)) for name in CALL_OPTIONS}
    if values["do_resize"] and (values["size"] is None or values["resample"] is None):
        raise ConfigError("do_resize=True needs size and resample, such as size=800, resample=2.")
    if values["do_rescale"] or values["do_normalize"]:
        check_factors(
            values["rescale_factor"] if values["do_rescale"] else 1.0,
            values["image_mean"] if values["do_normalize"] else (),
            values["image_std"] if values["do_normalize"] else (),
        )
    return CallSettings(
        size=values["size"] if values["do_resize"] else None,
        resample=values["resample"],
        arithmetic=PixelArithmetic(
            rescale_factor=values["rescale_factor"] if values["do_rescale"] else None,
            mean=values["image_mean"] if values["do_normalize"] else None,
            std=values["image_std"] if values["do_normalize"] else None,
        ),
        do_pad=bool(values["do_pad"]),
        pad_size=_height_and_width(values["pad_size"]),
        convert_rgb=values["do_convert_rgb"] is not False,
        convert_annotations=bool(values["do_convert_annotations"]),
        format=values["format"],
        channels=values["input_data_format"],
        device=values["device"],
        return_tensors=values["return_tensors"],
    )


def saved_settings(processor: object) -> dict[str, Any]:
    """Return what a file holds of a processor's options, as JSON values without None."""
    saved: dict[str, Any] = {}
    for name in sorted(CALL_OPTIONS - _UNSAVED):
        value = getattr(processor, name)
        if isinstance(value, tuple):
            value = list(value)
        elif isinstance(value, SizeDict):
            value = dict(value)
        elif isinstance(value, AnnotationFormat):
            value = value.value
        elif isinstance(value, int) and not isinstance(value, bool):
            value = int(value)  # Pillow's enumerations
        if value is not None:
            saved[name] = value
    return saved


def _checked(name: str, value: Any, max_size: int | None = None) -> Any:
    reader = _READERS.get(name)
    if reader is not None:
        return reader(value)
    if value is None:
        return None
    if name == "size":
        return size_rule(value, max_size=max_size)
    if name in ("pad_size", "crop_size"):
        return size_rule({"height": value, "width": value} if isinstance(value, int) else value, name=name)
    if name in ("image_mean", "image_std"):
        return _channel_numbers(name, value)
    if name.startswith("do_") and not isinstance(value, bool):
        raise ConfigError(f"{name} must be True or False, got {value!r}.")
    if name == "rescale_factor" and (not _is_number(value) or value <= 0):
        raise ConfigError(f"rescale_factor must be a positive number such as 1/255, got {value!r}.")
    if name == "resample" and not isinstance(value, int):
        raise ConfigError(f"resample must be an integer such as PIL.Image.BILINEAR (2), got {value!r}.")
    return value


# options whose None has its own meaning
_READERS: dict[str, Callable[[object], Any]] = {
    "format": annotation_format,
    "return_tensors": check_tensor_type,
    "input_data_format": channel_format,
}


def _channel_numbers(name: str, value: Any) -> tuple[float, ...]:
    numbers = (value,) if _is_number(value) else value
    if not isinstance(numbers, list | tuple) or not numbers or not all(_is_number(number) for number in numbers):
        raise ConfigError(f"{name} must be a list of numbers, one a channel, got {value!r}.")
    if name == "image_std" and min(numbers) <= 0:
        raise ConfigError(f"image_std must be positive, got {value!r}.")
    return tuple(float(number) for number in numbers)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _height_and_width(size: SizeDict | None) -> tuple[int, int] | None:
    if size is None:
        return None
    if size.height is None or size.width is None:
        raise ConfigError(f"pad_size must have 'height' and 'width', got {dict(size)}.")
    return size.height, size.width
