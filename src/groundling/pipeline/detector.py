"""Pictures and labels in, boxes out."""

import logging
import os
from collections.abc import Iterable, Iterator, Sequence, Sized
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple, Self, Unpack, cast

import numpy as np
import torch
from PIL.Image import Image
from torch import Tensor

from groundling.auto import AutoModelForZeroShotObjectDetection
from groundling.configuration import check_device, float_type
from groundling.errors import ConfigError, PromptError
from groundling.files import BUNDLED_MODEL, HubOptions, locate
from groundling.model.grounding_dino import GroundingDinoForObjectDetection
from groundling.ops.features import stack_text, take_images
from groundling.pipeline.cuda_graphs import compile_for_inference
from groundling.pipeline.pictures import Picture
from groundling.pipeline.preparation import PreparedPicture, rows_by_kind
from groundling.pipeline.processor_files import load_processor
from groundling.pipeline.prompt_encoding import PromptEncoding
from groundling.pipeline.results import to_detections
from groundling.pipeline.stages import Labels, Stages
from groundling.postprocess.label_scores import Aggregation
from groundling.postprocess.select import (
    NMS_IOU,
    THRESHOLD,
    Selection,
    SelectionRules,
    Words,
    choose_boxes,
    score_boxes,
)
from groundling.processing.processor import GroundingDinoProcessor
from groundling.structures.detections import Detections
from groundling.structures.features import TextFeatures
from groundling.structures.prompt import PromptSet

if TYPE_CHECKING:
    from groundling.pipeline.tiles import Tiles
    from groundling.pipeline.video.sources import Footage
    from groundling.pipeline.video.tracking import TrackedFrame, TrackOptions
    from groundling.structures.explanation import Explanation

logger = logging.getLogger(__name__)

ABOUT_BUNDLED_MODEL = (
    f"{BUNDLED_MODEL} is used: a small model of drawn shapes such as 'red star'. "
    "For photographs name another one, such as 'IDEA-Research/grounding-dino-tiny'."
)


class _Question(NamedTuple):
    """What one picture is asked.

    Attributes:
        prompts: the labels in prompts.
        features: what the text backbone makes of each prompt.
    """

    prompts: PromptSet
    features: Sequence[TextFeatures]


