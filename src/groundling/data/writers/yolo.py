"""YOLO as Ultralytics lays it out: `data.yaml`, `images` and `labels`."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from groundling.data.readers.yolo import label_file
from groundling.data.record import Record
from groundling.data.writers.objects import (
    NamedObject,
    Writer,
    as_text,
    box_outline,
    named_objects,
    outline_tolerance,
    write_lines,
)
from groundling.structures.outlines import joined_outline

DATA = "data.yaml"

_DECIMALS = 8  # of fractions of the picture: 0.0001 pixel in 10,000

_BOX_AS_OUTLINE = "things without a mask, whose boxes stand as outlines"


class YoloWriter(Writer):
    """Writes one text file for each picture; crowds cannot be told apart there and are left out.

    A line is a box, or an outline if any record has masks: programs refuse data sets with both kinds. The corners of
    its box are then the outline of a thing without a mask. `data.yaml` names the one folder for training and
    validation, as Ultralytics wants both.
    """

    IMAGES: ClassVar[str] = "images"
    SHARES_PICTURES: ClassVar[bool] = False

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        self.left_out: Counter[str] = Counter()
        self._folder = folder
        self._index_of = {name: index for index, name in enumerate(names)}
        self._has_outlines = False
        self._files_of_boxes: list[Path] = []

    def add(self, record: Record, file_name: str) -> None:
        """Take in a record; see `Writer`."""
        self._has_outlines |= bool(record.masks)
        lines = []
        for one in named_objects(record, self._index_of, self.left_out):
            if one.is_crowd:
                self.left_out["crowds"] += 1
                continue
            numbers = self._outline(one, record) if self._has_outlines else _centre_and_size(one.box, record.image_wh)
            lines.append(_line(one.name_id, numbers))
        file = label_file(self._folder / self.IMAGES / file_name)
        write_lines(file, lines)
        if lines and not self._has_outlines:
            self._files_of_boxes.append(file)

    def _outline(self, one: NamedObject, record: Record) -> list[float]:
        masks = record.masks
        if masks is None or not masks.areas[one.row]:
            self.left_out[_BOX_AS_OUTLINE] += 1
            return _shares(box_outline(one.box), record.image_wh)
        outline = joined_outline(masks[one.row], tolerance=outline_tolerance(masks, one.row))
        assert outline is not None  # the mask is not empty
        return _shares(outline, record.image_wh)

    def finish(self) -> None:
        """Write `data.yaml`; without the key `path` its own folder is the data set's."""
        import yaml  # type: ignore[import-untyped]

        for file in self._files_of_boxes if self._has_outlines else ():  # written before the first mask came
            self._to_outlines(file)
        content = {
            "train": self.IMAGES,
            "val": self.IMAGES,
            "names": {index: name for name, index in self._index_of.items()},
        }
        text = yaml.safe_dump(content, allow_unicode=True, sort_keys=False)
        (self._folder / DATA).write_text(text, encoding="utf-8")

    def _to_outlines(self, file: Path) -> None:
        lines = []
        for line in file.read_text(encoding="utf-8").splitlines():
            name_id, x, y, width, height = (float(number) for number in line.split())
            box = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
            outline = box_outline(box).clip(0, 1)  # the numbers were rounded, which may lead outside
            lines.append(_line(int(name_id), outline.ravel().tolist()))
        self.left_out[_BOX_AS_OUTLINE] += len(lines)
        write_lines(file, lines)


def _shares(outline: NDArray[np.floating[Any]], image_wh: tuple[int, int]) -> list[float]:
    shares: list[float] = (outline.astype(np.float64) / image_wh).ravel().tolist()
    return shares


def _centre_and_size(box: tuple[float, float, float, float], image_wh: tuple[int, int]) -> list[float]:
    left, top, right, bottom = box
    width, height = image_wh
    return [(left + right) / 2 / width, (top + bottom) / 2 / height, (right - left) / width, (bottom - top) / height]


def _line(name_id: int, numbers: Iterable[float]) -> str:
    return " ".join([str(name_id), *(as_text(number, _DECIMALS) for number in numbers)])
