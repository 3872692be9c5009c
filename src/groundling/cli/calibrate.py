"""`groundling calibrate`: a threshold for each label, from labelled pictures."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from groundling.cli.data import Annotations, Images, Instances, LabelMap, ReadFormat, Split
from groundling.cli.options import (
    DEFAULT_NMS,
    BatchSizeOption,
    DeviceOption,
    DtypeOption,
    LabelsOption,
    ModelOption,
    NegativesOption,
    NmsOption,
    VocabularyOption,
    choose_vocabulary,
    load_detector,
)
from groundling.cli.progress import counted
from groundling.cli.stdout import allow_any_letter
from groundling.errors import ConfigError, missing_extra
from groundling.files import BUNDLED_MODEL

if TYPE_CHECKING:
    from groundling.evaluate.calibration import Calibration

JSON_ENDING = ".json"


def calibrate(  # noqa: PLR0913  (one parameter for each option)
    annotations: Annotations,
    labels: LabelsOption = None,
    vocabulary: VocabularyOption = None,
    negatives: NegativesOption = None,
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="The vocabulary to write, with thresholds, as JSON.")
    ] = Path("vocabulary.json"),
    precision: Annotated[
        float, typer.Option("--precision", help="Share of a label's boxes that must be right, over 0 to 1.")
    ] = 0.9,
    max_fp_rate: Annotated[
        float | None,
        typer.Option(
            "--max-fp-rate", help="Highest share of the pictures without the label that may have a box of it."
        ),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option("--report", metavar="FOLDER", help="Where the report goes; else FILE-report."),
    ] = None,
    images: Images = None,
    format_: ReadFormat = None,
    label_map: LabelMap = None,
    split: Split = None,
    instances: Instances = None,
    model: ModelOption = None,
    nms: NmsOption = DEFAULT_NMS,
    dtype: DtypeOption = None,
    device: DeviceOption = None,
    batch_size: BatchSizeOption = 1,
) -> None:
    """Choose a threshold for each label on labelled pictures, and measure what it is worth.

    Example: groundling calibrate scenes --labels "brown moon" "gray moon" --precision 0.9 --out vocabulary.json
    """
    words = choose_vocabulary(labels, vocabulary, negatives)
    folder = out.with_name(f"{out.stem}-report") if report is None else report
    _check_outputs(out, folder)

    from groundling.data.open import open_dataset
    from groundling.evaluate.calibration import Targets
    from groundling.evaluate.calibration import calibrate as choose_thresholds
    from groundling.evaluate.calibration.report import write_report

    Targets(precision, max_fp_rate)  # a mistake should not wait for the model
    files = {"images": images, "label_map": label_map, "split": split, "instances": instances}
    data_format = None if format_ is None else format_.value
    dataset = open_dataset({"annotations": annotations, "format": data_format} | files)
    detector = load_detector(model, device=device, dtype=dtype)
    with counted("calibrating", "pictures") as advance:
        calibration = choose_thresholds(
            detector,
            dataset,
            words,
            precision=precision,
            max_fp_rate=max_fp_rate,
            nms_iou=nms,
            batch_size=batch_size,
            progress=advance,
        )
    number_format = str(detector.model.dtype).removeprefix("torch.")
    description = {"model": model or BUNDLED_MODEL, "data": annotations, "dtype": number_format, "nms_iou": nms}
    write_report(folder, calibration, description)
    calibration.vocabulary.write(out)
    _print(calibration)
    typer.echo(f"wrote {out} and {folder / 'report.html'}")


def _check_outputs(out: Path, folder: Path) -> None:
    """Find out before the model computes whether the results can be written and shown.

    Raises:
        ConfigError: a path cannot be what it must be.
        MissingExtraError: matplotlib is not installed.
    """
    from importlib.util import find_spec

    if out.suffix.lower() != JSON_ENDING or out.is_dir():
        raise ConfigError(f"--out {str(out)!r} must be a file that ends in {JSON_ENDING}, such as vocabulary.json.")
    for option, place in (("--out", out.parent), ("--report", folder)):
        there = next(one for one in (place, *place.absolute().parents) if one.exists())
        if not there.is_dir() or not os.access(there, os.W_OK):
            raise ConfigError(
                f"{option}: nothing can be written to {str(place)!r}: {str(there)!r} is no folder that you may change."
            )
    if find_spec("matplotlib") is None:
        raise missing_extra("matplotlib", "eval", "The report of a calibration")


def _print(calibration: "Calibration") -> None:
    """Print what became of each label."""
    from rich.console import Console
    from rich.table import Table

    from groundling.cli.report import PIPE_WIDTH
    from groundling.evaluate.calibration.report import TEXTS, TITLES, table_rows, targets_text

    allow_any_letter()
    console = Console(width=None if sys.stdout.isatty() else PIPE_WIDTH, markup=False, highlight=False)
    table = Table(*TITLES)
    for number, column in enumerate(table.columns):
        column.overflow = "fold"  # nothing is cut
        column.justify = "left" if number < TEXTS else "right"
    for row in table_rows(calibration):
        table.add_row(*row)
    console.print(table)
    counted = f"{calibration.pictures:,} {'picture' if calibration.pictures == 1 else 'pictures'}"
    console.print(f"targets: {targets_text(calibration.targets)}; shares in percent, over {counted}", soft_wrap=True)
