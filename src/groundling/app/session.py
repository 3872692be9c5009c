"""What the page does with a picture, without the page: a search, what the sliders choose of it, and its files.

The model runs once, with a threshold that no slider goes below; the sliders choose among what it found.
"""

import html
import re
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import PIL.Image
import torch
from numpy.typing import NDArray

from groundling.app.temporary import let_go
from groundling.data.record import Record, one_label_each
from groundling.data.writers.coco import ANNOTATIONS, CocoWriter
from groundling.errors import ImageError, PromptError
from groundling.files import write_text
from groundling.pictures.drawing import color_hex, save_picture
from groundling.pictures.reading import open_picture
from groundling.pipeline.detector import Detector
from groundling.pipeline.explain import explain
from groundling.postprocess.nms import class_wise_nms
from groundling.postprocess.select import NMS_IOU, THRESHOLD
from groundling.structures.detections import Detections
from groundling.structures.explanation import Explanation
from groundling.structures.vocabulary import Vocabulary

LOWEST_THRESHOLD = 0.05
"""Boxes below it are never kept: they are many and mean nothing."""

KEEP_ALL = 1.0
"""No two boxes overlap by more."""

LONGEST_SHOWN = 1600
"""Pixels of the longer side of what the page shows; larger pictures take long to draw and send at each move."""

MOST_CHIPS = 40
"""Labels that the legend shows; the others are counted."""

SHORTEST_SHOWN = 900
"""Smaller pictures are shown larger, so that boxes and captions are sharp."""

COLUMNS = ("Label", "Score", "Left", "Top", "Right", "Bottom")


class Chip(NamedTuple):
    """A label in the legend: its colour as #rrggbb and how many boxes are shown."""

    label: str
    color: str
    boxes: int


@dataclass(frozen=True, slots=True)
class Choice:
    """Where the sliders stand.

    Attributes:
        threshold: 0 to 1; boxes that score more are shown.
        nms_iou: 0 to 1; of boxes of one label that overlap by more, the best is shown. 1 shows all.
        own: for a label its threshold, in place of the general one.
    """

    threshold: float = THRESHOLD
    nms_iou: float = NMS_IOU
    own: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True, eq=False)
class SearchedPicture:
    """One picture that was searched; the picture itself stays on the disk, since many pages may hold one.

    Attributes:
        name: the picture's file name, without its folder.
        path: where the upload stands.
        shown: the picture, upright RGB, in the size that the page shows.
        vocabulary: what was looked for.
        candidates: all that any position of the sliders can show, best first.
    """

    name: str
    path: Path
    shown: PIL.Image.Image
    vocabulary: Vocabulary
    candidates: Detections


def read_labels(text: str | None) -> tuple[str, ...]:
    """Split what was typed into labels: one a line or between commas, each once."""
    words = (" ".join(part.split()) for part in re.split(r"[\n,]", text or ""))
    return tuple(dict.fromkeys(word for word in words if word))


def read_vocabulary(labels: str | None, negatives: str | None) -> Vocabulary:
    """Build a vocabulary from two text boxes.

    Raises:
        PromptError: there is no label, or a word is a label and a negative.
    """
    words = read_labels(labels)
    if not words:
        raise PromptError('No label is given. Write what to find into "Labels", one a line.')
    return Vocabulary(words, negatives=read_labels(negatives))


def search(detector: Detector, path: Path | None, name: str, vocabulary: Vocabulary) -> SearchedPicture:
    """Run the model on a picture file, once.

    Args:
        detector: what looks.
        path: the picture; None where none was given.
        name: what the file was called where it came from.
        vocabulary: what to find.

    Raises:
        ImageError: there is no picture, or it cannot be read; the message names it as the caller does.
        PromptError: the labels cannot be used.
    """
    if path is None:
        raise ImageError("No picture is given. Drop one into the field on the left, or take one with the camera.")
    picture = _open(path, name)
    candidates = detector(picture, vocabulary, threshold=LOWEST_THRESHOLD, nms_iou=KEEP_ALL)
    return SearchedPicture(name, path, in_shown_size(picture), vocabulary, replace(candidates, source=name))


def _open(path: Path, name: str) -> PIL.Image.Image:
    if not path.exists():
        raise let_go(name)
    try:
        return open_picture(path)
    except ImageError as error:
        raise renamed(error, path, name) from error


def renamed(error: ImageError, path: Path, name: str) -> ImageError:
    """Return an error that calls an upload as its owner does, and does not tell where it stands here."""
    return ImageError(str(error).replace(str(path), name))


def choose(searched: SearchedPicture, choice: Choice) -> Detections:
    """Return what the model would have found with these thresholds, without running it."""
    return searched.candidates[_chosen_rows(searched.candidates, choice)]


def look_inside(detector: Detector, searched: SearchedPicture) -> Explanation:
    """Run the model once more and keep what it saw, for all candidates; its picture has the size that the page shows.

    Raises:
        ImageError: the upload was let go.
        PromptError: the labels do not fit into one prompt.
    """
    picture = _open(searched.path, searched.name)
    explanation = explain(detector, picture, searched.vocabulary, threshold=LOWEST_THRESHOLD, nms_iou=KEEP_ALL)
    return replace(explanation, picture=searched.shown)


def choose_explained(explanation: Explanation, choice: Choice) -> Explanation:
    """Keep the boxes that `choose` keeps, in pixels of the explanation's picture."""
    kept = _chosen_rows(explanation.detections, choice)
    shown = _scaled(explanation.detections[kept], explanation.picture.size)
    return replace(explanation, detections=shown, token_scores=explanation.token_scores[kept])


