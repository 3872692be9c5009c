"""Ask a model what a data set asks, picture by picture."""

# Shapes: B picture

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from groundling.data.record import Dataset, Record
from groundling.errors import ConfigError, DatasetError
from groundling.evaluate.found import Found
from groundling.evaluate.protocol import EvaluationProtocol
from groundling.evaluate.questions import Question, Questioner
from groundling.evaluate.rank import Pairs, merge_pairs, rank_pairs
from groundling.evaluate.segmented import MaskMaker
from groundling.ops.features import stack_text, take_images
from groundling.pipeline.detector import Detector
from groundling.structures.features import ImageFeatures

WINDOW = 8
"""Batches that are looked at together to find pictures of one size; it changes speed, not results."""


class _Asked(NamedTuple):
    """A picture that waits for its batch."""

    number: int
    record: Record
    question: Question


class Predictor:
    """Puts the questions of a protocol to a model.

    Args:
        detector: the model and its processor.
        names: the vocabulary of the data set.
        protocol: what is asked and what is kept.
        masks: gives boxes their masks; None where none are wanted.
    """

    def __init__(
        self,
        detector: Detector,
        names: tuple[str, ...],
        protocol: EvaluationProtocol,
        masks: MaskMaker | None = None,
    ) -> None:
        self._detector, self._protocol, self._masks = detector, protocol, masks
        self._questioner = Questioner(detector.processor.tokenizer, detector.model.config.max_text_len, names, protocol)
        self._images: tuple[list[Path | int], ImageFeatures] | None = None

    def predict(self, dataset: Dataset, indices: Sequence[int], batch_size: int = 1) -> Iterator[Found]:
        """Find what is asked in some pictures of a data set.

        Pictures are opened as their batch comes. A batch holds pictures of one size, because padding would change what
        is found; what is found in a picture does not depend on the batch.

        Args:
            dataset: the records.
            indices: which of them.
            batch_size: most pictures computed at a time.

        Yields:
            One result for each picture, in the order of the batches, which is not always that of `indices`.

        Raises:
            ConfigError: the batch size is not a positive number.
            ImageError: a picture cannot be read.
            DatasetError: a picture does not have the size that its record says, or is not asked anything it can answer.
            PromptError: a label cannot be asked for.
            GroundlingError: a model's output is not a number.
        """
        if not isinstance(batch_size, int) or batch_size < 1:
            raise ConfigError(f"batch_size must be a number of at least 1, got {batch_size!r}.")
        window = 1 if batch_size == 1 else batch_size * WINDOW
        for start in range(0, len(indices), window):
            asked = []
            for index in indices[start : start + window]:
                record = dataset[index]
                asked.append(_Asked(index, record, self._questioner.question(record)))
            for batch in _batches(asked, batch_size):
                found = self._answer(batch)
                yield from found if self._masks is None else self._masks.add([one.record for one in batch], found)

    @torch.inference_mode()
    def _answer(self, batch: Sequence[_Asked]) -> list[Found]:
        """Answer the questions about pictures of one size with as many prompts each."""
        count = len(batch[0].question.prompts)
        if count == 0:
            return [_to_found(one.number, None) for one in batch]
        image = self._encode_images(batch)
        parts: list[list[Pairs]] = [[] for _ in batch]
        for number in range(count):
            prompts = [one.question.prompts[number] for one in batch]
            prediction = self._detector.ground(image, stack_text(self._detector.text_features(prompts)))
            for place, (one, prompt) in enumerate(zip(batch, prompts, strict=True)):
                width, height = one.record.image_wh
                pairs = rank_pairs(
                    prediction.logit_BQT[place],
                    prediction.box_BQ4[place],
                    prompt.label_tokens,
                    one.question.label_ids[number],
                    image_hw=(height, width),
                    protocol=self._protocol,
                )
                parts[place].append(pairs)
        return [
            _to_found(one.number, merge_pairs(pairs, self._protocol)) for one, pairs in zip(batch, parts, strict=True)
        ]

    def _encode_images(self, batch: Sequence[_Asked]) -> ImageFeatures:
        """Encode the pictures of a batch, each once, though several questions may be about it."""
        pictures = [_picture_key(one) for one in batch]
        different = list(dict.fromkeys(pictures))
        if self._images is not None and self._images[0] == different:
            image = self._images[1]
        else:
            image = self._encode_pixels([batch[pictures.index(picture)].record for picture in different])
            self._images = different, image
        return take_images(image, [different.index(picture) for picture in pictures])

    def _encode_pixels(self, records: Sequence[Record]) -> ImageFeatures:
        prepared = [self._detector.prepare(record.open()) for record in records]
        for record, picture in zip(records, prepared, strict=True):
            height, width = picture.image_hw
            if (width, height) != tuple(record.image_wh):
                raise DatasetError(
                    f"{record.key}: the annotations say {record.image_wh[0]} x {record.image_wh[1]} pixels, but the "
                    f"picture has {width} x {height}. Correct the annotations or the picture."
                )
        return self._detector.encode_images(prepared)


def _batches(asked: Sequence[_Asked], batch_size: int) -> Iterator[list[_Asked]]:
    """Group pictures of one size with equally many prompts; the first picture's group comes first."""
    groups: dict[tuple[tuple[int, int], int], list[_Asked]] = {}
    for one in asked:
        groups.setdefault((one.record.image_wh, len(one.question.prompts)), []).append(one)
    for group in groups.values():
        for start in range(0, len(group), batch_size):
            yield group[start : start + batch_size]


def _picture_key(one: _Asked) -> Path | int:
    """Return what tells pictures apart: the file, or the number of the record that holds the picture itself."""
    return one.record.picture if isinstance(one.record.picture, Path) else one.number


def _to_found(index: int, pairs: Pairs | None) -> Found:
    if pairs is None:
        nothing: Tensor = torch.zeros(0)
        pairs = Pairs(nothing, nothing, nothing.reshape(0, 4))
    return Found(
        index=index,
        boxes_xyxy=pairs.boxes_xyxy.cpu().numpy().astype(np.float32),
        scores=pairs.scores.cpu().numpy().astype(np.float32),
        label_ids=pairs.label_ids.cpu().numpy().astype(np.int64),
    )
