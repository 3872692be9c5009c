"""`GroundingDinoProcessor`: pictures and text in one call, and the model's outputs back to boxes with words."""

import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self

from torch import Tensor

from groundling.errors import PromptError
from groundling.files import locate, split_hub_options, write_json
from groundling.keywords import check_keywords
from groundling.postprocess import HasBoxes, TargetSizes, detect_phrases, phrase_token_ids
from groundling.processing.batch_feature import BatchFeature
from groundling.processing.image_processor import PROCESSOR_FILE, GroundingDinoImageProcessor, read_image_processor
from groundling.processing.image_settings import CALL_OPTIONS as IMAGE_OPTIONS
from groundling.processing.image_settings import CONSTRUCTOR_OPTIONS as IMAGE_SETTINGS
from groundling.processing.text_batch import CALL_OPTIONS as TEXT_OPTIONS
from groundling.processing.tokenizer import SETTINGS as TOKENIZER_SETTINGS
from groundling.processing.tokenizer import GroundingDinoTokenizer

_WITHOUT_EFFECT = frozenset({"use_fast", "trust_remote_code"})
"""Options of other libraries that people pass and that could change nothing here."""
_ANNOTATION_OPTIONS = frozenset({"annotations", "return_segmentation_masks", "masks_path"})
_IMAGE_CALL = IMAGE_OPTIONS | _ANNOTATION_OPTIONS
_GROUPS = ("text_kwargs", "images_kwargs", "common_kwargs")
_LABELS_WARNING = (
    "The key `labels` will hold integer ids one day; today it holds the same strings as `text_labels`. "
    "Use `text_labels` for the names."
)


class HasBoxesAndText(HasBoxes, Protocol):
    """The model's outputs with the ids of the prompt."""

    @property
    def input_ids(self) -> Tensor | None:
        """Token ids [B, T]."""


