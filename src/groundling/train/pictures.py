"""What the model finds while it is trained, drawn beside what is there.

Shapes: N box.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import nn

from groundling.data.record import Dataset, Record
from groundling.data.sampling import Grounded, PromptSampling, sample_prompt
from groundling.errors import DatasetError, PromptError
from groundling.pictures.drawing import draw_boxes, save_picture
from groundling.pipeline.detector import Detector

MOST_PICTURES = 6
THRESHOLD = 0.3
MOST_BOXES = 20
"""Best boxes of a picture that are drawn; a model that has just begun finds something everywhere."""

SIDE = 320
"""Longer side of a picture on the sheet, in pixels."""

_COLUMNS, _GAP, _HEAD = 2, 6, 16


class _Exhibit(NamedTuple):
    record: Record
    picture: Image.Image
    grounded: Grounded


class Showcase:
    """Draws what a model finds in a few pictures, always the same ones with the same prompts.

    Args:
        dataset: its first pictures are shown.
        sampling: how many names a prompt has; as many absent ones as allowed are asked for.
        folder: where the sheets go, `step-00001000.png` and so on.

    Raises:
        DatasetError: the data set is empty.
    """

    def __init__(self, dataset: Dataset, sampling: PromptSampling, folder: Path) -> None:
        if not len(dataset):
            raise DatasetError("There are no pictures to draw predictions on: the data set is empty.")
        self._records = [dataset[index] for index in range(min(len(dataset), MOST_PICTURES))]
        self._names, self._sampling, self._folder = dataset.names, replace(sampling, all_negatives=1.0), folder

    def __call__(self, detector: Detector, step: int) -> NDArray[np.uint8]:
        """Write a sheet with, for each picture, what is there on the left and what is found on the right.

        Pictures for which no prompt can be made are left out: nobody has looked for them in data that are only
        validated. The model is left as it was, and so are the random numbers.

        Args:
            detector: the model as it is now.
            step: steps done so far.

        Returns:
            The sheet [H, W, 3] in 0..255.

        Raises:
            ImageError: a picture cannot be read.
            OSError: the file cannot be written.
        """
        with undisturbed(detector.model):
            detector.model.eval()
            panels = []
            for number, record in enumerate(self._records):
                try:
                    grounded = self._ground(record, detector, number)
                except PromptError:
                    continue
                exhibit = _Exhibit(record, record.open(), grounded)
                panels.append((_draw_truth(exhibit), _draw_found(exhibit, detector)))
        sheet = _sheet(panels, f"what is found after step {step:,}")
        save_picture(sheet, self._folder / f"step-{step:08d}.png")
        return np.asarray(sheet)

    def _ground(self, record: Record, detector: Detector, number: int) -> Grounded:
        tokens = min(self._sampling.max_tokens, detector.model.config.max_text_len)
        sampling = replace(self._sampling, max_tokens=tokens)
        rng = np.random.default_rng(number)
        return sample_prompt(record, detector.processor.tokenizer, sampling, rng, names=self._names)


@contextmanager
def undisturbed(model: nn.Module) -> Iterator[None]:
    """Put random numbers and the modes of a model's parts back to what they were when the block ends."""
    modes = [(module, module.training) for module in model.modules()]
    device = next(model.parameters()).device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        try:
            yield
        finally:
            for module, is_training in modes:
                module.training = is_training


def _draw_truth(exhibit: _Exhibit) -> Image.Image:
    labels = exhibit.grounded.prompt.labels
    boxes, phrases, captions = [], [], []
    for box, positive_P in zip(exhibit.record.boxes_xyxy, exhibit.grounded.positive_NP, strict=True):
        meant = np.flatnonzero(positive_P)
        boxes.append(box)
        phrases.append(meant[0] if len(meant) else len(labels))
        captions.append((", ".join(labels[place] for place in meant), ""))
    return _draw(exhibit.picture, np.array(boxes, np.float32).reshape(-1, 4), phrases, captions)


def _draw_found(exhibit: _Exhibit, detector: Detector) -> Image.Image:
    found = detector(exhibit.picture, exhibit.grounded.prompt, threshold=THRESHOLD, top_k=MOST_BOXES)
    # the last one drawn covers the others, and the first one is the best
    captions = [(item.label, f"{item.score:.2f}") for item in found][::-1]
    drawn = _draw(exhibit.picture, found.boxes_xyxy[::-1], found.label_ids[::-1].tolist(), captions)
    if not captions:
        ImageDraw.Draw(drawn).text(
            (4, 4), f"nothing over {THRESHOLD}", fill="white", stroke_width=1, stroke_fill="black"
        )
    return drawn


def _draw(
    picture: Image.Image, boxes_xyxy: NDArray[np.float32], phrases: list[int], captions: list[tuple[str, str]]
) -> Image.Image:
    factor = SIDE / max(picture.size)
    size = (max(1, round(picture.width * factor)), max(1, round(picture.height * factor)))
    shown = picture.resize(size, Image.Resampling.BICUBIC)
    return draw_boxes(shown, boxes_xyxy * np.float32(factor), np.array(phrases, np.int64), captions, image_wh=size)


def _sheet(panels: list[tuple[Image.Image, Image.Image]], title: str) -> Image.Image:
    """Put pairs of pictures beside and below each other."""
    columns = min(_COLUMNS, max(len(panels), 1))
    rows = -(-len(panels) // columns)
    width, height = 2 * SIDE + _GAP, max((truth.height for truth, _ in panels), default=0)
    sheet = Image.new("RGB", (columns * (width + 2 * _GAP) - 2 * _GAP, _HEAD + rows * (height + _GAP) - _GAP), "white")
    draw = ImageDraw.Draw(sheet)
    if not panels:
        draw.text((2, 0), "no prompt can be made for any of the first pictures", fill="black")
    for place, (truth, found) in enumerate(panels):
        left, top = place % columns * (width + 2 * _GAP), _HEAD + place // columns * (height + _GAP)
        if place < columns:
            draw.text((left + 2, 2), "what is there", fill="black")
            draw.text((left + SIDE + _GAP + 2, 2), title, fill="black")
        sheet.paste(truth, (left, top))
        sheet.paste(found, (left + SIDE + _GAP, top))
    return sheet
