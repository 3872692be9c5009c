"""Label the pictures of a folder: resumable at any moment, and whole when it is done."""

import os
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import groundling
from groundling.errors import DatasetError, ImageError
from groundling.interruption import Interruption
from groundling.labelling.compute import Labeller
from groundling.labelling.dataset import read_report, write_dataset
from groundling.labelling.finding import Finding, stamp_of
from groundling.labelling.job import Job, writable_names
from groundling.labelling.journal import Journal
from groundling.labelling.pictures import PictureList, find_pictures
from groundling.labelling.report import LabelReport
from groundling.labelling.settings import LabelSettings
from groundling.labelling.workplace import Workplace
from groundling.labelling.written import PREDICTIONS
from groundling.pipeline.detector import Detector
from groundling.pipeline.grounded_sam import GroundedSam
from groundling.segmentation import Segmenter
from groundling.structures.vocabulary import Vocabulary, check_labels

Progress = Callable[[str, int, int], None]
"""Is told what is being done ("labelling" or "writing"), the number of pictures that are done and of all."""

LABELLING, WRITING = "labelling", "writing"


def label_folder(
    detector: Detector,
    pictures: str | os.PathLike[str] | PictureList,
    labels: Sequence[str] | Vocabulary,
    out: str | os.PathLike[str],
    settings: LabelSettings | None = None,
    *,
    segmenter: Segmenter | None = None,
    progress: Progress = lambda stage, done, total: None,
) -> LabelReport:
    """Find what the labels name in all pictures of a folder and write it as a data set.

    What is done stands in the folder `OUT.unfinished` beside `out`. After a crash, an interruption or a full disk the
    same call goes on from there. When all pictures are done, `out` comes to be at once, with the data set, the file
    `predictions.jsonl` with all scores, and `report.json`. A call with the same settings then does nothing, or only
    what is new: pictures that came or changed since, and those that could not be read.

    The first SIGINT or SIGTERM ends the work after the batch that is being computed.

    Args:
        detector: what looks.
        pictures: a folder or a list; see `find_pictures`, which also makes lists that include the folders inside.
        labels: what to find.
        out: folder of the data set; it must be new, empty, or from an earlier call.
        settings: how; None is COCO with the usual threshold.
        segmenter: turns each box into a mask; None leaves boxes alone.
        progress: is told how far the work is.

    Raises:
        ConfigError: the settings need a segmenter.
        ImageError: there are no pictures.
        PromptError: the labels cannot be used, or not be written.
        DatasetError: the folder may not be written, was changed by hand, belongs to another job or another process is
            at work there; or a picture is gone or was changed since it was searched, or something could not be written,
            and what is done is kept.
    """
    settings = LabelSettings() if settings is None else settings
    settings.check_segmenter(is_there=segmenter is not None)
    vocabulary = labels if isinstance(labels, Vocabulary) else Vocabulary(tuple(check_labels(labels)))
    names = writable_names(vocabulary)
    work = Workplace(out)
    listed = pictures if isinstance(pictures, PictureList) else find_pictures(pictures)
    meant = _outside(listed, work.out)
    work.check(overwrite=settings.overwrite)
    sam = None if segmenter is None else GroundedSam(detector, segmenter)
    labeller = Labeller(detector, detector.encode(vocabulary), meant.root, settings, sam)
    job = Job.of(detector, segmenter, meant, vocabulary, settings)
    with work:
        return _Labelling(work, job, meant, names, settings, progress).run(labeller)


def check_output(out: str | os.PathLike[str], settings: LabelSettings, *, has_segmenter: bool = False) -> None:
    """Find out whether a data set can be written, before a model is loaded for it.

    Raises:
        ConfigError: the settings need a segmenter, and there will be none.
        DatasetError: the folder may not be written, or something would be lost.
    """
    settings.check_segmenter(is_there=has_segmenter)
    Workplace(out).check(overwrite=settings.overwrite)


