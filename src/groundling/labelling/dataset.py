"""From the journal to the data set: whole or not there."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from groundling.data.convert import Placing, write_records
from groundling.data.record import Record
from groundling.data.writers.folder import atomic_folder
from groundling.errors import DatasetError
from groundling.files import write_json
from groundling.labelling.finding import Finding, stamp_of
from groundling.labelling.journal import Journal
from groundling.labelling.pictures import PictureList
from groundling.labelling.report import LabelReport, Unreadable
from groundling.labelling.settings import LabelSettings
from groundling.labelling.workplace import REPLACEABLE, Workplace
from groundling.labelling.written import PREDICTIONS, REPORT, list_files

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
    """Write the data set, the predictions with their scores, the list of the files, and last the report.

    Args:
        work: where to.
        journal: what was found, in all pictures.
        pictures: which of it is meant, and in which order.
        names: the labels as the data set has them.
        settings: which format.
        about: the job, for the report.
        advance: called with the number of pictures that are done.

    Raises:
        DatasetError: a picture is gone or was changed since it was searched, or the folder may not be replaced.
        ImageError: a picture cannot be read any more.
        OSError: something cannot be written.
    """
    count = _Count(journal, pictures, names)
    with atomic_folder(work.out, replaceable=REPLACEABLE) as folder:
        with (folder / PREDICTIONS).open("w", encoding="utf-8") as lines:
            placing = Placing(pictures.common, copy=settings.copy, doomed=work.out, flat=settings.format in FLAT)
            records = count.records(lines.write, advance)
            left_out = write_records(folder, settings.format, records, names, placing, polygons=settings.polygons)
        content = {
            **about,
            "format": settings.format,
            "copy": settings.copy,
            "polygons": settings.polygons,
            "pictures": len(pictures.names),
            "boxes": {name: count.boxes[name] for name in names},
            "without_boxes": count.without_boxes,
            "unreadable": [{"picture": one.picture, "cause": one.cause} for one in count.unreadable],
            "left_out": left_out,
        }
        list_files(folder)
        write_json(folder / REPORT, content)
        if not settings.overwrite:
            work.check_unedited()  # again: finding everything may have taken days


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
            finding = self._journal[name]
            write(json.dumps(finding.to_dict()) + "\n")
            if finding.error is not None:
                self.unreadable.append(Unreadable(name, finding.error))
            else:
                self.without_boxes += not finding.found
                self.boxes.update(self._names[item.label_id] for item in finding.found)
                self._check_same(finding)
                yield finding.record(self._pictures.root, self._names)
            advance(number)

    def _check_same(self, finding: Finding) -> None:
        path = self._pictures.root / finding.picture
        if stamp_of(path) != finding.stamp:
            raise DatasetError(f"The picture {path} is gone or has been changed since it was searched.")
