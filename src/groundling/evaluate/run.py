"""A whole evaluation: protocol, predictions, figures and report, in one folder."""

import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from groundling.data.record import Dataset, Record
from groundling.errors import ConfigError, DatasetError, missing_extra
from groundling.evaluate.export import write_predictions
from groundling.evaluate.figures import Measured, check_not_empty, measure
from groundling.evaluate.found import Found
from groundling.evaluate.mistakes import find_mistakes
from groundling.evaluate.predict import Predictor
from groundling.evaluate.questions import asked_labels
from groundling.evaluate.report import write_report
from groundling.evaluate.segmented import MaskMaker, check_masks
from groundling.evaluate.shards import Work, find_all_in_processes
from groundling.evaluate.store import WHOLE, FoundFile
from groundling.files import write_json
from groundling.pipeline.detector import Detector


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an evaluation gave.

    Attributes:
        description: everything that the figures depend on.
        measured: the figures.
        folder: where the report is.
    """

    description: dict[str, object]
    measured: Measured
    folder: Path


def check_limit(limit: int | None, dataset: Dataset) -> int:
    """Return how many pictures are used: all, or the first `limit`.

    Raises:
        ConfigError: the limit is not positive.
        DatasetError: the data set has no pictures.
    """
    check_not_empty(dataset)
    if limit is None:
        return len(dataset)
    if limit < 1:
        raise ConfigError(f"limit must be at least 1 picture, got {limit}.")
    return min(limit, len(dataset))


def run_evaluation(
    work: Work,
    detector: Detector,
    dataset: Dataset,
    description: dict[str, object],
    folder: Path,
    *,
    masks: MaskMaker | None = None,
    jobs: int = 1,
) -> Outcome:
    """Evaluate and write the results; what an earlier, killed run found is not computed again.

    The folder gets `protocol.json`, `predictions.jsonl`, `predictions.json` in COCO's format of results,
    `metrics.json`, `report.html` and its pictures.

    Args:
        work: how processes load model and data, and the protocol.
        detector: the model, for this process.
        dataset: the records, for this process.
        description: from `describe`; findings of another description are not mixed in. Its number of pictures says how
            many are used.
        folder: where the results go.
        masks: gives boxes their masks in this process; None judges boxes only.
        jobs: number of processes; 1 computes in this one. It does not change the results.

    Raises:
        ConfigError: the folder holds another evaluation, a number is out of range, or masks of phrases are wanted.
        ImageError: a picture cannot be read.
        DatasetError: the annotations do not fit the pictures, or lack masks.
        MissingExtraError: a package that the figures need is not installed.
    """
    if jobs < 1:
        raise ConfigError(f"jobs must be at least 1 process, got {jobs}.")
    check_extras()
    if masks is not None:
        check_masks(dataset, work.protocol)
    pictures = int(str(description["pictures"]))
    with FoundFile(folder, description) as file:
        write_json(folder / "protocol.json", description)
        waiting = [index for index in range(pictures) if index not in file.done]
        with _progress(pictures, pictures - len(waiting)) as advance:
            for part in _find(work, detector, masks, dataset, waiting, jobs):
                file.add(part)
                advance(len(part))
        found = file.finish()
    if found[-1].index >= pictures:
        raise DatasetError(_other_data(folder))
    results = [(_without_pixels(dataset[one.index]), one) for one in found]
    for record, one in results:
        if not _belongs(one, record, asked_labels(record, dataset.names, work.protocol)):
            raise DatasetError(_other_data(folder))
    measured = measure(dataset, results, work.protocol)
    write_json(folder / "metrics.json", to_json(measured))
    write_predictions(folder / "predictions.json", dataset, results, work.protocol)
    write_report(folder, description, measured, dataset, find_mistakes(dataset, results, work.protocol))
    return Outcome(description, measured, folder)


def _other_data(folder: Path) -> str:
    return (
        f"{folder / WHOLE} holds findings in pictures or of names that the data set does not have. Remove it and start "
        "again."
    )


def _belongs(found: Found, record: Record, labels: Sequence[str]) -> bool:
    """Tell whether findings can be of this record."""
    masks = found.true_box_masks
    if masks is not None and (len(masks) != len(record.boxes_xyxy) or masks.image_wh != record.image_wh):
        return False
    return not len(found) or int(found.label_ids.max()) < len(labels)


def _find(
    work: Work, detector: Detector, masks: MaskMaker | None, dataset: Dataset, waiting: Sequence[int], jobs: int
) -> Iterable[Sequence[Found]]:
    if not waiting:
        return ()
    if jobs > 1:
        return find_all_in_processes(work, waiting, jobs)
    predictor = Predictor(detector, dataset.names, work.protocol, masks)
    return ([found] for found in predictor.predict(dataset, waiting, work.batch_size))


def check_extras() -> None:
    """Check that the packages of the extra are there before anything is computed.

    Raises:
        MissingExtraError: one is not installed.
    """
    for package, module, purpose in (
        ("faster-coco-eval", "faster_coco_eval", "Average precision"),
        ("matplotlib", "matplotlib", "The report of an evaluation"),
    ):
        if find_spec(module) is None:
            raise missing_extra(package, "eval", purpose)


def to_json(measured: Measured) -> dict[str, object]:
    """Return figures as JSON values; null where there is nothing to find, and no masks where none were asked for."""
    categories = [
        {name: _known(value) for name, value in asdict(category).items() if value is not None}
        for category in measured.categories
    ]
    return {
        "metrics": {name: _known(value) for name, value in measured.numbers.items()},
        "counts": measured.counts,
        "categories": categories,
    }


def _without_pixels(record: Record) -> Record:
    """Return a record that may be kept for every picture of a data set, even of one that draws its pictures."""
    return record if isinstance(record.picture, Path) else replace(record, picture=Path(record.key))


def _known(value: object) -> object:
    return None if isinstance(value, float) and math.isnan(value) else value


class _Advance:
    """Moves the progress bar."""

    def __init__(self, progress: Progress, total: int, done: int) -> None:
        self._progress = progress
        self._task = progress.add_task("evaluating", total=total, completed=done)

    def __call__(self, pictures: int) -> None:
        self._progress.advance(self._task, pictures)


@contextmanager
def _progress(total: int, done: int) -> Iterator[_Advance]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)  # stdout is for results
    with Progress(
        *columns,
        console=console,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
        disable=not sys.stderr.isatty(),
    ) as progress:
        yield _Advance(progress, total, done)
