"""ODVG: `odvg.jsonl`, `label_map.json` where there are names, and the folder `images`."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from groundling.data.record import Record
from groundling.data.writers.objects import DECIMALS, Writer, named_objects, write_lines
from groundling.structures.prompt import Caption

ANNOTATIONS = "odvg.jsonl"
LABEL_MAP = "label_map.json"


class OdvgWriter(Writer):
    """Writes names as detection lines, captions as grounding lines, and any other label as a caption of its own."""

    IMAGES: ClassVar[str] = "images"
    SHARES_PICTURES: ClassVar[bool] = True

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        self.left_out: Counter[str] = Counter()
        self._folder = folder
        self._names = tuple(names)
        self._index_of = {name: index for index, name in enumerate(names)}
        self._lines: list[str] = []

    def add(self, record: Record, file_name: str) -> None:
        """Take in a record; see `Writer`."""
        width, height = record.image_wh
        about = {"filename": file_name, "height": height, "width": width}
        if record.caption is not None:
            self._write(about, grounding=self._grounding(record, record.caption, record.positive_NL))
        elif self._names and all(label in self._index_of for label in record.labels):
            self._write(about, detection=self._detection(record))
        else:
            for column, label in enumerate(record.labels):
                caption = Caption(label, (((0, len(label)),),))
                self._write(about, grounding=self._grounding(record, caption, record.positive_NL[:, [column]]))

    def finish(self) -> None:
        """Write the files."""
        write_lines(self._folder / ANNOTATIONS, self._lines)
        if self._names:
            label_map = {str(index): name for index, name in enumerate(self._names)}
            (self._folder / LABEL_MAP).write_text(json.dumps(label_map, indent=2) + "\n", encoding="utf-8")

    def _write(self, about: dict[str, Any], **content: Any) -> None:
        self._lines.append(json.dumps(about | content))

    def _detection(self, record: Record) -> dict[str, Any]:
        instances = []
        for one in named_objects(record, self._index_of, self.left_out):
            if one.is_crowd:
                self.left_out["crowds"] += 1
                continue
            bbox = [round(number, DECIMALS) for number in one.box]
            instances.append({"bbox": bbox, "label": one.name_id, "category": self._names[one.name_id]})
        return {"instances": instances}

    def _grounding(self, record: Record, caption: Caption, positive_NL: NDArray[np.bool_]) -> dict[str, Any]:
        """Describe a caption with one region for each box of each phrase, which every reader of ODVG understands."""
        regions = []
        for column, (phrase, spans) in enumerate(zip(caption.phrases, caption.spans, strict=True)):
            for row in np.flatnonzero(positive_NL[:, column]):
                bbox = [round(float(number), DECIMALS) for number in record.boxes_xyxy[row]]
                regions.append({"bbox": bbox, "phrase": phrase, "tokens_positive": spans})
        return {"caption": caption.text, "regions": regions}
