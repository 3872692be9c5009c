"""PNG: the folders `images`, `masks`, `labels` and `instances`, and `labels.txt` with all names."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from groundling.data.record import Record
from groundling.data.writers.objects import NamedObject, Writer, named_objects, write_lines
from groundling.errors import DatasetError
from groundling.pictures.folders import thing_name
from groundling.structures.detections import Detections
from groundling.structures.masks import Masks

LABELS = "labels.txt"

MASKS, LABEL_MAPS, INSTANCE_MAPS = "masks", "labels", "instances"
"""Folders: one picture for each thing, 255 where it is; the number of the name and of the thing at each pixel."""


class PngWriter(Writer):
    """Writes masks as pictures without colours; crowds cannot be told apart there and are left out.

    Of the picture `a/b.jpg` the things stand in `masks/a/b/0001-LABEL.png` and so on, 0 and 255, and its maps in
    `labels/a/b.png`, where line 1 of `labels.txt` is 1, and `instances/a/b.png`, where the thing 0001 is 1. In maps 0
    is none of them, and where things overlap there is the one with the best score. Label maps have 8 bits, or 16 if
    there are more than 255 names; instance maps have 16.
    """

    IMAGES: ClassVar[str] = "images"
    SHARES_PICTURES: ClassVar[bool] = False

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        self.left_out: Counter[str] = Counter()
        self._folder = folder
        self._names = tuple(names)
        self._index_of = {name: index for index, name in enumerate(names)}

    def add(self, record: Record, file_name: str) -> None:
        """Take in a record; see `Writer`."""
        things = list(named_objects(record, self._index_of, self.left_out))
        kept = [one for one in things if not one.is_crowd]
        self.left_out["crowds"] += len(things) - len(kept)
        if kept and record.masks is None:
            raise DatasetError(
                f"{record.key} has no masks, and a folder of PNG files holds nothing else. Read masks too (--masks), "
                "find them with `groundling label --sam`, or write another format."
            )
        masks = Masks((), record.image_wh) if record.masks is None else record.masks[[one.row for one in kept]]
        path = PurePosixPath(file_name)
        for number, (one, mask) in enumerate(zip(kept, masks, strict=True), 1):
            name = thing_name(number, self._names[one.name_id])
            self._save(mask.astype(np.uint8) * 255, PurePosixPath(MASKS) / path.with_suffix("") / name)
        found = self._found(record, kept, masks)
        bits = np.uint8 if len(self._names) <= np.iinfo(np.uint8).max else np.uint16
        self._save(found.label_map().astype(bits), PurePosixPath(LABEL_MAPS) / path.with_suffix(".png"))
        self._save(found.instance_map(), PurePosixPath(INSTANCE_MAPS) / path.with_suffix(".png"))

    def finish(self) -> None:
        """Write the names."""
        write_lines(self._folder / LABELS, list(self._names))

    def _found(self, record: Record, kept: Sequence[NamedObject], masks: Masks) -> Detections:
        return Detections(
            boxes_xyxy=record.boxes_xyxy[[one.row for one in kept]],
            scores=np.array([one.score or 0 for one in kept], np.float32),
            label_ids=np.array([one.name_id for one in kept], np.int64),
            labels=self._names,
            image_wh=record.image_wh,
            masks=masks,
        )

    def _save(self, pixels: NDArray[Any], name: PurePosixPath) -> None:
        place = self._folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(place)
