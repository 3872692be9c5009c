"""`groundling detect`: pictures and words in, boxes out."""

import os
from collections.abc import Iterable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from groundling.cli.pictures import choose_outputs, find_pictures
from groundling.cli.status import PROBLEM
from groundling.errors import ImageError, PromptError
from groundling.files import BUNDLED_MODEL

if TYPE_CHECKING:
    from groundling.cli.search import Outcome

MODEL_EXAMPLE = "IDEA-Research/grounding-dino-tiny"


class Dtype(StrEnum):
    """Number formats that a model can compute in."""

    float32 = "float32"
    float16 = "float16"
    bfloat16 = "bfloat16"


def detect(  # noqa: PLR0913  (one parameter for each option)
    images: Annotated[
        list[str] | None, typer.Argument(metavar="IMAGE", help="Pictures, or folders of pictures.")
    ] = None,
    labels: Annotated[
        list[str] | None,
        typer.Option("--labels", metavar="LABEL...", help="What to find: all words up to the next option or --."),
    ] = None,
    text: Annotated[
        str | None, typer.Option("--text", help='The labels as one classic prompt: "a cat. a remote control."')
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model", help=f"Folder, checkpoint file or hub id such as {MODEL_EXAMPLE}; else {BUNDLED_MODEL}."
        ),
    ] = None,
    threshold: Annotated[
        float, typer.Option("--threshold", min=0.0, max=1.0, help="Keep boxes that score more than this.")
    ] = 0.3,
    top_k: Annotated[int | None, typer.Option("--top-k", min=1, help="Keep at most this many boxes a picture.")] = None,
    nms: Annotated[
        float | None,
        typer.Option("--nms", min=0.0, max=1.0, help="Drop a box that overlaps a better one of its label by more."),
    ] = None,
    out: Annotated[
        str | None,
        typer.Option(
            "--out", metavar="PATH", help="Where annotated pictures go: a picture's path, or a folder for several."
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object a picture; draw pictures only with --out.")
    ] = False,
    dtype: Annotated[Dtype | None, typer.Option("--dtype", help="Number format to compute in.")] = None,
    device: Annotated[str | None, typer.Option("--device", help="cpu, cuda, cuda:1 or mps; else CUDA if any.")] = None,
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Pictures computed at a time.")] = 1,
    compile: Annotated[
        bool, typer.Option("--compile", help="On CUDA, record graphs: faster for many pictures of the same few sizes.")
    ] = False,
) -> int:
    """Find what the labels name in pictures, draw it and list it.

    Example: groundling detect shapes.png --labels "red circle" "blue square" --out found.png
    """
    words = _choose_words(labels, text)
    if not images:
        raise _no_picture(labels or [])
    pictures = find_pictures(images)
    if not any(picture.exists() for picture in pictures):  # said before the model is loaded
        raise ImageError(f"There is no picture file {str(pictures[0])!r}. Check the path.")
    outputs: list[Path] | list[None] = [None] * len(pictures)
    if out is not None or not as_json:
        outputs = choose_outputs(pictures, out)

    from groundling.cli.search import Search
    from groundling.pipeline.detector import ABOUT_BUNDLED_MODEL, Detector

    if model is None:
        typer.echo(ABOUT_BUNDLED_MODEL, err=True)
    detector = Detector.from_pretrained(
        BUNDLED_MODEL if model is None else model,
        device=device,
        dtype=None if dtype is None else dtype.value,
        compile=compile,
    )
    search = Search(detector, detector.prompt(words), threshold=threshold, top_k=top_k, nms_iou=nms)
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
                outcome.detections.save(output, outcome.picture)
            report.add(outcome.detections, output)
    return PROBLEM if report.failures else 0


def _choose_words(labels: Sequence[str] | None, text: str | None) -> list[str] | str:
    if labels and text is not None:
        raise PromptError("--labels and --text both say what to find. Use one of them.")
    if labels:
        return [_as_utf_8(label) for label in labels]
    if text is None:
        raise PromptError('Nothing to find is named. Use for example: --labels "a cat" "a remote control"')
    return _as_utf_8(text)


def _as_utf_8(word: str) -> str:
    """Undo what Python does to an argument with letters that the locale lacks."""
    if not any("\ud800" <= letter <= "\udfff" for letter in word):
        return word
    try:
        return os.fsencode(word).decode("utf-8")
    except UnicodeError as error:
        raise PromptError(f"{word!a} is not UTF-8 text, so it cannot be looked for.") from error


def _no_picture(labels: Sequence[str]) -> ImageError:
    swallowed = next((label for label in labels if Path(label).expanduser().exists()), None)
    if swallowed is None:
        return ImageError("No picture is given. Put one or more before the options: groundling detect PICTURE ...")
    return ImageError(
        f"No picture is given: --labels takes all words up to the next option, also {swallowed!r}. "
        f"Put pictures before --labels, or end the labels with --, as in: --labels {labels[0]!r} -- {swallowed}"
    )
