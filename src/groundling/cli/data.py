"""`groundling data`: what is wrong with a data set, and the same data set in another format."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from groundling.cli.progress import counted
from groundling.cli.status import PROBLEM
from groundling.cli.stdout import allow_any_letter

if TYPE_CHECKING:
    from rich.console import Console

    from groundling.data.check import Counts, Report
    from groundling.data.problems import Problem

_SHOWN_OF_A_KIND = 5

data = typer.Typer(name="data", help="Check data sets and convert them.")


class Format(StrEnum):
    """Formats that can be read."""

    coco = "coco"
    odvg = "odvg"
    lvis = "lvis"
    refcoco = "refcoco"
    flickr = "flickr"
    yolo = "yolo"
    voc = "voc"


class WrittenFormat(StrEnum):
    """Formats that can be written."""

    coco = "coco"
    odvg = "odvg"
    yolo = "yolo"
    voc = "voc"
    csv = "csv"
    parquet = "parquet"
    labelme = "labelme"
    png = "png"


Annotations = Annotated[str, typer.Argument(metavar="DATASET", help="Annotation file, or folder of a data set.")]
Images = Annotated[str | None, typer.Option("--images", metavar="FOLDER", help="Folder of the pictures.")]
ReadFormat = Annotated[Format | None, typer.Option("--format", help="Format of the data set; else it is recognised.")]
LabelMap = Annotated[str | None, typer.Option("--label-map", metavar="FILE", help="ODVG: names of the label numbers.")]
Split = Annotated[str | None, typer.Option("--split", help="refcoco, flickr, yolo, voc: train, val, testA, ...")]
Instances = Annotated[
    str | None, typer.Option("--instances", metavar="FILE", help="refcoco: COCO file with the boxes.")
]

PolygonsOption = Annotated[
    bool, typer.Option("--polygons", help="COCO: write masks as polygons, not as run lengths, which are exact.")
]


@data.callback(invoke_without_command=True)
def _root(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@data.command("check")
def check(  # noqa: PLR0913  (one parameter for each option)
    annotations: Annotations,
    images: Images = None,
    format_: ReadFormat = None,
    label_map: LabelMap = None,
    split: Split = None,
    instances: Instances = None,
    quick: Annotated[bool, typer.Option("--quick", help="Read only the headers of the pictures.")] = False,
    masks: Annotated[
        bool, typer.Option("--masks", help="COCO, LVIS, YOLO: look at the masks too; every object must have one then.")
    ] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 for warnings, too.")] = False,
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write everything as JSON.")] = None,
) -> int:
    """Find everything that is wrong with a data set; exit with 1 if there are errors.

    Example: groundling data check instances.json --images photos
    """
    from groundling.data.check import inspect_dataset

    spec = _spec(annotations, images, format_, label_map, split, instances)
    with counted("checking pictures", "pictures") as advance:
        report = inspect_dataset(spec, decode=not quick, masks=masks, progress=advance)
    if json_file is not None:
        _write_json(json_file, annotations, report)
    _print(report)
    return PROBLEM if any(strict or problem.kind.is_error for problem in report.problems) else 0


@data.command("convert")
def convert(  # noqa: PLR0913  (one parameter for each option)
    annotations: Annotated[str, typer.Argument(metavar="SRC", help="Annotation file, or folder of a data set.")],
    destination: Annotated[Path, typer.Argument(metavar="DST", help="Folder to write, new or empty.")],
    to: Annotated[WrittenFormat, typer.Option("--to", help="Format to write.")],
    images: Images = None,
    format_: ReadFormat = None,
    label_map: LabelMap = None,
    split: Split = None,
    instances: Instances = None,
    copy: Annotated[bool, typer.Option("--copy", help="Copy the pictures; else they are linked.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a data set at DST.")] = False,
    masks: Annotated[
        bool, typer.Option("--masks", help="COCO, LVIS, YOLO: read masks too; every object must have one then.")
    ] = False,
    polygons: PolygonsOption = False,
) -> None:
    """Write a data set in another format: all of it or nothing.

    Example: groundling data convert instances.json yolo --to yolo --images photos
    """
    from groundling.data.convert import convert_dataset
    from groundling.data.open import open_dataset

    dataset = open_dataset(_spec(annotations, images, format_, label_map, split, instances), masks=masks)
    with counted("converting", "records") as advance:
        done = convert_dataset(
            dataset, destination, to.value, copy=copy, overwrite=overwrite, polygons=polygons, progress=advance
        )
    allow_any_letter()
    is_table = to in (WrittenFormat.csv, WrittenFormat.parquet)
    pictures = "without pictures" if is_table else f"pictures {'copied' if copy else 'linked'}"
    typer.echo(f"wrote {destination}: {done.records} records as {to.value}, {pictures}")
    for what, count in done.left_out.items():
        typer.echo(f"groundling: {to.value} cannot hold: {what} ({count})", err=True)


def _spec(
    annotations: str,
    images: str | None,
    format_: Format | None,
    label_map: str | None,
    split: str | None,
    instances: str | None,
) -> dict[str, object]:
    options = {
        "format": None if format_ is None else format_.value,
        "annotations": annotations,
        "images": images,
        "label_map": label_map,
        "split": split,
        "instances": instances,
    }
    return {key: value for key, value in options.items() if value is not None}


def _print(report: "Report") -> None:
    """Print the counts, the problems (a few of each kind) and what they add up to."""
    import sys

    from rich.console import Console

    from groundling.cli.report import PIPE_WIDTH

    allow_any_letter()
    console = Console(width=None if sys.stdout.isatty() else PIPE_WIDTH, markup=False, highlight=False)
    if report.counts.records:
        _print_counts(report.counts, console)
    if report.problems:
        _print_problems(report.problems, console)
    errors = sum(problem.kind.is_error for problem in report.problems)
    warnings = len(report.problems) - errors
    console.print(f"{errors:,} errors, {warnings:,} warnings" if report.problems else "nothing is wrong")


def _print_counts(counts: "Counts", console: "Console") -> None:
    from rich.table import Table

    table = Table(show_header=False)
    for what, number in (
        ("pictures", counts.pictures),
        ("records", counts.records),
        ("records without objects", counts.empty),
        ("objects", counts.objects),
        ("crowds among them", counts.crowds),
        ("labels", len(counts.of_name)),
    ):
        table.add_row(what, f"{number:,}")
    for what, names in (("commonest", counts.commonest), ("rarest", counts.rarest)):
        table.add_row(what, ", ".join(f"{name} {number:,}" for name, number in names))
    console.print(table)


def _print_problems(problems: "list[Problem]", console: "Console") -> None:
    """Print errors before warnings, and of each kind the first ones."""
    from rich.table import Table

    table = Table("severity", "kind", "where", "cause")
    for column in table.columns:
        column.overflow = "fold"  # nothing is cut
    kinds = sorted({problem.kind for problem in problems}, key=lambda kind: (not kind.is_error, kind))
    for kind in kinds:
        found = [problem for problem in problems if problem.kind is kind]
        for problem in found[:_SHOWN_OF_A_KIND]:
            where = f"{problem.file}, {problem.spot}" if problem.spot else problem.file
            table.add_row(problem.severity, kind.value, where, problem.cause)
        if len(found) > _SHOWN_OF_A_KIND:
            table.add_row(
                found[0].severity, kind.value, "", f"... and {len(found) - _SHOWN_OF_A_KIND:,} more; see --json"
            )
    console.print(table)


def _write_json(path: Path, annotations: str, report: "Report") -> None:
    from groundling.files.writing import write_json

    counts = report.counts
    write_json(
        path,
        {
            "dataset": annotations,
            "counts": {
                "records": counts.records,
                "pictures": counts.pictures,
                "empty": counts.empty,
                "objects": counts.objects,
                "crowds": counts.crowds,
                "of_name": dict(counts.of_name),
            },
            "problems": [
                {
                    "severity": problem.severity,
                    "kind": problem.kind.value,
                    "file": problem.file,
                    "spot": problem.spot,
                    "cause": problem.cause,
                }
                for problem in report.problems
            ],
        },
    )