class _Labelling:
    """One call of `label_folder`, while its workplace is locked."""

    def __init__(
        self,
        work: Workplace,
        job: Job,
        pictures: PictureList,
        names: Sequence[str],
        settings: LabelSettings,
        progress: Progress,
    ) -> None:
        self._work = work
        self._job = job
        self._pictures = pictures
        self._names = names
        self._settings = settings
        self._progress = progress
        made_by = {"groundling": groundling.__version__, "model": settings.model_name}
        if settings.segmenter_name:
            made_by["segmenter"] = settings.segmenter_name
        self._about: dict[str, Any] = {"job": dict(job.content), "made_by": made_by}

    def run(self, labeller: Labeller) -> LabelReport:
        finished = self._finished()
        before = None if finished is None else Journal(self._work.out / PREDICTIONS)
        if finished is not None and before is not None and self._is_complete(finished, before):
            return read_report(self._work, finished, computed=0, is_written=False)
        if not self._settings.overwrite:
            self._work.check_unedited()
        if self._work.begun() is None:
            self._work.begin(self._about, None if before is None else self._work.out / PREDICTIONS)
        try:
            return self._work_off(labeller, finished, before)
        except OSError as error:
            raise DatasetError(
                f"{error.filename or self._work.out}: {error.strerror or error}. {self._kept()}"
            ) from error
        except (DatasetError, ImageError) as error:
            raise type(error)(f"{error} {self._kept()}") from error

    def _finished(self) -> dict[str, Any] | None:
        """Return the report of a labelling that can be added to; refuse what another job has made."""
        begun = self._work.begun()
        if begun is not None:
            try:
                self._job.check_same(begun["job"], str(self._work.folder))
            except DatasetError:
                if not self._settings.overwrite:
                    raise
                self._work.clear()
            else:
                return None  # what is done stands in the journal
        finished = None if self._settings.overwrite else self._work.finished()
        if finished is not None:
            self._job.check_same(finished["job"], str(self._work.out))
        return finished

    def _is_complete(self, finished: dict[str, Any], before: Journal) -> bool:
        return self._is_same_set(finished, before) and not self._pending(before)

    def _is_same_set(self, finished: dict[str, Any], before: Journal) -> bool:
        names, settings = self._pictures.names, self._settings
        before_it = (finished["format"], finished["copy"], finished.get("polygons", False))
        return (
            before_it == (settings.format, settings.copy, settings.polygons)
            and len(before) == len(names)
            and all(map(before.__contains__, names))
        )

    def _pending(self, journal: Journal) -> list[str]:
        root = self._pictures.root
        return [name for name in self._pictures.names if not journal.has(name, stamp_of(root / name))]

    def _work_off(self, labeller: Labeller, finished: dict[str, Any] | None, before: Journal | None) -> LabelReport:
        total = len(self._pictures.names)
        is_changed = finished is None or before is None or not self._is_same_set(finished, before)
        with Journal(self._work.journal) as journal, Interruption() as interruption:
            pending = self._pending(journal)
            computed = 0
            self._progress(LABELLING, total - len(pending), total)
            with closing(labeller.run(pending)) as batches:
                for findings in batches:
                    journal.add(findings)
                    computed += len(findings)
                    is_changed = is_changed or any(_differs(finding, before) for finding in findings)
                    self._progress(LABELLING, total - len(pending) + computed, total)
                    if interruption.requested and computed < len(pending):
                        return LabelReport(self._work.out, total, computed, is_finished=False, is_written=False)
            if is_changed:
                advance = partial(self._advance, interruption, total)
                try:
                    write_dataset(
                        self._work, journal, self._pictures, self._names, self._settings, self._about, advance
                    )
                except KeyboardInterrupt:
                    return LabelReport(self._work.out, total, computed, is_finished=False, is_written=False)
        self._work.clear()
        self._work.remove_leftovers()
        content = self._work.finished()
        assert content is not None
        return read_report(self._work, content, computed=computed, is_written=is_changed)

    def _advance(self, interruption: Interruption, total: int, done: int) -> None:
        self._progress(WRITING, done, total)
        if interruption.requested:
            raise KeyboardInterrupt

    def _kept(self) -> str:
        return f"What is labelled is kept in {self._work.folder}: run the same again to go on."


def _differs(finding: Finding, before: Journal | None) -> bool:
    return before is None or finding.picture not in before or before[finding.picture] != finding


def _outside(pictures: PictureList, out: Path) -> PictureList:
    """Leave out pictures that an earlier run has put into its data set inside the folder of the pictures."""
    folder = pictures.common
    if folder is not None and not (out.is_relative_to(folder) or folder.is_relative_to(out)):
        return pictures
    names = tuple(name for name in pictures.names if not (pictures.root / name).is_relative_to(out))
    if len(names) < len(pictures.names) and (not names or pictures.source.is_file()):
        raise DatasetError(f"The pictures lie in {out}, which is to be written. Name another folder to write to.")
    return replace(pictures, names=names)
