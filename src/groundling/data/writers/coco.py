"""COCO: `annotations.json` and the folder `images`."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar

from groundling.data.record import Record
from groundling.data.writers.objects import DECIMALS, NamedObject, Writer, named_objects, outline_tolerance
from groundling.structures.masks import Masks
from groundling.structures.outlines import outlines

ANNOTATIONS = "annotations.json"


class CocoWriter(Writer):
    """Writes COCO annotations; ids of pictures, annotations and categories count from 1.

    Where there are scores, an annotation has the key "score", as in COCO's files of results. Where there are masks, it
    has the key "segmentation", and "area" counts pixels.
    """

    IMAGES: ClassVar[str] = "images"
    SHARES_PICTURES: ClassVar[bool] = False

    def __init__(self, folder: Path, names: Sequence[str], *, polygons: bool = False) -> None:
        """Begin with no pictures.

        Args:
            folder: where to write.
            names: the data set's names.
            polygons: write masks as polygons, not as run lengths; crowds, and empty masks, which have no outline, stay
                run lengths.
        """
        self.left_out: Counter[str] = Counter()
        self._folder = folder
        self._polygons = polygons
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
            bbox = _rounded((left, top, right - left, bottom - top))
            annotation = {
                "id": len(self._annotations) + 1,
                "image_id": image_id,
                "category_id": one.name_id + 1,
                "bbox": bbox,
                "area": round(bbox[2] * bbox[3], DECIMALS),
                "iscrowd": int(one.is_crowd),
            }
            if record.masks is not None:
                annotation |= self._segmentation(record.masks, one)
            self._annotations.append(annotation if one.score is None else annotation | {"score": one.score})

    def _segmentation(self, masks: Masks, one: NamedObject) -> dict[str, Any]:
        """Describe a mask. Where it is empty the box keeps its area: programs drop annotations that have none."""
        area = {"area": int(masks.areas[one.row])} if masks.areas[one.row] else {}
        if self._polygons and area and not one.is_crowd:
            parts = outlines(masks[one.row], tolerance=outline_tolerance(masks, one.row))
            return area | {"segmentation": [_rounded(part.ravel().tolist()) for part in parts]}
        return area | {"segmentation": masks[[one.row]].to_coco()[0]}

    def finish(self) -> None:
        """Write the file."""
        categories = [{"id": index + 1, "name": name} for name, index in self._index_of.items()]
        content = {"images": self._images, "annotations": self._annotations, "categories": categories}
        (self._folder / ANNOTATIONS).write_text(json.dumps(content) + "\n", encoding="utf-8")


def _rounded(numbers: Iterable[float]) -> list[float]:
    return [round(number, DECIMALS) for number in numbers]
