"""`groundling label`: a folder of pictures and words in, a data set out."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from groundling.cli.data import PolygonsOption, WrittenFormat
from groundling.cli.options import (
    DEFAULT_NMS,
    DEFAULT_OVERLAP,
    DEFAULT_THRESHOLD,
    BatchSizeOption,
    BestOfThreeOption,
    CompileOption,
    DeviceOption,
    DropGroupsOption,
    DropIslandsOption,
    Dtype,
    DtypeOption,
    FillHolesOption,
    LabelsOption,
    ModelOption,
    NegativesOption,
    NmsAcrossLabelsOption,
    NmsOption,
    OverlapOption,
    SegmenterOption,
    ThresholdOption,
    TightenOption,
    TileOption,
    TopKOption,
    VocabularyOption,
    choose_masks,
    choose_rules,
    choose_tiles,
    choose_vocabulary,
    load_detector,
    load_grounded_sam,
)
from groundling.cli.progress import progress_bar
from groundling.cli.status import INTERRUPTED, PROBLEM
from groundling.cli.stdout import allow_any_letter
from groundling.files import BUNDLED_MODEL

if TYPE_CHECKING:
    from rich.progress import TaskID

    from groundling.labelling import LabelReport
    from groundling.pipeline.detector import Detector
    from groundling.segmentation import Segmenter

_SHOWN_UNREADABLE = 5


def label(  # noqa: PLR0913  (one parameter for each option)
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Pictures: a folder, a data set's folder, or a list of paths.")
    ],
    out: Annotated[Path, typer.Option("--out", metavar="FOLDER", help="Folder of the data set, new or from before.")],
    labels: LabelsOption = None,
    vocabulary: VocabularyOption = None,
    negatives: NegativesOption = None,
    format_: Annotated[WrittenFormat, typer.Option("--format", help="What is written.")] = WrittenFormat.coco,
    recursive: Annotated[bool, typer.Option("--recursive", help="Search the folders in FOLDER too.")] = False,
    model: ModelOption = None,
    threshold: ThresholdOption = DEFAULT_THRESHOLD,
    top_k: TopKOption = None,
    nms: NmsOption = DEFAULT_NMS,
    nms_across_labels: NmsAcrossLabelsOption = False,
    drop_groups: DropGroupsOption = False,
    tile: TileOption = None,
    overlap: OverlapOption = DEFAULT_OVERLAP,
    batch_size: BatchSizeOption = 1,
    sam: SegmenterOption = None,
    polygons: PolygonsOption = False,
    best_of_three: BestOfThreeOption = False,
    fill_holes: FillHolesOption = 0,
    drop_islands: DropIslandsOption = 0,
    tighten: TightenOption = False,
    dtype: DtypeOption = None,
    device: DeviceOption = None,
    compile: CompileOption = False,
    copy: Annotated[bool, typer.Option("--copy", help="Copy the pictures there; else they are linked.")] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the data set of --out, or one begun with other settings.")
    ] = False,
) -> int:
    """Label all pictures of a folder as a data set; the same command goes on after a crash or an interruption.

    With --sam everything that is found gets a mask, in the formats that hold masks: coco, yolo, labelme and png.

    Exit with 1 if pictures could not be read; they are listed in the folder of --out/report.json.

    Example: groundling label photos --labels "red star" "blue circle" --format yolo --out labelled
    """
    from groundling.labelling import LabelSettings, check_output, find_pictures, label_folder

    words = choose_vocabulary(labels, vocabulary, negatives)
    settings = LabelSettings(
        format=format_.value,
        rules=choose_rules(threshold, top_k, nms, nms_across_labels, drop_groups),
        batch_size=batch_size,
        tiles=choose_tiles(tile, overlap),
        copy=copy,
        overwrite=overwrite,
        model_name=BUNDLED_MODEL if model is None else model,
        masks=choose_masks(best_of_three, fill_holes, drop_islands),
        tighten=tighten,
        polygons=polygons,
        segmenter_name=sam or "",
    )
    pictures = find_pictures(folder, recursive=recursive)
    check_output(out, settings, has_segmenter=sam is not None)  # mistakes are said before the model is loaded

    detector, segmenter = _load(model, sam, device=device, dtype=dtype, compile=compile)
    with _progress() as advance:
        report = label_folder(detector, pictures, words, out, settings, segmenter=segmenter, progress=advance)
    return _print(report, out, format_)


def _load(
    model: str | None, sam: str | None, *, device: str | None, dtype: Dtype | None, compile: bool
) -> "tuple[Detector, Segmenter | None]":
    if sam is None:
        return load_detector(model, device=device, dtype=dtype, compile=compile), None
    both = load_grounded_sam(model, sam, device=device, dtype=dtype, compile=compile)
    return both.detector, both.segmenter


@contextmanager
def _progress() -> Iterator[Callable[[str, int, int], None]]:
    """Give a function that shows how far a stage is, how fast it goes and how long it will take."""
    with progress_bar("pictures") as bar:
        stages: dict[str, TaskID] = {}

        def advance(stage: str, done: int, total: int) -> None:
            if stage not in stages:  # what an earlier run has done says nothing about how fast this one is
                stages[stage] = bar.add_task(stage, total=total, completed=done)
            else:
                bar.update(stages[stage], completed=done)

        yield advance


def _print(report: "LabelReport", out: Path, format_: WrittenFormat) -> int:
    allow_any_letter()
    count = report.pictures - len(report.unreadable)
    if not report.is_finished:
        typer.echo(
            f"groundling: stopped; this run has done {report.computed}. Run the same command again to go on.",
            err=True,
        )
        return INTERRUPTED
    for one in report.unreadable[:_SHOWN_UNREADABLE]:
        typer.echo(f"groundling: {one.cause}", err=True)
    if len(report.unreadable) > _SHOWN_UNREADABLE:
        more = len(report.unreadable) - _SHOWN_UNREADABLE
        typer.echo(f"groundling: and {more:,} more, all listed in {out / 'report.json'}", err=True)
    for what, number in report.left_out.items():
        typer.echo(f"groundling: {format_.value} cannot hold: {what} ({number})", err=True)
    boxes = sum(report.boxes.values())
    what = f"{count:,} pictures, {report.without_boxes:,} of them without boxes, {boxes:,} boxes as {format_.value}"
    typer.echo(f"wrote {out}: {what}" if report.is_written else f"{out} is complete, nothing to do: {what}")
    return PROBLEM if report.unreadable else 0
