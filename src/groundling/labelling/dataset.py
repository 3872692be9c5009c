"""From the journal to the data set: whole or not there."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from groundling.data.convert import Placing, write_records
from groundling.data.record import Record
from groundling.data.writers.folder import atomic_folder
from groundling.files import write_json
from groundling.labelling.journal import Journal
from groundling.labelling.pictures import PictureList
from groundling.labelling.report import LabelReport, Unreadable
from groundling.labelling.settings import LabelSettings
from groundling.labelling.workplace import PREDICTIONS, REPLACEABLE, REPORT, Workplace

FLAT = ("yolo", "voc")
"""Formats whose tools look for pictures in one folder and not in those inside it."""


def write_dataset(
    work: Workplace,
    journal: Journal,
    pictures: PictureList,
    names: Sequence[str],
    settings: LabelSettings,
    about: Mapping[str, Any],
    advance: Callable[[int], None],
) -> None:
    """Write the data set, the predictions with their scores, and last the report.

    Args:
        work: where to.
        journal: what was found, in all pictures.
        pictures: which of it is meant, and in which order.
        names: the labels as the data set has them.
        settings: which format.
        about: the job, for the report.
        advance: called with the number of pictures that are done.

    Raises:
        DatasetError: a picture has been changed since it was searched, or the folder may not be replaced.
        ImageError: a picture is gone.
        OSError: something cannot be written.
    """
    count = _Count(journal, pictures, names)
    with atomic_folder(work.out, replaceable=REPLACEABLE) as folder:
        with (folder / PREDICTIONS).open("w", encoding="utf-8") as lines:
            placing = Placing(pictures.root, copy=settings.copy, doomed=work.out, flat=settings.format in FLAT)
            records = count.records(lines.write, advance)
            left_out = write_records(folder, settings.format, records, names, placing)
        content = {
            **about,
            "format": settings.format,
            "pictures": len(pictures.names),
            "boxes": {name: count.boxes[name] for name in names},
            "without_boxes": count.without_boxes,
            "unreadable": [{"picture": one.picture, "cause": one.cause} for one in count.unreadable],
            "left_out": left_out,
        }
        write_json(folder / REPORT, content)


def read_report(work: Workplace, content: Mapping[str, Any], *, computed: int, is_written: bool) -> LabelReport:
    """Return what a report file says.

    Args:
        work: where the data set is.
        content: of the file.
        computed: see `LabelReport`.
        is_written: see `LabelReport`.
    """
    return LabelReport(
        folder=work.out,
        pictures=content["pictures"],
        computed=computed,
        is_finished=True,
        is_written=is_written,
        unreadable=tuple(Unreadable(**one) for one in content["unreadable"]),
        boxes=content["boxes"],
        without_boxes=content["without_boxes"],
        left_out=content["left_out"],
    )


class _Count:
    """Counts what passes from the journal to the writer, one picture after the other."""

    def __init__(self, journal: Journal, pictures: PictureList, names: Sequence[str]) -> None:
        self.boxes: Counter[str] = Counter()
        self.unreadable: list[Unreadable] = []
        self.without_boxes = 0
        self._journal = journal
        self._pictures = pictures
        self._names = names

    def records(self, write: Callable[[str], object], advance: Callable[[int], None]) -> Iterator[Record]:
        for number, name in enumerate(self._pictures.names, 1):
            outcome = self._journal[name]
            write(json.dumps(outcome.to_dict()) + "\n")
            if outcome.error is not None:
                self.unreadable.append(Unreadable(name, outcome.error))
            else:
                self.without_boxes += not outcome.found
                self.boxes.update(self._names[item.label_id] for item in outcome.found)
                yield outcome.record(self._pictures.root, self._names)
            advance(number)
