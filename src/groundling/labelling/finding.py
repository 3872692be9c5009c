"""What came of one picture, as a line of JSON and as a record."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from groundling.data.record import Record, one_label_each
from groundling.data.writers.objects import DECIMALS, SCORE_DECIMALS
from groundling.structures.detections import Detection, Detections
from groundling.structures.masks import Masks

Stamp = tuple[int, int]
"""Bytes of a file and when it was changed last, in nanoseconds: another stamp is another picture."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found in a picture, or why it could not be read.

    Attributes:
        picture: its name in the list of pictures.
        stamp: of its file; None if there was none.
        image_wh: width and height, upright, pixels; (0, 0) if it could not be read.
        found: what was found, best first; boxes are rounded to 0.0001 pixel.
        error: why it could not be read; None if it could.
        masks: of what was found; None where nothing was found or nothing was segmented.
    """

    picture: str
    stamp: Stamp | None
    image_wh: tuple[int, int] = (0, 0)
    found: tuple[Detection, ...] = ()
    error: str | None = None
    masks: Masks | None = None

    @classmethod
    def of(cls, picture: str, stamp: Stamp | None, detections: Detections) -> Self:
        """Round what was found, and leave out boxes that have no area then."""
        items = [_rounded(item) for item in detections]
        kept = [row for row, item in enumerate(items) if _has_area(item)]
        masks = None if detections.masks is None or not kept else detections.masks[kept]
        return cls(picture, stamp, detections.image_wh, tuple(items[row] for row in kept), masks=masks)

    def to_dict(self) -> dict[str, Any]:
        """Convert to plain values; `from_dict` gives back an equal object."""
        size, changed = self.stamp or (None, None)
        about: dict[str, Any] = {"picture": self.picture, "bytes": size, "modified_ns": changed}
        if self.error is not None:
            return about | {"error": self.error}
        width, height = self.image_wh
        items: list[dict[str, Any]] = [
            {"label": item.label, "label_id": item.label_id, "score": item.score, "box_xyxy": list(item.box_xyxy)}
            for item in self.found
        ]
        for row, mask in enumerate([] if self.masks is None else self.masks.to_coco()):
            items[row] |= {"mask": mask, "mask_score": self.found[row].mask_score}
        return about | {"width": width, "height": height, "detections": items}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Self:
        """Build from what `to_dict` wrote.

        Raises:
            KeyError, TypeError, ValueError: it is something else.
        """
        stamp = None if value["bytes"] is None else (int(value["bytes"]), int(value["modified_ns"]))
        if "error" in value:
            return cls(str(value["picture"]), stamp, error=str(value["error"]))
        found = []
        for item in value["detections"]:
            left, top, right, bottom = (float(number) for number in item["box_xyxy"])
            box = (left, top, right, bottom)
            mask_score = None if item.get("mask_score") is None else float(item["mask_score"])
            name, number, score = str(item["label"]), int(item["label_id"]), float(item["score"])
            found.append(Detection(box, name, number, score, mask_score=mask_score))
        size = (int(value["width"]), int(value["height"]))
        return cls(str(value["picture"]), stamp, size, tuple(found), masks=_masks(value["detections"], size))

    def record(self, root: Path, names: Sequence[str]) -> Record:
        """Convert to what the writers of data sets take.

        Args:
            root: the folder that the picture's name is relative to.
            names: the data set's names, in the order of the labels.
        """
        present = sorted({item.label_id for item in self.found})
        column = {label_id: number for number, label_id in enumerate(present)}
        return Record(
            key=self.picture,
            picture=root / self.picture,
            image_wh=self.image_wh,
            labels=tuple(names[label_id] for label_id in present),
            boxes_xyxy=np.array([item.box_xyxy for item in self.found], np.float32).reshape(-1, 4),
            positive_NL=one_label_each([column[item.label_id] for item in self.found], len(present)),
            score_N=np.array([item.score for item in self.found], np.float32),
            masks=self.masks,
        )


def stamp_of(path: Path) -> Stamp | None:
    """Return the stamp of a file; None if it cannot be asked for one."""
    try:
        status = os.stat(path)  # noqa: PTH116  (a string of a million paths less)
    except (OSError, ValueError):
        return None
    return status.st_size, status.st_mtime_ns


def _rounded(item: Detection) -> Detection:
    left, top, right, bottom = (round(float(number), DECIMALS) for number in item.box_xyxy)
    mask_score = None if item.mask_score is None else round(item.mask_score, SCORE_DECIMALS)
    score = round(float(item.score), SCORE_DECIMALS)
    return item._replace(box_xyxy=(left, top, right, bottom), score=score, mask_score=mask_score)


def _masks(items: Sequence[Mapping[str, Any]], image_wh: tuple[int, int]) -> Masks | None:
    """Return the masks of what was found as they were written; whoever uses one decodes it, and nobody before."""
    written = [item["mask"] for item in items if "mask" in item]
    if not written:
        return None
    if len(written) < len(items) or any(mask["size"] != [image_wh[1], image_wh[0]] for mask in written):
        raise ValueError("some have no mask of the picture's size")
    return Masks(tuple(mask["counts"] for mask in written), image_wh)


def _has_area(item: Detection) -> bool:
    left, top, right, bottom = item.box_xyxy
    return right > left and bottom > top
