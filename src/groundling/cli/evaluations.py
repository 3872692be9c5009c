"""Run evaluations and print their protocols and figures."""

import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.table import Table

from groundling.cli.report import PIPE_WIDTH
from groundling.data.open import open_dataset
from groundling.errors import ConfigError
from groundling.evaluate import EvaluationProtocol, Outcome, Work, describe, run_evaluation
from groundling.evaluate.description import lines_of
from groundling.evaluate.report import percent
from groundling.evaluate.run import check_extras, check_limit
from groundling.evaluate.segmented import MaskMaker
from groundling.evaluate.summary import write_summary
from groundling.pipeline.detector import Detector
from groundling.segmentation import MaskOptions, load_segmenter

MOST_LINES = 20
"""Categories that are printed; the report has all of them."""


class Evaluations:
    """One model, one protocol, and one or several data sets.

    Args:
        model: folder, checkpoint file or hub id.
        dtype: number format to compute in; None is the checkpoint's own.
        device: where to compute; None is CUDA where there is any.
        protocol: what is asked, kept and measured.
        batch_size: most pictures computed at a time.
        jobs: number of processes.
        limit: most pictures of a data set; None is all.
        masks: name of the segmenter and how masks are made; None measures boxes only.
    """

    def __init__(
        self,
        model: str,
        dtype: str | None,
        device: str | None,
        protocol: EvaluationProtocol,
        *,
        batch_size: int,
        jobs: int,
        limit: int | None,
        masks: tuple[str, MaskOptions] | None = None,
    ) -> None:
        self._model, self._protocol = model, protocol
        self._load = partial(load_detector, model, dtype, device, jobs)
        self._sam = None if masks is None else masks[0]
        self._load_masks = None if masks is None else partial(load_masks, *masks, dtype, device, jobs)
        self._batch_size, self._jobs, self._limit = batch_size, jobs, limit
        self._console = Console(width=None if sys.stdout.isatty() else PIPE_WIDTH, markup=False, highlight=False)

    def run(self, specs: Mapping[str, Mapping[str, object]], folder: Path) -> None:
        """Evaluate each data set into a folder of its own; with several also their mean.

        Args:
            specs: descriptions of the data sets by name; the empty name stands for the only one.
            folder: where the results go.
        """
        check_extras()
        _check_folder(folder)
        # all are opened first: a mistake in the last should not wait for the others
        datasets = {name: open_dataset(spec, masks=self._sam is not None) for name, spec in specs.items()}
        detector, masks = self._load(0), None if self._load_masks is None else self._load_masks(0)
        outcomes: dict[str, Outcome] = {}
        for name, dataset in datasets.items():
            description = describe(
                detector,
                dataset,
                self._protocol,
                model=self._model,
                data=dict(specs[name]),
                pictures=check_limit(self._limit, dataset),
                segmenter=None if masks is None else masks.describe(str(self._sam)),
            )
            self._print_protocol(name, description)
            open_it = partial(open_dataset, specs[name])  # without masks: processes do not judge
            work = Work(self._load, open_it, self._protocol, self._batch_size, self._load_masks)
            place = folder / name if name else folder
            outcomes[name] = run_evaluation(work, detector, dataset, description, place, masks=masks, jobs=self._jobs)
            self._print_outcome(outcomes[name])
        if len(outcomes) > 1:
            self._print_summary(write_summary(folder, outcomes))
            self._console.print(f"wrote {folder / 'report.html'}", soft_wrap=True)

    def _print_protocol(self, name: str, description: Mapping[str, object]) -> None:
        table = Table(show_header=False, box=None, title=name or None, title_justify="left")
        for title, text in lines_of(description):
            table.add_row(title, text)
        for column in table.columns:
            column.overflow = "fold"
        self._console.print(table)

    def _print_outcome(self, outcome: Outcome) -> None:
        figures = Table("figure", "percent")
        figures.columns[1].justify = "right"
        for name, value in outcome.measured.numbers.items():
            figures.add_row(name, percent(value))
        self._console.print(figures)
        if 0 < len(outcome.measured.categories) <= MOST_LINES:
            has_masks = any(one.mask_ap is not None for one in outcome.measured.categories)
            table = Table("category", "objects", "AP", "AP50", "AP75", *(["mask AP"] if has_masks else []))
            for one in outcome.measured.categories:
                values = (one.ap, one.ap50, one.ap75, one.mask_ap)
                table.add_row(one.name, f"{one.objects:,}", *(percent(value) for value in values if value is not None))
            self._console.print(table)
        self._console.print(f"wrote {outcome.folder / 'report.html'}", soft_wrap=True)

    def _print_summary(self, summary: Mapping[str, Mapping[str, float]]) -> None:
        names = list(next(iter(summary.values())))
        table = Table("data set", *names)
        for name, numbers in summary.items():
            table.add_row(name, *(percent(value) for value in numbers.values()))
        self._console.print(table)


def _check_folder(folder: Path) -> None:
    """Check that results can go into a folder; a mistake in its name should not wait for the model.

    Raises:
        ConfigError: it is a file, or lies in one.
    """
    there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    if not there.is_dir():
        raise ConfigError(f"--out {str(folder)!r} cannot be a folder: {str(there)!r} is a file. Name another one.")


def load_detector(model: str, dtype: str | None, device: str | None, jobs: int, number: int) -> Detector:
    """Load the model of one process; several processes share out the GPUs where no single one is named.

    Args:
        model: folder, checkpoint file or hub id.
        dtype: number format to compute in.
        device: where to compute.
        jobs: number of processes.
        number: of this process, from 0.
    """
    return Detector.from_pretrained(model, device=_device_of(device, jobs, number), dtype=dtype)


def load_masks(
    name: str, options: MaskOptions, dtype: str | None, device: str | None, jobs: int, number: int
) -> MaskMaker:
    """Load the segmenter of one process, on the device of its detector.

    Args:
        name: folder or hub id.
        options: how masks are made and cleaned.
        dtype: number format to compute in.
        device: where to compute.
        jobs: number of processes.
        number: of this process, from 0.
    """
    return MaskMaker(load_segmenter(name, device=_device_of(device, jobs, number), dtype=dtype), options)


def _device_of(device: str | None, jobs: int, number: int) -> str | None:
    import torch

    if jobs > 1 and device in (None, "cuda") and torch.cuda.is_available():
        return f"cuda:{number % torch.cuda.device_count()}"
    return device
