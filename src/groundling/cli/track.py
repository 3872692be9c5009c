"""`groundling track`: a video and words in, boxes with ids out."""

import os
from contextlib import closing
from pathlib import Path
from typing import Annotated
from urllib.parse import urlparse

import typer

from groundling.cli.options import (
    DEFAULT_THRESHOLD,
    DeviceOption,
    DtypeOption,
    LabelsOption,
    ModelOption,
    NegativesOption,
    VocabularyOption,
    choose_labels,
    load_detector,
)
from groundling.cli.pictures import check_writable
from groundling.cli.status import INTERRUPTED
from groundling.errors import ConfigError, ImageError

TRACKED = ".tracked.mp4"
STANDARD_OUTPUT = "-"


def track(  # noqa: PLR0913  (one parameter for each option)
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="A video, a folder of frames, a camera (0) or an address (rtsp://).")
    ],
    labels: LabelsOption = None,
    vocabulary: VocabularyOption = None,
    negatives: NegativesOption = None,
    model: ModelOption = None,
    every: Annotated[
        int, typer.Option("--every", min=1, help="Look at every so many frames; boxes between are predicted.")
    ] = 1,
    threshold: Annotated[
        float, typer.Option("--threshold", min=0.0, max=1.0, help="Boxes that score more begin a track.")
    ] = DEFAULT_THRESHOLD,
    nms: Annotated[
        float,
        typer.Option("--nms", min=0.0, max=1.0, help="Drop a box that overlaps a better one of its label by more."),
    ] = 0.5,
    remember: Annotated[
        float, typer.Option("--remember", min=0.0, help="Seconds for which a thing that is not found keeps its id.")
    ] = 1.0,
    fps: Annotated[float | None, typer.Option("--fps", help="Frames a second of a folder of frames; else 30.")] = None,
    start: Annotated[float, typer.Option("--start", min=0.0, help="Seconds; earlier frames are left out.")] = 0.0,
    stop: Annotated[float | None, typer.Option("--stop", min=0.0, help="Seconds; later frames are left out.")] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="PATH", help=f"The video to draw, without sound; else NAME{TRACKED}."),
    ] = None,
    tracks: Annotated[
        Path | None,
        typer.Option(
            "--tracks",
            metavar="PATH",
            help="List the boxes of each frame: .jsonl, .txt for MOTChallenge, - to print. No video without --out.",
        ),
    ] = None,
    dtype: DtypeOption = None,
    device: DeviceOption = None,
) -> int:
    """Find and follow what the labels name in a video; each thing keeps its id from frame to frame.

    Ctrl-C ends it; what is done by then is kept.

    Example: groundling track clip.mp4 --labels "red star" "blue circle" --every 5 --out tracked.mp4
    """
    words = choose_labels(labels, vocabulary=vocabulary, negatives=negatives)
    footage = int(source) if source.isdecimal() and not Path(source).exists() else source
    if out is None and tracks is None:
        out = Path(f"{_name(source)}{TRACKED}")
    _check_outputs(source, out, tracks)
    if stop is not None and stop <= start:
        raise ConfigError(f"--start {start:g} and --stop {stop:g} leave no frames. The stop must be after the start.")

    from groundling.pipeline.video import open_source

    opened = open_source(footage, fps=fps)  # a mistake should not wait for the model
    with closing(opened):
        from groundling.cli.following import Following, expected_count
        from groundling.pipeline.video.tracking import track as follow

        following = Following(out, tracks, fps=opened.fps)
        detector = load_detector(model, device=device, dtype=dtype)
        frames = follow(
            detector,
            opened,
            words,
            every=every,
            threshold=threshold,
            nms_iou=nms,
            remember=remember,
            start=start,
            stop=stop,
        )
        is_interrupted = following.run(frames, total=expected_count(opened, start, stop))
    return INTERRUPTED if is_interrupted else 0


def _name(source: str) -> str:
    """Name what is written after what is read."""
    if "://" in source:
        return Path(urlparse(source).path).stem or "stream"
    return f"camera-{source}" if source.isdecimal() else Path(source).expanduser().resolve().stem


def _check_outputs(source: str, out: Path | None, tracks: Path | None) -> None:
    """Refuse what cannot be written before anything is read.

    Raises:
        ImageError: a place cannot be written, is the source itself, or both are one.
    """
    for option, path in (("--out", out), ("--tracks", tracks)):
        if path is None or str(path) == STANDARD_OUTPUT:
            continue
        if path.is_dir():
            raise ImageError(f"{option} {str(path)!r} is a folder. Name a file in it.")
        if "://" not in source and path.exists() and Path(source).expanduser().exists() and path.samefile(source):
            raise ImageError(f"{option} {str(path)!r} is the video itself, which would be lost. Give another path.")
        check_writable(path.parent)
    if out is not None and tracks is not None and os.path.realpath(out) == os.path.realpath(tracks):
        raise ImageError(f"--out and --tracks both name {str(out)!r}. Give two paths.")