class GroundedResult(dict[str, Any]):
    """Boxes of one picture: "scores" [N], "boxes" [N, 4] corners, "text_labels" and "labels", N strings each.

    Reading "labels" gives a FutureWarning, as documented.
    """

    def __getitem__(self, key: str) -> Any:
        if key == "labels":
            warnings.warn(_LABELS_WARNING, FutureWarning, stacklevel=2)
        return super().__getitem__(key)

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value of a key, or the default."""
        if key == "labels":
            warnings.warn(_LABELS_WARNING, FutureWarning, stacklevel=2)
        return super().get(key, default)


class GroundingDinoProcessor:
    """Prepares pictures and text for Grounding DINO, and reads its outputs.

    Args:
        image_processor: for pictures.
        tokenizer: for text.

    Raises:
        TypeError: an argument is missing or of another kind.
    """

    model_input_names: ClassVar[list[str]] = [
        "pixel_values",
        "pixel_mask",
        "input_ids",
        "token_type_ids",
        "attention_mask",
    ]

    def __init__(self, image_processor: GroundingDinoImageProcessor, tokenizer: GroundingDinoTokenizer) -> None:
        for name, value, kind in (
            ("image_processor", image_processor, GroundingDinoImageProcessor),
            ("tokenizer", tokenizer, GroundingDinoTokenizer),
        ):
            if not isinstance(value, kind):
                raise TypeError(
                    f"Received a {type(value).__name__} for argument {name}, but a {kind.__name__} was expected."
                )
        self.image_processor = image_processor
        self.tokenizer = tokenizer

    def __call__(
        self, images: Any = None, text: Any = None, videos: None = None, audio: None = None, **options: Any
    ) -> BatchFeature:
        """Prepare pictures, text or both.

        A list of labels becomes one prompt, "a cat. a remote control."; it stays one prompt when there are several
        pictures. Give a list of such lists, or of texts, for one prompt a picture. A text that is already a string (or
        a label with a "." in it) is taken as it is.

        Args:
            images: as in `GroundingDinoImageProcessor.preprocess`.
            text: a list of labels, a text, or a list of either.
            videos: not supported.
            audio: not supported.
            **options: `TextOptions`, `ImageOptions` and the annotations' arguments of `preprocess`; each may also stand
                in one of the dicts `text_kwargs`, `images_kwargs` or `common_kwargs`. `return_tensors` goes to both.

        Returns:
            `input_ids`, `token_type_ids`, `attention_mask`, `pixel_mask`, `pixel_values` and `labels`, as far as text,
            pictures and annotations were given.

        Raises:
            ConfigError: an option's value is not possible.
            DatasetError: the annotations do not fit.
            ImageError: a picture cannot be used.
            PromptError: the text is of another kind, or there is neither text nor picture.
            TypeError: an option does not exist.
            ValueError: an option was given twice.
        """
        if videos is not None or audio is not None:
            raise TypeError("GroundingDinoProcessor reads images and text; videos and audio are not supported.")
        text_options, image_options = self._split(options)
        if images is None and text is None:
            raise PromptError("You need to provide at least one input to call GroundingDinoProcessor: images or text.")
        if images is None and image_options.get("annotations") is not None:
            raise TypeError("GroundingDinoProcessor got annotations without images.")
        batch = BatchFeature()
        if text is not None:
            batch.update(self.tokenizer(prepare_text(text), **{"return_token_type_ids": True, **text_options}))
        if images is not None:
            batch.update(self.image_processor(images, **image_options))
        return batch

    def post_process_grounded_object_detection(
        self,
        outputs: HasBoxesAndText,
        input_ids: Tensor | Sequence[Sequence[int]] | None = None,
        threshold: float = 0.25,
        text_threshold: float = 0.25,
        target_sizes: TargetSizes | None = None,
        text_labels: object = None,
        *,
        box_threshold: float | None = None,
    ) -> list[GroundedResult]:
        """Return the boxes above a threshold, each with the words of its tokens.

        Boxes are in the order of the queries and not clipped. The words are decoded from tokens, so a box may glue two
        labels together; `Detector` finds the caller's own labels instead.

        Args:
            outputs: the model's outputs.
            input_ids: ids of the prompts; None takes them from the outputs.
            threshold: a box is kept when its best token scores more.
            text_threshold: a token belongs to a box when it scores more.
            target_sizes: (height, width) of each original picture in pixels; None leaves boxes in the unit square.
            text_labels: accepted as documented; has no effect.
            box_threshold: older name of `threshold`.

        Raises:
            TypeError: there are no `input_ids`, or `target_sizes` is of another type.
            ValueError: there is not one target size or one row of ids for each picture.
        """
        if box_threshold is not None:
            warnings.warn(
                "`box_threshold` is the older name of `threshold`. Use `threshold`.", DeprecationWarning, stacklevel=2
            )
            threshold = box_threshold
        ids = outputs.input_ids if input_ids is None else input_ids
        if ids is None:
            raise TypeError("There are no input_ids: neither given nor in the outputs. Pass inputs.input_ids.")
        rows = ids.tolist() if isinstance(ids, Tensor) else [list(row) for row in ids]
        found = detect_phrases(
            outputs.logits,
            outputs.pred_boxes,
            threshold=threshold,
            text_threshold=text_threshold,
            target_sizes=target_sizes,
        )
        if len(rows) < len(found):
            raise ValueError(f"There are {len(found)} images in the outputs, but only {len(rows)} rows of input_ids.")
        results = []
        for detections, row in zip(found, rows, strict=False):
            words = self.tokenizer.batch_decode(phrase_token_ids(detections.token_mask, row))
            results.append(
                GroundedResult(scores=detections.scores, boxes=detections.boxes, text_labels=words, labels=words)
            )
        return results

    def batch_decode(self, *args: Any, **kwargs: Any) -> list[str]:
        """Do what the tokenizer's `batch_decode` does."""
        return self.tokenizer.batch_decode(*args, **kwargs)

    def decode(self, *args: Any, **kwargs: Any) -> str:
        """Do what the tokenizer's `decode` does."""
        return self.tokenizer.decode(*args, **kwargs)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | os.PathLike[str], **options: Any) -> Self:
        """Read a processor from a folder or a hub repository, in the layout of today or the older one.

        Args:
            pretrained_model_name_or_path: the checkpoint's name.
            **options: those of `HubOptions` say where to look; settings of the image processor and of the tokenizer
                replace the files'; `use_fast` and `trust_remote_code` have no effect.

        Raises:
            CheckpointError: there is no such place, or a part's files are missing or damaged.
            TypeError: an option does not exist.
        """
        hub, settings = split_hub_options(options)
        location = locate(pretrained_model_name_or_path, **hub)
        settings = {name: value for name, value in settings.items() if name not in _WITHOUT_EFFECT}
        check_keywords(f"{cls.__name__}.from_pretrained", settings, IMAGE_SETTINGS | TOKENIZER_SETTINGS)
        image_options = {name: value for name, value in settings.items() if name in IMAGE_SETTINGS}
        text_options = {name: value for name, value in settings.items() if name in TOKENIZER_SETTINGS}
        image_processor = GroundingDinoImageProcessor.from_dict(read_image_processor(location), **image_options)
        return cls(image_processor, GroundingDinoTokenizer.from_location(location, **text_options))

    def to_dict(self) -> dict[str, Any]:
        """Return what `processor_config.json` holds."""
        return {"image_processor": self.image_processor.to_dict(), "processor_class": "GroundingDinoProcessor"}

    def save_pretrained(self, save_directory: str | os.PathLike[str]) -> None:
        """Write `processor_config.json`, `tokenizer.json` and `tokenizer_config.json` into a folder."""
        self.tokenizer.save_pretrained(save_directory)
        write_json(Path(save_directory) / PROCESSOR_FILE, self.to_dict())

    def __repr__(self) -> str:
        return f"{type(self).__name__}:\n- image_processor: {self.image_processor!r}\n- tokenizer: {self.tokenizer!r}"

    def _split(self, options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Sort the options of a call into those for the text and those for the pictures."""
        groups = {name: dict(options.get(name) or {}) for name in _GROUPS}
        flat = {name: value for name, value in options.items() if name not in _GROUPS}
        owner = type(self).__name__
        check_keywords(owner, flat, TEXT_OPTIONS | _IMAGE_CALL | frozenset(_GROUPS))
        check_keywords(f"text_kwargs of {owner}", groups["text_kwargs"], TEXT_OPTIONS)
        check_keywords(f"images_kwargs of {owner}", groups["images_kwargs"], _IMAGE_CALL)
        check_keywords(f"common_kwargs of {owner}", groups["common_kwargs"], TEXT_OPTIONS | _IMAGE_CALL)
        for group, values in groups.items():
            if repeated := sorted(values.keys() & flat.keys()):
                raise ValueError(
                    f"Keyword argument {repeated[0]} was passed two times: in a dictionary for {group} and as a "
                    "**kwarg. Pass it once."
                )
        shared = groups["common_kwargs"] | flat
        text = {name: value for name, value in shared.items() if name in TEXT_OPTIONS}
        images = {name: value for name, value in shared.items() if name in _IMAGE_CALL}
        return text | groups["text_kwargs"], images | groups["images_kwargs"]


def prepare_text(text: Any) -> str | list[str]:
    """Turn labels into the prompt that the model was trained on; texts stay as they are.

    ["A cat", "remote "] becomes "a cat. remote."; a list of such lists becomes a list of prompts.

    Raises:
        PromptError: the text is of another kind.
    """
    if _are_labels(text):
        return _joined(text)
    if isinstance(text, list | tuple) and all(_are_labels(entry) for entry in text):
        return [_joined(entry) for entry in text]
    if isinstance(text, str):
        return text
    if isinstance(text, list | tuple) and all(isinstance(entry, str) for entry in text):
        return list(text)
    raise PromptError(
        "`text` must be a string or list of strings: labels such as ['a cat', 'a dog'], a text such as 'a cat. a dog.',"
        f" or a list with one of them for each picture. Got {type(text).__name__}: {text!r:.80}."
    )


def _are_labels(text: Any) -> bool:
    return isinstance(text, list | tuple) and all(isinstance(label, str) and "." not in label for label in text)


def _joined(labels: Iterable[str]) -> str:
    return ". ".join(label.strip().lower() for label in labels) + "."
