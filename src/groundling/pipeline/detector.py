"""Pictures and labels in, boxes out."""

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import NamedTuple, Self, Unpack, cast

import numpy as np
import torch
from PIL.Image import Image
from torch import Tensor

from groundling.auto import AutoModelForZeroShotObjectDetection
from groundling.configuration import DetectorConfig, float_type
from groundling.errors import CheckpointError, ConfigError, GroundlingError, PromptError
from groundling.files import BUNDLED_MODEL, HubOptions, locate
from groundling.model.grounding_dino import GroundingDinoForObjectDetection
from groundling.pipeline.cuda_graphs import compile_for_inference
from groundling.pipeline.pictures import Picture, read_picture
from groundling.pipeline.processor_files import load_processor
from groundling.postprocess.label_scores import Aggregation
from groundling.postprocess.select import Selection, check_selection, select_detections
from groundling.processing.processor import GroundingDinoProcessor
from groundling.processing.prompt import build_caption_prompt, build_prompt, collate_prompts, labels_from_text
from groundling.processing.tokenizer import GroundingDinoTokenizer
from groundling.structures.detections import Detections
from groundling.structures.features import ImageFeatures, Prediction, TextFeatures
from groundling.structures.prompt import DELIMITER_IDS, Caption, Prompt

logger = logging.getLogger(__name__)

ABOUT_BUNDLED_MODEL = (
    f"{BUNDLED_MODEL} is used: a small model of drawn shapes such as 'red star'. "
    "For photographs name another one, such as 'IDEA-Research/grounding-dino-tiny'."
)

Labels = Sequence[str] | str | Caption | Prompt


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


