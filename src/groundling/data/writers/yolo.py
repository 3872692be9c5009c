"""YOLO as Ultralytics lays it out: `data.yaml`, `images` and `labels`."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from groundling.data.readers.yolo import label_file
from groundling.data.record import Record
from groundling.data.writers.objects import Writer, as_text, named_objects, write_lines

DATA = "data.yaml"

_DECIMALS = 8  # of fractions of the picture: 0.0001 pixel in 10,000


class YoloWriter(Writer):
    """Writes one text file for each picture; crowds cannot be told apart there and are left out.

    `data.yaml` names the one folder for training and validation, as Ultralytics wants both.
    """

    IMAGES: ClassVar[str] = "images"
    SHARES_PICTURES: ClassVar[bool] = False

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        self.left_out: Counter[str] = Counter()
        self._folder = folder
        self._index_of = {name: index for index, name in enumerate(names)}

    def add(self, record: Record, file_name: str) -> None:
        """Take in a record; see `Writer`."""
        width, height = record.image_wh
        lines = []
        for one in named_objects(record, self._index_of, self.left_out):
            if one.is_crowd:
                self.left_out["crowds"] += 1
                continue
            left, top, right, bottom = one.box
            numbers = (
                (left + right) / 2 / width,
                (top + bottom) / 2 / height,
                (right - left) / width,
                (bottom - top) / height,
            )
            lines.append(" ".join([str(one.name_id), *(as_text(number, _DECIMALS) for number in numbers)]))
        write_lines(label_file(self._folder / self.IMAGES / file_name), lines)

    def finish(self) -> None:
        """Write `data.yaml`; without the key `path` its own folder is the data set's."""
        import yaml  # type: ignore[import-untyped]

        content = {
            "train": self.IMAGES,
            "val": self.IMAGES,
            "names": {index: name for name, index in self._index_of.items()},
        }
        text = yaml.safe_dump(content, allow_unicode=True, sort_keys=False)
        (self._folder / DATA).write_text(text, encoding="utf-8")
