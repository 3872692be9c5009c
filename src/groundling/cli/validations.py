"""What a model is evaluated on while it is trained, and the table of it."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.table import Table

from groundling.data.open import open_dataset
from groundling.data.record import Dataset
from groundling.evaluate import PROTOCOLS, EvaluationProtocol, evaluate
from groundling.evaluate.figures import check_not_empty
from groundling.evaluate.report import percent
from groundling.pipeline.detector import Detector
from groundling.train.metrics import read_metrics
from groundling.train.settings import ValidationSettings

SHOWN = ("AP", "AP50", "AP75", "accuracy@0.5", "R@5", "R@10")
"""The figures that are printed; metrics.jsonl has all of them."""

_BATCH_SIZE = 4  # more hardly helps, and less memory is left beside the training


class Validation:
    """Evaluates a detector on the first pictures of a data set.

    Args:
        dataset: the records.
        protocol: what is asked, kept and measured.
        pictures: how many are used; all where there are fewer.

    Raises:
        DatasetError: the data set is empty.
    """

    def __init__(self, dataset: Dataset, protocol: EvaluationProtocol, pictures: int) -> None:
        check_not_empty(dataset)
        self.dataset, self.protocol, self.pictures = dataset, protocol, min(pictures, len(dataset))

    def __call__(self, detector: Detector) -> dict[str, float]:
        """Return the figures by name, 0..1; without those of which there is nothing in the pictures."""
        numbers = evaluate(detector, self.dataset, self.protocol, batch_size=_BATCH_SIZE, pictures=self.pictures)
        return {name: value for name, value in numbers.items() if not math.isnan(value)}


def open_validations(settings: Sequence[ValidationSettings]) -> dict[str, Validation]:
    """Open the data sets that are evaluated during training.

    Raises:
        ConfigError: a specification is wrong.
        DatasetError: a data set cannot be read or is empty.
    """
    validations: dict[str, Validation] = {}
    for one in settings:
        dataset = open_dataset(one.data)
        validations[one.name] = Validation(dataset, usual_protocol(one.data, dataset), one.pictures)
    return validations


def usual_protocol(spec: Mapping[str, object], dataset: Dataset) -> EvaluationProtocol:
    """Return the protocol by which a data set is usually evaluated.

    Args:
        spec: its description, as `open_dataset` takes it.
        dataset: its records.
    """
    name = str(spec.get("format", ""))
    if name == "scenes" and spec.get("split") == "referring":
        name = "scenes_referring"
    if name in PROTOCOLS:
        return PROTOCOLS[name]
    return PROTOCOLS["coco" if dataset.names else "flickr"]


def validation_table(step: int, values: Mapping[str, float], run: Path) -> Table:
    """Return the figures after a step with what has changed since the first validation of the run.

    Args:
        step: steps done.
        values: figures by the name of the validation and their own, such as "target/AP", 0..1.
        run: folder of the run.
    """
    first = _first_values(run)
    shown = [figure for figure in SHOWN if any(name.partition("/")[2] == figure for name in values)]
    table = Table("percent", *shown, title=f"validation after step {step:,}", title_justify="left")
    for column in table.columns[1:]:
        column.justify = "right"
    for validation in dict.fromkeys(name.partition("/")[0] for name in values):
        names = [f"{validation}/{figure}" for figure in shown]
        table.add_row(validation, *(_cell(values.get(name), first.get(name) if step else None) for name in names))
    return table


def _first_values(run: Path) -> dict[str, float]:
    first: dict[str, float] = {}
    for line in read_metrics(run):
        for name, value in line.items():
            if "/" in name:
                first.setdefault(name, value)
    return first


def _cell(value: float | None, before: float | None) -> str:
    if value is None:
        return "-"
    return percent(value) if before is None else f"{percent(value)} ({100 * (value - before):+.1f})"