class Detector(Stages):
    """Finds what labels name, in pictures of any form.

    It holds nothing but the model and the processor and changes neither after its construction, so several threads may
    use one detector. With `compile`, one thread at a time records and replays graphs.

    `Detector()` takes the model that comes with the package, which knows drawn shapes, and says so on stderr.

    Args:
        model: it is switched to evaluation mode; its device and dtype are used.
        processor: says how pictures are resized and text is tokenised.
        compile: on CUDA, record the work as CUDA graphs: the second picture of a size is slow, those after it are fast.
            It pays where many pictures have the same few sizes. Methods of `model` are replaced, and its weights must
            then stay as they are. On other devices nothing changes, and a warning says so.

    Raises:
        ConfigError: a model is given without its processor, or the other way round.
        CheckpointError: the processor's vocabulary is not the model's.
    """

    def __init__(
        self,
        model: GroundingDinoForObjectDetection | None = None,
        processor: GroundingDinoProcessor | None = None,
        *,
        compile: bool = False,
    ) -> None:
        if model is None and processor is None:
            logger.warning(ABOUT_BUNDLED_MODEL)
            model = AutoModelForZeroShotObjectDetection.from_pretrained(BUNDLED_MODEL, dtype=torch.float32)
            processor = load_processor(locate(BUNDLED_MODEL))
        if model is None or processor is None:
            raise ConfigError("A model needs its processor. Give both, neither, or use Detector.from_pretrained(name).")
        super().__init__(model, processor)
        if compile:
            compile_for_inference(model)

    @classmethod
    def from_pretrained(
        cls,
        name: str | os.PathLike[str],
        *,
        device: str | torch.device | None = None,
        dtype: str | torch.dtype | None = None,
        compile: bool = False,
        **options: Unpack[HubOptions],
    ) -> Self:
        """Load model and processor.

        Args:
            name: a folder, a checkpoint file, "groundling/nano" or a hub id such as
                "IDEA-Research/grounding-dino-tiny".
            device: where to compute, such as "cpu" or "cuda:1"; None is CUDA where there is any, else the CPU.
            dtype: number format to compute in: "float32", "float16" or "bfloat16"; None is the checkpoint's own, but
                float32 in place of float16 on a CPU, which computes float16 slowly.
            compile: on CUDA, record the work as CUDA graphs; see `Detector`.
            **options: how a hub id is looked up.

        Raises:
            CheckpointError: there is no such checkpoint, or it is not complete.
            ConfigError: the device or dtype does not exist here, the checkpoint's configuration is not valid, or
                compiling is not possible here.
        """
        place, number_format = check_device(device), None if dtype is None else float_type(dtype)
        processor = load_processor(locate(name, **options))
        model = AutoModelForZeroShotObjectDetection.from_pretrained(name, dtype=number_format, **options)
        if dtype is None and place.type == "cpu" and model.dtype == torch.float16:
            model = model.float()
        return cls(model.to(place), processor, compile=compile)

    def __call__(  # noqa: PLR0913  (everything that changes what is found, by name)
        self,
        image: Picture,
        labels: Labels,
        *,
        threshold: float = THRESHOLD,
        top_k: int | None = None,
        nms_iou: float | None = NMS_IOU,
        nms_across_labels: bool = False,
        drop_groups: bool = False,
        aggregate: Aggregation = "mean",
        batch_size: int = 4,
        tiles: "Tiles | None" = None,
        allow_url: bool = False,
    ) -> Detections:
        """Find what the labels name in one picture.

        Args:
            image: a path, a PIL image, a numpy array [H, W, C] or a torch tensor [C, H, W]; see `read_picture`.
            labels: what to find; see `prompts`, or from `encode`.
            threshold: 0 to 1; a box is kept when its score is greater.
            top_k: keep at most so many boxes, the best; None keeps all.
            nms_iou: 0 to 1; drop a box that overlaps a better one of the same label by more; None keeps all.
            nms_across_labels: a better box of another label suppresses too.
            drop_groups: drop boxes around several others of their label.
            aggregate: how the scores of a label's tokens become its score: "mean" or "max".
            batch_size: most prompts, or tiles, computed at a time; it changes speed and memory, not results.
            tiles: search the picture in overlapping parts too, for small things in large pictures.
            allow_url: download the picture where `image` is a URL.

        Returns:
            Boxes in pixels of the upright original picture, best first.

        Raises:
            ImageError: the picture cannot be used.
            PromptError: the labels cannot be used.
            ConfigError: a number is outside its range.
        """
        rules = SelectionRules(threshold, top_k, nms_iou, nms_across_labels, drop_groups, aggregate)
        _check_batch_size(batch_size)
        if tiles is not None:
            from groundling.pipeline.tiles import detect_tiled

            return detect_tiled(self, image, labels, tiles, rules=rules, batch_size=batch_size, allow_url=allow_url)
        (found,) = self._stream(self._prepared([image], allow_url), self._asked(labels), rules, batch_size)
        return found

    def detect_many(  # noqa: PLR0913  (everything that changes what is found, by name)
        self,
        images: Iterable[Picture | PreparedPicture],
        labels: Labels | Sequence[Labels],
        *,
        batch_size: int = 1,
        threshold: float = THRESHOLD,
        top_k: int | None = None,
        nms_iou: float | None = NMS_IOU,
        nms_across_labels: bool = False,
        drop_groups: bool = False,
        aggregate: Aggregation = "mean",
        allow_url: bool = False,
    ) -> Iterator[Detections]:
        """Find what the labels name in many pictures, one result after the other.

        Pictures are read as the results are asked for. A batch holds only pictures that have the same size after
        resizing: padding would change what is found at their edges.

        Args:
            images: pictures of any form and size, or from `prepare`.
            labels: what to find in every one of them, or a list with something to find for each: lists of names,
                captions, vocabularies or prompts.
            batch_size: most pairs of a picture and a prompt computed at a time; it changes speed and memory, not
                results.
            threshold: see `__call__`, as the others.
            top_k: most boxes a picture.
            nms_iou: overlap from which a box is dropped for a better one of its label.
            nms_across_labels: or for a better one of any label.
            drop_groups: drop boxes around several others of their label.
            aggregate: how token scores become a label's score.
            allow_url: download pictures where they are URLs.

        Raises:
            ImageError: a picture cannot be used; it comes when that picture's batch is reached.
            PromptError: the labels cannot be used.
            ConfigError: a number is outside its range.
        """
        _check_batch_size(batch_size)
        if isinstance(images, str | bytes | os.PathLike | Image | np.ndarray | Tensor | PreparedPicture):
            raise TypeError(
                f"images must be a list or another iterable of pictures, got one {type(images).__name__}. "
                "Put it into a list, or call the detector itself."
            )
        rules = SelectionRules(threshold, top_k, nms_iou, nms_across_labels, drop_groups, aggregate)
        asked = self._asked(labels)
        if not isinstance(asked, _Question) and isinstance(images, Sized) and len(images) != len(asked):
            raise PromptError(f"There are {len(asked)} prompts for {len(images)} pictures. Give one for each.")
        return self._stream(self._prepared(images, allow_url), asked, rules, batch_size)

    def track(self, source: "Footage", labels: Labels, **options: Unpack["TrackOptions"]) -> "Iterator[TrackedFrame]":
        """Find and follow what the labels name in a video, frame by frame.

        Args:
            source: a video file, a folder of frames, the number of a camera, an http(s) or rtsp address, or pictures.
            labels: what to find; see `prompts`.
            **options: see `groundling.pipeline.video.track`.

        Raises:
            ImageError: the source cannot be read.
            PromptError: the labels cannot be used.
            ConfigError: a number is outside its range.
            MissingExtraError: a package for video is not installed.
        """
        from groundling.pipeline.video.tracking import track

        return track(self, source, labels, **options)

    def explain(
        self,
        image: Picture,
        labels: Labels,
        *,
        threshold: float = THRESHOLD,
        top_k: int | None = None,
        nms_iou: float | None = NMS_IOU,
        allow_url: bool = False,
    ) -> "Explanation":
        """Find what the labels name in one picture, and keep what the model saw; see `groundling.pipeline.explain`."""
        from groundling.pipeline.explain import explain

        return explain(self, image, labels, threshold=threshold, top_k=top_k, nms_iou=nms_iou, allow_url=allow_url)

    def _asked(self, labels: Labels | Sequence[Labels]) -> "_Question | Sequence[PromptSet | PromptEncoding]":
        """Return one question for all pictures, or prompts for each where the list holds more than names."""
        if isinstance(labels, list | tuple) and labels and not any(isinstance(one, str) for one in labels):
            return [one if isinstance(one, PromptEncoding) else self.prompts(one) for one in labels]
        return self._question(cast(Labels, labels))

    def _prepared(self, images: Iterable[Picture | PreparedPicture], allow_url: bool) -> Iterator[PreparedPicture]:
        for image in images:
            yield image if isinstance(image, PreparedPicture) else self.prepare(image, allow_url=allow_url)

    def _stream(
        self,
        pictures: Iterator[PreparedPicture],
        asked: "_Question | Sequence[PromptSet | PromptEncoding]",
        rules: SelectionRules,
        batch_size: int,
    ) -> Iterator[Detections]:
        count = 0
        while chunk := list(islice(pictures, batch_size)):
            if isinstance(asked, _Question):
                questions = [asked] * len(chunk)
            elif count + len(chunk) > len(asked):
                raise PromptError(f"There are {len(asked)} prompts for more pictures. Give one for each.")
            else:
                questions = [self._question(one) for one in asked[count : count + len(chunk)]]
            count += len(chunk)
            yield from self._answer(chunk, questions, rules, batch_size)
        if not isinstance(asked, _Question) and count < len(asked):
            raise PromptError(f"There are {len(asked)} prompts for {count} pictures. Give one for each.")

    def _question(self, labels: Labels) -> "_Question":
        if isinstance(labels, PromptEncoding):
            encoding = self.encode(labels)
            return _Question(encoding.prompts, encoding.features)
        prompts = self.prompts(labels)
        return _Question(prompts, self.text_features(prompts.prompts))

    def _answer(
        self,
        pictures: Sequence[PreparedPicture],
        questions: "Sequence[_Question]",
        rules: SelectionRules,
        batch_size: int,
    ) -> list[Detections]:
        """Answer one question for each picture: pictures of one kind are encoded together, and each only once."""
        parts: list[list[Selection]] = [[] for _ in pictures]
        for rows in rows_by_kind(pictures):
            image = self.encode_images([pictures[row] for row in rows])
            pairs = [(place, row, n) for place, row in enumerate(rows) for n in range(len(questions[row].features))]
            for start in range(0, len(pairs), batch_size):
                batch = pairs[start : start + batch_size]
                prediction = self.ground(
                    take_images(image, [place for place, _, _ in batch]),
                    stack_text([questions[row].features[n] for _, row, n in batch]),
                )
                for logit_QT, box_Q4, (_, row, n) in zip(*prediction, batch, strict=True):
                    words, image_hw = _words(questions[row].prompts, n), pictures[row].image_hw
                    part = score_boxes(logit_QT, box_Q4, words, image_hw=image_hw, rules=rules)
                    is_all = len(questions[row].features) == 1
                    parts[row].append(part if is_all else part._replace(label_scores=None))
        chosen = [choose_boxes(some, rules) for some in parts]
        return [
            to_detections(selection, question.prompts.labels, image_hw=picture.image_hw, source=picture.source)
            for selection, question, picture in zip(chosen, questions, pictures, strict=True)
        ]


def _words(prompts: PromptSet, number: int) -> Words:
    return Words(prompts.prompts[number].label_tokens, prompts.label_ids[number], prompts.thresholds)


def _check_batch_size(batch_size: int) -> None:
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
        raise ConfigError(f"batch_size must be a number of at least 1, got {batch_size!r}.")