def _chosen_rows(found: Detections, choice: Choice) -> NDArray[np.int64]:
    least = [choice.own.get(label, choice.threshold) for label in found.labels]
    rows = np.flatnonzero(found.scores > np.array(least, np.float32)[found.label_ids])
    if choice.nms_iou < KEEP_ALL and len(rows):
        boxes, labels = torch.from_numpy(found.boxes_xyxy[rows]), torch.from_numpy(found.label_ids[rows])
        rows = rows[class_wise_nms(boxes, labels, choice.nms_iou).numpy()]
    return rows


def still_there(searched: SearchedPicture | None) -> SearchedPicture:
    """Return a search that the page still holds.

    Raises:
        ImageError: there is none, because none was made or its time is over.
    """
    if searched is None:
        raise ImageError("No picture was searched, or it was let go after an hour. Press Detect.")
    return searched


def summary(searched: SearchedPicture, found: Detections) -> str:
    """Say in HTML how much is shown of how much."""
    count = "1 box" if len(found) == 1 else f"{len(found)} boxes"
    total = len(searched.candidates)
    if not total:
        return "<p>Nothing was found. Try other words for it, or a picture in which it is larger.</p>"
    hint = "" if len(found) else " Move the threshold to the left to see them."
    return f"<p><b>{count}</b> of {total} above the lowest threshold.{hint}</p>"


def best_labels(searched: SearchedPicture, count: int) -> list[str]:
    """Return the labels of the `count` best-scoring ones that have candidates, in the caller's order."""
    found = searched.candidates.label_ids.tolist()  # best first
    best = list(dict.fromkeys(found))[:count]
    return [searched.candidates.labels[label_id] for label_id in sorted(best)]


def draw(searched: SearchedPicture, found: Detections) -> PIL.Image.Image:
    """Draw boxes on the picture in the size that the page shows."""
    return _scaled(found, searched.shown.size).draw(searched.shown)


def _scaled(found: Detections, image_wh: tuple[int, int]) -> Detections:
    """Return boxes as they stand in the picture in another size."""
    if image_wh == found.image_wh:
        return found
    scale = np.divide(image_wh, found.image_wh).astype(np.float32)
    return replace(found, boxes_xyxy=found.boxes_xyxy * np.tile(scale, 2), image_wh=image_wh)


def in_shown_size(picture: PIL.Image.Image) -> PIL.Image.Image:
    """Return a copy whose longer side has SHORTEST_SHOWN to LONGEST_SHOWN pixels."""
    longest = max(picture.size)
    scale = min(max(longest, SHORTEST_SHOWN), LONGEST_SHOWN) / longest
    width, height = (max(1, round(side * scale)) for side in picture.size)
    return picture.resize((width, height), PIL.Image.Resampling.LANCZOS)


def rows(found: Detections) -> list[list[str | float]]:
    """List boxes as the rows of a table with COLUMNS: scores of two decimals, whole pixels."""
    return [[item.label, round(item.score, 2), *(round(side) for side in item.box_xyxy)] for item in found]


def legend(found: Detections) -> list[Chip]:
    """List the labels with the colours that `Detections.draw` gives them, those with most boxes first."""
    counts = np.bincount(found.label_ids, minlength=len(found.labels))
    order = np.argsort(-counts, kind="stable").tolist()
    return [Chip(found.labels[index], color_hex(index), int(counts[index])) for index in order]


def legend_html(chips: list[Chip]) -> str:
    """Write the legend as HTML; labels are text, whatever they hold."""
    shown = "".join(
        f'<li class="{"found" if chip.boxes else "missing"}"><i style="background:{chip.color}"></i>'
        f"{html.escape(chip.label)} <b>{chip.boxes}</b></li>"
        for chip in chips[:MOST_CHIPS]
    )
    rest = chips[MOST_CHIPS:]
    if rest:
        shown += f'<li class="missing">{len(rest)} more labels <b>{sum(chip.boxes for chip in rest)}</b></li>'
    return f'<ul class="legend">{shown}</ul>'


def save_json(searched: SearchedPicture, found: Detections, folder: Path) -> Path:
    """Write what is shown as `Detections.from_json` reads it."""
    path = folder / f"{_stem(searched)}.json"
    write_text(path, found.to_json() + "\n")
    return path


def save_coco(searched: SearchedPicture, found: Detections, folder: Path) -> Path:
    """Write what is shown as COCO annotations, with a `score` in each, in a folder of its own."""
    positive_NL = one_label_each(found.label_ids.tolist(), len(found.labels))
    record = Record(
        searched.name,
        searched.path,
        found.image_wh,
        found.labels,
        found.boxes_xyxy,
        positive_NL,
        score_N=found.scores,
    )
    with closing(CocoWriter(folder, found.labels)) as writer:
        writer.add(record, searched.name)
        writer.finish()
    return (folder / ANNOTATIONS).rename(folder / f"{_stem(searched)}.coco.json")


def save_annotated(searched: SearchedPicture, found: Detections, folder: Path) -> Path:
    """Write the picture in its own size with the boxes that are shown, as PNG.

    Raises:
        ImageError: the upload was let go.
    """
    path = folder / f"{_stem(searched)}.detected.png"
    save_picture(found.draw(_open(searched.path, searched.name)), path)
    return path


def _stem(searched: SearchedPicture) -> str:
    return Path(searched.name).stem or "picture"
