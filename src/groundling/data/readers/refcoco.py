"""RefCOCO, RefCOCO+ and RefCOCOg: sentences that each mean one object of a COCO picture."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from groundling.data.problems import Kind, Place, Problems, StopAtFirst
from groundling.data.readers.boxes import Box
from groundling.data.readers.coco_json import CocoFile, Picture, folder_of_pictures
from groundling.data.readers.files import clean_name, read_json
from groundling.data.readers.pickles import read_plain_pickle
from groundling.data.readers.rows import Row, RowRecords
from groundling.errors import DatasetError

PICKLE_ENDINGS = frozenset({".p", ".pickle", ".pkl"})


class RefCocoRecords(RowRecords):
    """One split of a RefCOCO data set: a record for each sentence, which is its only label.

    Attributes:
        splits: the splits that the file has.
    """

    def __init__(
        self,
        annotations: str | Path,
        images: str | Path | None = None,
        *,
        split: str = "val",
        instances: str | Path | None = None,
        problems: Problems | None = None,
    ) -> None:
        """Read the annotations; no picture is opened.

        Args:
            annotations: `refs(unc).p` and its like, or JSON of the same layout.
            images: the folder of the pictures, usually `train2014`; as for COCO.
            split: val, test, testA, testB or train; which of them there are depends on the data set.
            instances: the COCO file with the boxes; else `instances.json` beside the annotations.
            problems: hears what is wrong; without it the first error is raised.

        Raises:
            DatasetError: a file is missing or wrong, or has no such split.
        """
        problems = StopAtFirst() if problems is None else problems
        path = Path(annotations).expanduser()
        boxes = _Boxes(path.parent / "instances.json" if instances is None else Path(instances).expanduser(), problems)
        value = read_plain_pickle(path) if path.suffix in PICKLE_ENDINGS else read_json(path)
        references = [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []
        self.splits = tuple(sorted({str(entry.get("split")) for entry in references}))
        if not references:
            raise DatasetError(f"{path} must hold a list of references with 'ann_id', 'split' and 'sentences'.")
        if split not in self.splits:
            raise DatasetError(f"{path} has no split {split!r}. It has: {', '.join(self.splits)}.")
        rows: list[Row] = []
        for number, entry in enumerate(references):
            if str(entry.get("split")) == split:
                place = Place(str(path), f"references[{number}] (ref_id {entry.get('ref_id')!r})")
                rows.extend(_rows(entry, place, boxes, problems))
        folder = folder_of_pictures(images, boxes.path)
        super().__init__((), rows, folder, problems, path)


class _Boxes:
    """The boxes of a COCO file by the ids of their annotations."""

    def __init__(self, path: Path, problems: Problems) -> None:
        file = CocoFile(path, problems)
        pictures = file.pictures()
        self.path = path
        self._found: Mapping[object, tuple[Picture, Box]] = {
            one.id: (pictures[image_id], one.box)
            for image_id, annotations in file.annotations(pictures, file.categories()).items()
            for one in annotations
        }

    def __getitem__(self, annotation_id: object) -> tuple[Picture, Box] | None:
        return self._found.get(annotation_id) if isinstance(annotation_id, int | str | np.integer) else None


def _rows(entry: Mapping[str, Any], place: Place, boxes: _Boxes, problems: Problems) -> Iterator[Row]:
    """Yield a row for each sentence of a reference."""
    found = boxes[entry.get("ann_id")]
    if found is None:
        cause = (
            f"there is no usable annotation {entry.get('ann_id')!r} in {boxes.path}. Use the file that belongs to it."
        )
        problems.add(Kind.UNKNOWN_PICTURE, place, cause)
        return
    picture, box = found
    sentences = entry.get("sentences")
    for sentence in sentences if isinstance(sentences, list) else [None]:
        label = clean_name(sentence.get("sent", sentence.get("raw"))) if isinstance(sentence, dict) else None
        if label is None:
            problems.add(Kind.FIELD, place, f"the sentence {sentence!r} has no usable text 'sent' or 'raw'.")
            continue
        yield Row(
            key=picture.file_name,
            file_name=picture.file_name,
            place=place,
            image_wh=picture.image_wh,
            boxes=np.array([box], np.float64),
            labels=(label,),
            positive_NL=np.ones((1, 1), np.bool_),
            absent=(),
            caption=None,
            crowd_N=np.zeros(1, np.bool_),
        )
