"""`groundling detect`: pictures and words in, boxes out."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from groundling.cli.options import (
    DEFAULT_NMS,
    DEFAULT_OVERLAP,
    DEFAULT_THRESHOLD,
    BatchSizeOption,
    CompileOption,
    DeviceOption,
    DropGroupsOption,
    DtypeOption,
    LabelsOption,
    ModelOption,
    NegativesOption,
    NmsAcrossLabelsOption,
    NmsOption,
    OverlapOption,
    TextOption,
    ThresholdOption,
    TileOption,
    TopKOption,
    VocabularyOption,
    choose_labels,
    choose_rules,
    choose_tiles,
    load_detector,
)
from groundling.cli.pictures import choose_outputs, choose_pictures
from groundling.cli.status import PROBLEM
from groundling.errors import ImageError

if TYPE_CHECKING:
    from groundling.cli.search import Outcome


def detect(  # noqa: PLR0913  (one parameter for each option)
    images: Annotated[
        list[str] | None, typer.Argument(metavar="IMAGE", help="Pictures, or folders of pictures.")
    ] = None,
    labels: LabelsOption = None,
    text: TextOption = None,
    vocabulary: VocabularyOption = None,
    negatives: NegativesOption = None,
    model: ModelOption = None,
    threshold: ThresholdOption = DEFAULT_THRESHOLD,
    top_k: TopKOption = None,
    nms: NmsOption = DEFAULT_NMS,
    nms_across_labels: NmsAcrossLabelsOption = False,
    drop_groups: DropGroupsOption = False,
    tile: TileOption = None,
    overlap: OverlapOption = DEFAULT_OVERLAP,
    out: Annotated[
        str | None,
        typer.Option(
            "--out", metavar="PATH", help="Where annotated pictures go: a picture's path, or a folder for several."
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object a picture; draw pictures only with --out.")
    ] = False,
    dtype: DtypeOption = None,
    device: DeviceOption = None,
    batch_size: BatchSizeOption = 1,
    compile: CompileOption = False,
) -> int:
    """Find what the labels name in pictures, draw it and list it.

    Example: groundling detect shapes.png --labels "red circle" "blue square" --out found.png
    """
    words = choose_labels(labels, text, vocabulary, negatives)
    pictures = choose_pictures(images, labels, "detect")
    rules = choose_rules(threshold, top_k, nms, nms_across_labels, drop_groups)
    tiles = choose_tiles(tile, overlap)
    outputs: list[Path] | list[None] = [None] * len(pictures)
    if out is not None or not as_json:
        outputs = choose_outputs(pictures, out)

    from groundling.cli.search import Search

    detector = load_detector(model, device=device, dtype=dtype, compile=compile)
    search = Search(detector, detector.encode(words), rules, tiles)
    return _print_and_draw(search.run(pictures, batch_size), outputs, as_json=as_json)


def _print_and_draw(
    outcomes: "Iterable[Outcome | ImageError]", outputs: Sequence[Path | None], *, as_json: bool
) -> int:
    """Report each picture as it is done; a single picture that cannot be used is an error."""
    from groundling.cli.report import Report

    with Report(count=len(outputs), as_json=as_json) as report:
        for outcome, output in zip(outcomes, outputs, strict=True):
            if isinstance(outcome, ImageError):
                if len(outputs) == 1:
                    raise outcome
                report.add_failure(outcome)
                continue
            if output is not None:
                outcome.save(output)
            report.add(outcome.detections, output)
    return PROBLEM if report.failures else 0
