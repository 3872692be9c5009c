"""labelme: a JSON file beside each picture in the folder `images`, and `labels.txt` with all names."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

from groundling.data.record import Record
from groundling.data.writers.objects import (
    DECIMALS,
    NamedObject,
    Writer,
    named_objects,
    outline_tolerance,
    write_lines,
)
from groundling.structures.outlines import outlines

LABELS = "labels.txt"
_VERSION = "5.0.0"  # labelme warns of files of another major version; all have had the same keys for years


class LabelmeWriter(Writer):
    """Writes polygons where there are masks, else rectangles, without the pictures' bytes.

    The parts of one thing have the same "group_id". A crowd has the flag "crowd". Where there are scores, a shape has
    the key "score". labelme keeps keys that it does not know.
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
        shapes: list[dict[str, Any]] = []
        for group, one in enumerate(named_objects(record, self._index_of, self.left_out), 1):
            parts = _parts(record, one)
            for kind, points in parts:
                shape = {
                    "label": self._names[one.name_id],
                    "points": [[round(number, DECIMALS) for number in point] for point in points],
                    "group_id": group if len(parts) > 1 else None,
                    "description": "",
                    "shape_type": kind,
                    "flags": {"crowd": True} if one.is_crowd else {},
                    "mask": None,
                }
                shapes.append(shape if one.score is None else shape | {"score": one.score})
        path = PurePosixPath(file_name)
        width, height = record.image_wh
        content: dict[str, Any] = {
            "version": _VERSION,
            "flags": {},
            "shapes": shapes,
            "imagePath": path.name,
            "imageData": None,
            "imageHeight": height,
            "imageWidth": width,
        }
        place = self._folder / self.IMAGES / path.with_suffix(".json")
        place.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")

    def finish(self) -> None:
        """Write the names."""
        write_lines(self._folder / LABELS, list(self._names))


def _parts(record: Record, one: NamedObject) -> list[tuple[str, list[list[float]]]]:
    """Return the shapes of a thing and their points: of a mask its parts; of nothing else the box."""
    masks = record.masks
    if masks is not None and masks.areas[one.row]:
        traced = outlines(masks[one.row], tolerance=outline_tolerance(masks, one.row))
        return [("polygon", part.tolist()) for part in traced]
    left, top, right, bottom = one.box
    return [("rectangle", [[left, top], [right, bottom]])]