class Detector:
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
        self.model = model.eval()
        self.processor = processor
        _check_vocabulary(processor.tokenizer, model.config)
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
        place, number_format = _check_device(device), None if dtype is None else float_type(dtype)
        processor = load_processor(locate(name, **options))
        model = AutoModelForZeroShotObjectDetection.from_pretrained(name, dtype=number_format, **options)
        if dtype is None and place.type == "cpu" and model.dtype == torch.float16:
            model = model.float()
        return cls(model.to(place), processor, compile=compile)

    def prompt(self, labels: Labels) -> Prompt:
        """Build a prompt once, to use it for many pictures.

        Args:
            labels: a list of names; a classic prompt such as "a cat. a remote control."; a sentence with the phrases
                in it that are to be found; or a prompt, which is returned as it is.

        Raises:
            PromptError: there is no label, a label is blank, or the prompt has more tokens than the model can read.
        """
        tokenizer, limit = self.processor.tokenizer, self.model.config.max_text_len
        if isinstance(labels, Caption):
            return build_caption_prompt(tokenizer, labels, limit)
        if not isinstance(labels, Prompt):
            return build_prompt(tokenizer, labels_from_text(labels) if isinstance(labels, str) else labels, limit)
        if len(labels.token_ids) > limit:
            raise PromptError(
                f"The prompt has {len(labels.token_ids)} tokens, but the model reads at most {limit} tokens. "
                "Use fewer or shorter labels, or several prompts."
            )
        return labels

    def __call__(
        self,
        image: Picture,
        labels: Labels,
        *,
        threshold: float = 0.3,
        top_k: int | None = None,
        nms_iou: float | None = None,
        aggregate: Aggregation = "mean",
        allow_url: bool = False,
    ) -> Detections:
        """Find what the labels name in one picture.

        Args:
            image: a path, a PIL image, a numpy array [H, W, C] or a torch tensor [C, H, W]; see `read_picture`.
            labels: what to find; see `prompt`.
            threshold: 0 to 1; a box is kept when its score is greater.
            top_k: keep at most so many boxes, the best; None keeps all.
            nms_iou: 0 to 1; drop a box that overlaps a better one of the same label by more; None keeps all.
            aggregate: how the scores of a label's tokens become its score: "mean" or "max".
            allow_url: download the picture where `image` is a URL.

        Returns:
            Boxes in pixels of the upright original picture, best first.

        Raises:
            ImageError: the picture cannot be used.
            PromptError: the labels cannot be used.
            ConfigError: a number is outside its range.
        """
        (found,) = self.detect_many(
            [image],
            labels,
            threshold=threshold,
            top_k=top_k,
            nms_iou=nms_iou,
            aggregate=aggregate,
            allow_url=allow_url,
        )
        return found

    def detect_many(
        self,
        images: Iterable[Picture],
        labels: Labels | Sequence[Labels],
        *,
        batch_size: int = 1,
        threshold: float = 0.3,
        top_k: int | None = None,
        nms_iou: float | None = None,
        aggregate: Aggregation = "mean",
        allow_url: bool = False,
    ) -> Iterator[Detections]:
        """Find what the labels name in many pictures, one result after the other.

        Pictures are read as the results are asked for. A batch holds only pictures that have the same size after
        resizing: padding would change what is found at their edges.

        Args:
            images: pictures of any form and size.
            labels: what to find in every one of them, or a list with something to find for each: lists of names,
                captions or prompts.
            batch_size: most pictures computed at a time; it changes speed and memory, not results.
            threshold: see `__call__`, as the others.
            top_k: most boxes a picture.
            nms_iou: overlap from which a box is dropped for a better one of its label.
            aggregate: how token scores become a label's score.
            allow_url: download pictures where they are URLs.

        Raises:
            ImageError: a picture cannot be used; it comes when that picture's batch is reached.
            PromptError: the labels cannot be used.
            ConfigError: a number is outside its range.
        """
        if not isinstance(batch_size, int) or batch_size < 1:
            raise ConfigError(f"batch_size must be a number of at least 1, got {batch_size!r}.")
        if isinstance(images, str | bytes | os.PathLike | Image | np.ndarray | Tensor):
            raise TypeError(
                f"images must be a list or another iterable of pictures, got one {type(images).__name__}. "
                "Put it into a list, or call the detector itself."
            )
        prompts = self._prompts(labels)

        check_selection(threshold=threshold, top_k=top_k, nms_iou=nms_iou, aggregate=aggregate)
        select = partial(select_detections, threshold=threshold, top_k=top_k, nms_iou=nms_iou, aggregate=aggregate)
        return self._stream(images, prompts, select, batch_size, allow_url)

    def _prompts(self, labels: Labels | Sequence[Labels]) -> Prompt | list[Prompt]:
        """Build one prompt for all pictures, or one for each where the list holds more than names."""
        if isinstance(labels, list | tuple) and labels and not any(isinstance(one, str) for one in labels):
            return [self.prompt(one) for one in labels]
        return self.prompt(cast(Labels, labels))

    def _stream(
        self,
        images: Iterable[Picture],
        prompts: Prompt | list[Prompt],
        select: Callable[..., Selection],
        batch_size: int,
        allow_url: bool,
    ) -> Iterator[Detections]:
        texts = self.encode_text([prompts]) if isinstance(prompts, Prompt) else None
        count = 0
        remaining = iter(images)
        while chunk := list(islice(remaining, batch_size)):
            asked = [prompts] * len(chunk) if isinstance(prompts, Prompt) else prompts[count : count + len(chunk)]
            if len(asked) < len(chunk):
                raise PromptError(f"There are {count + len(asked)} prompts for more pictures. Give one for each.")
            count += len(chunk)
            prepared = [self.prepare(image, allow_url=allow_url) for image in chunk]
            found: dict[int, Detections] = {}
            for rows in _rows_by_size(prepared):
                text = texts if texts is not None else self.encode_text([asked[row] for row in rows])
                prediction = self.ground(self.encode_images([prepared[row] for row in rows]), text)
                for place, row in enumerate(rows):
                    selection = select(
                        prediction.logit_BQT[place],
                        prediction.box_BQ4[place],
                        asked[row].label_tokens,
                        image_hw=prepared[row].image_hw,
                    )
                    found[row] = _to_detections(selection, asked[row], prepared[row])
            yield from (found[row] for row in range(len(chunk)))
        if not isinstance(prompts, Prompt) and count < len(prompts):
            raise PromptError(f"There are {len(prompts)} prompts for {count} pictures. Give one for each.")

    def prepare(self, image: Picture, *, allow_url: bool = False) -> PreparedPicture:
        """Turn a picture into what the model reads.

        Args:
            image: see `__call__`.
            allow_url: download the picture where `image` is a URL.

        Raises:
            ImageError: the picture cannot be used.
        """
        picture = read_picture(image, allow_url=allow_url)
        processor = self.processor.image_processor
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

    @torch.inference_mode()
    def encode_text(self, prompts: Sequence[Prompt]) -> TextFeatures:
        """Encode prompts, which do not depend on pictures; shorter ones are padded."""
        inputs = {name: values.to(self._device) for name, values in collate_prompts(prompts).items()}
        return self.model.encode_text(**inputs)

    @torch.inference_mode()
    def encode_images(self, batch: Sequence[PreparedPicture]) -> ImageFeatures:
        """Encode pictures of one size, which do not depend on prompts."""
        pixel_values = torch.cat([one.pixel_values for one in batch]).to(self._device)
        masks = [one.pixel_mask for one in batch if one.pixel_mask is not None]
        return self.model.encode_image(pixel_values, torch.cat(masks).to(self._device) if masks else None)

    @torch.inference_mode()
    def ground(self, image: ImageFeatures, text: TextFeatures) -> Prediction:
        """Let pictures and prompts meet; one prompt serves all pictures, or there is one for each.

        Raises:
            GroundlingError: the model's output is not a number.
        """
        repeats = image.token_BSD.shape[0] // text.token_BTD.shape[0]
        prediction = self.model.ground(image, TextFeatures(*(torch.cat([part] * repeats) for part in text)))
        if bool(prediction.logit_BQT.isnan().any() | prediction.box_BQ4.isnan().any()):
            raise GroundlingError(
                "The model's output is not a number (NaN), so nothing could be found. With dtype float16 a value was "
                "too large: use bfloat16 or float32. Otherwise the checkpoint is damaged."
            )
        return prediction

    @property
    def _device(self) -> torch.device:
        return next(self.model.parameters()).device


