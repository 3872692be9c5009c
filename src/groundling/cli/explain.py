"""`groundling explain`: which words each box answered to, and where in the picture each word looked."""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from groundling.cli.options import (
    DEFAULT_NMS,
    DEFAULT_THRESHOLD,
    DeviceOption,
    DtypeOption,
    LabelsOption,
    ModelOption,
    NegativesOption,
    NmsOption,
    TextOption,
    ThresholdOption,
    TopKOption,
    VocabularyOption,
    choose_labels,
    load_detector,
)
from groundling.cli.pictures import DETECTED, choose_outputs, choose_pictures
from groundling.cli.progress import progress_bar
from groundling.cli.status import PROBLEM
from groundling.cli.stdout import allow_any_letter
from groundling.errors import ImageError

if TYPE_CHECKING:
    from groundling.structures.explanation import Explanation, MapKind

FOLDER = "explained"
LONGEST_NAME = 40  # letters of a label in a file name; four bytes each at most, and names may have 255


class Kind(StrEnum):
    """What the pictures of the words show; see `Explanation.map`."""

    similarity = "similarity"
    attention = "attention"


def explain(  # noqa: PLR0913  (one parameter for each option)
    images: Annotated[
        list[str] | None, typer.Argument(metavar="IMAGE", help="Pictures, or folders of pictures.")
    ] = None,
    labels: LabelsOption = None,
    text: TextOption = None,
    vocabulary: VocabularyOption = None,
    negatives: NegativesOption = None,
    kind: Annotated[
        Kind, typer.Option("--kind", help="What the pictures of the labels show: where each fits, or where it looks.")
    ] = Kind.similarity,
    model: ModelOption = None,
    threshold: ThresholdOption = DEFAULT_THRESHOLD,
    top_k: TopKOption = None,
    nms: NmsOption = DEFAULT_NMS,
    out: Annotated[
        str | None, typer.Option("--out", metavar="FOLDER", help=f"Where the pictures go; else {FOLDER}.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object a picture; write pictures only with --out.")
    ] = False,
    dtype: DtypeOption = None,
    device: DeviceOption = None,
) -> int:
    """Show which words each box answered to, and where in the picture each label fits or looks.

    For PICTURE it writes PICTURE.boxes.png, PICTURE.LABEL.png for each label, and PICTURE.scores.png.

    Example: groundling explain shapes.png --labels "red circle" "blue square" --out explained/
    """
    words = choose_labels(labels, text, vocabulary, negatives)
    pictures = choose_pictures(images, labels, "explain")
    outputs: list[Path] | list[None] = [None] * len(pictures)
    if out is not None or not as_json:
        outputs = _choose_names(images or (), pictures, FOLDER if out is None else out)

    detector = load_detector(model, device=device, dtype=dtype)
    look = partial(detector.explain, labels=detector.encode(words), threshold=threshold, top_k=top_k, nms_iou=nms)
    return _explain_each(look, pictures, outputs, "attention" if kind is Kind.attention else "similarity", as_json)


def _explain_each(
    look: "Callable[[Path], Explanation]",
    pictures: Sequence[Path],
    outputs: Sequence[Path | None],
    kind: "MapKind",
    as_json: bool,
) -> int:
    """Report each picture as it is done; a single picture that cannot be used is an error."""
    allow_any_letter(as_json=as_json)
    status = 0
    for picture, output in _with_progress(pictures, outputs):
        try:
            found = look(picture)
        except ImageError as error:
            if len(pictures) == 1:
                raise
            typer.echo(f"groundling: {' '.join(str(error).split())}", err=True)
            status = PROBLEM
            continue
        written = [] if output is None else list(_write(found, output, kind))
        if as_json:
            typer.echo(json.dumps(found.to_dict(), ensure_ascii=False))
        else:
            _print(found, written)
    return status


def _choose_names(given: Sequence[str], pictures: Sequence[Path], out: str) -> list[Path]:
    """Return for each picture the path that its outputs' names begin with, no two the same.

    Raises:
        ImageError: the folder cannot be written, or is one of those that are read.
    """
    place = Path(out).expanduser()
    if place.is_dir() and any(Path(name).is_dir() and place.samefile(Path(name).expanduser()) for name in given):
        raise ImageError(
            f"--out {out!r} is the folder that is read, and the next run would read what this one writes. Name another."
        )
    return [path.with_name(path.name.removesuffix(DETECTED)) for path in choose_outputs(pictures, f"{place}/")]


def _write(found: "Explanation", output: Path, kind: "MapKind") -> Iterator[Path]:
    """Write all pictures and yield their paths."""
    from groundling.pictures.drawing import save_picture

    taken = {"boxes", "scores"}

    def path(name: str) -> Path:
        return output.with_name(f"{output.name}.{name}.png")

    save_picture(found.detections.draw(found.picture), path("boxes"))
    yield path("boxes")
    for word in dict.fromkeys(found.words):
        name = _file_name(word, taken)
        save_picture(found.draw_map(word, kind), path(name))
        yield path(name)
    save_picture(found.draw_scores(), path("scores"))
    yield path("scores")


def _file_name(label: str, taken: set[str]) -> str:
    """Return a part of a file name that says the label and is not taken, and take it."""
    plain = "".join(letter if letter.isalnum() else "-" for letter in label.strip())[:LONGEST_NAME].strip("-")
    plain = plain or "label"
    name, number = plain, 2
    while name.casefold() in taken:
        name = f"{plain}-{number}"
        number += 1
    taken.add(name.casefold())  # some file systems do not tell "Cat" from "cat"
    return name


def _print(found: "Explanation", written: Sequence[Path]) -> None:
    """Print a table of one picture: each box, its label, and what each token of its label said."""
    from rich.console import Console
    from rich.table import Table

    from groundling.cli.report import PIPE_WIDTH

    console = Console(width=None if sys.stdout.isatty() else PIPE_WIDTH, markup=False, highlight=False)
    table = Table("picture", "box", "label", "score", "tokens of the label", "best other tokens")
    for column in table.columns:
        column.overflow = "fold"
    name = Path(found.detections.source or "").name
    if len(found.detections) == 0:
        table.add_row(name, "", "nothing found")
    for row, item in enumerate(found.detections):
        own, others = found.tokens_of(row)
        box = " ".join(f"{side:.0f}" for side in item.box_xyxy)
        scores = (_listed(found, row, places) for places in (own, others[:3]))
        table.add_row(name, box, item.label, f"{item.score:.2f}", *scores)
    console.print(table)
    for path in written:
        console.print(f"wrote {path}", soft_wrap=True)


def _listed(found: "Explanation", row: int, places: Sequence[int]) -> str:
    return "  ".join(f"{found.tokens[place]} {found.token_scores[row, place]:.2f}" for place in places)


def _with_progress(pictures: Sequence[Path], outputs: Sequence[Path | None]) -> Iterator[tuple[Path, Path | None]]:
    """Go through the pictures with a bar on stderr, if that is a terminal and there are several."""
    with progress_bar("pictures", shown=len(pictures) > 1) as bar:
        yield from bar.track(list(zip(pictures, outputs, strict=True)), description="explaining")
