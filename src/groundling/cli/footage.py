"""What verbs that read videos share: options, names of what is written, and what is refused before anything is read."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated
from urllib.parse import urlparse

import typer

from groundling.cli.pictures import check_writable
from groundling.errors import ConfigError, ImageError

STANDARD_OUTPUT = "-"

VIDEO_NMS = 0.5
"""That of `track` and `track_masks`."""

VIDEO_ENDINGS = frozenset({".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm"})
"""Of files that are surely videos; many more can be read."""

RememberOption = Annotated[
    float, typer.Option("--remember", min=0.0, help="Seconds for which a thing that is not found keeps its id.")
]
FpsOption = Annotated[float | None, typer.Option("--fps", help="Frames a second of a folder of frames; else 30.")]
StartOption = Annotated[float, typer.Option("--start", min=0.0, help="Seconds; earlier frames are left out.")]
StopOption = Annotated[float | None, typer.Option("--stop", min=0.0, help="Seconds; later frames are left out.")]
TracksOption = Annotated[
    Path | None,
    typer.Option(
        "--tracks",
        metavar="PATH",
        help="List what is in each frame: .jsonl, .txt for MOTChallenge, - to print. No video without --out.",
    ),
]


def as_footage(source: str) -> str | int:
    """Return the number of a camera where that is meant, else the name itself."""
    return int(source) if source.isdecimal() and not Path(source).exists() else source


def as_output(path: Path | None) -> Path | None:
    """Return where it is written: shells leave the ~ of --out=~/a.mp4 as it is."""
    return None if path is None else path.expanduser()


def name_after(source: str) -> str:
    """Name what is written after what is read."""
    if "://" in source:
        return Path(urlparse(source).path).stem or "stream"
    return f"camera-{source}" if source.isdecimal() else Path(source).expanduser().resolve().stem


def refuse_videos(sources: Sequence[str]) -> None:
    """Refuse a video among several sources that are pictures otherwise.

    Raises:
        ConfigError: there is one.
    """
    for source in sources:
        if Path(source).suffix.lower() in VIDEO_ENDINGS and not Path(source).expanduser().is_dir():
            raise ConfigError(f"{source!r} is a video, and one video is read at a time. Give it alone.")


def check_span(start: float, stop: float | None) -> None:
    """Refuse a span of time that holds nothing.

    Raises:
        ConfigError: it ends before it begins.
    """
    if stop is not None and stop <= start:
        raise ConfigError(f"--start {start:g} and --stop {stop:g} leave no frames. The stop must be after the start.")


def check_outputs(source: str, out: Path | None, tracks: Path | None) -> None:
    """Refuse what cannot be written before anything is read.

    Raises:
        ImageError: a place cannot be written, is the source itself, or both are one.
    """
    read = Path(source).expanduser()
    for option, path in (("--out", out), ("--tracks", tracks)):
        if path is None or str(path) == STANDARD_OUTPUT:
            continue
        if path.is_dir():
            raise ImageError(f"{option} {str(path)!r} is a folder. Name a file in it.")
        if "://" not in source and path.exists() and read.exists() and path.samefile(read):
            raise ImageError(f"{option} {str(path)!r} is the video itself, which would be lost. Give another path.")
        check_writable(path.parent)
    if out is not None and tracks is not None and os.path.realpath(out) == os.path.realpath(tracks):
        raise ImageError(f"--out and --tracks both name {str(out)!r}. Give two paths.")