def _check_vocabulary(tokenizer: GroundingDinoTokenizer, config: DetectorConfig) -> None:
    """Refuse a tokenizer of another model: the phrases of a prompt are found by fixed ids."""
    marks = ["[CLS]", "[SEP]", ".", "?"]
    ids = tuple(tokenizer.convert_tokens_to_ids(marks))
    if ids != DELIMITER_IDS:
        raise CheckpointError(
            f"The tokenizer gives {', '.join(marks)} the ids {ids}, but the model needs {DELIMITER_IDS}. "
            "Use the tokenizer of the checkpoint."
        )
    if tokenizer.vocab_size > config.text_config.vocab_size:
        raise CheckpointError(
            f"The tokenizer has {tokenizer.vocab_size} words, but the model knows {config.text_config.vocab_size}. "
            "Use the tokenizer of the checkpoint."
        )


def _rows_by_size(prepared: Sequence[PreparedPicture]) -> list[list[int]]:
    """Group the pictures that can be computed together: same size, and all of it picture or padded alike."""
    rows: dict[tuple[torch.Size, bool], list[int]] = {}
    for row, one in enumerate(prepared):
        rows.setdefault((one.pixel_values.shape, one.pixel_mask is None), []).append(row)
    return list(rows.values())


def _to_detections(selection: Selection, prompt: Prompt, picture: PreparedPicture) -> Detections:
    height, width = picture.image_hw
    return Detections(
        boxes_xyxy=selection.boxes_xyxy.cpu().numpy(),
        scores=selection.scores.cpu().numpy(),
        label_ids=selection.label_ids.cpu().numpy(),
        labels=prompt.labels,
        image_wh=(width, height),
        label_scores=selection.label_scores.cpu().numpy(),
        source=picture.source,
    )


def _check_device(device: str | torch.device | None) -> torch.device:
    """Return a device that is there; a mistake should not wait for the model to be loaded."""
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        place = torch.device(device)
        torch.empty(0, device=place)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ConfigError(
            f"The device {str(device)!r} cannot be used ({str(error).splitlines()[0]}). Use for example 'cpu'."
        ) from error
    return place
