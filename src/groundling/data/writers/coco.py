"""COCO: `annotations.json` and the folder `images`."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from groundling.data.record import Record
from groundling.data.writers.objects import DECIMALS, Writer, named_objects

ANNOTATIONS = "annotations.json"


class CocoWriter(Writer):
    """Writes COCO annotations without masks; ids of pictures, annotations and categories count from 1.

    Where there are scores, an annotation has the key "score", as in COCO's files of results.
    """

    IMAGES: ClassVar[str] = "images"
    SHARES_PICTURES: ClassVar[bool] = False

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        self.left_out: Counter[str] = Counter()
        self._folder = folder
        self._index_of = {name: index for index, name in enumerate(names)}
        self._images: list[dict[str, Any]] = []
        self._annotations: list[dict[str, Any]] = []

    def add(self, record: Record, file_name: str) -> None:
        """Take in a record; see `Writer`."""
        width, height = record.image_wh
        image_id = len(self._images) + 1
        self._images.append({"id": image_id, "file_name": file_name, "width": width, "height": height})
        for one in named_objects(record, self._index_of, self.left_out):
            left, top, right, bottom = one.box
            bbox = [round(number, DECIMALS) for number in (left, top, right - left, bottom - top)]
            annotation = {
                "id": len(self._annotations) + 1,
                "image_id": image_id,
                "category_id": one.name_id + 1,
                "bbox": bbox,
                "area": round(bbox[2] * bbox[3], DECIMALS),
                "iscrowd": int(one.is_crowd),
            }
            self._annotations.append(annotation if one.score is None else annotation | {"score": one.score})

    def finish(self) -> None:
        """Write the file."""
        categories = [{"id": index + 1, "name": name} for name, index in self._index_of.items()]
        content = {"images": self._images, "annotations": self._annotations, "categories": categories}
        (self._folder / ANNOTATIONS).write_text(json.dumps(content) + "\n", encoding="utf-8")
