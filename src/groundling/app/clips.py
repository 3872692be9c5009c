"""What the page does with a video, without the page: an annotated copy, a list of tracks, and how far it is."""

import html
import time
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from groundling.app.session import renamed
from groundling.errors import ImageError
from groundling.pipeline.detector import Detector
from groundling.pipeline.video import TrackedFrame, open_source, track
from groundling.pipeline.video.writing import TracksWriter, VideoWriter
from groundling.structures.vocabulary import Vocabulary

REPORT_SECONDS = 0.5
"""How often a run says how far it is."""

MOST_ROWS = 200
"""Things that the table lists; the file has all."""

FORMATS = ("mov", "matroska", "avi", "mpegts", "mpeg", "asf", "flv", "ogg", "mxf", "dv", "gif")
"""FFmpeg's names of files that hold a video themselves. Lists of other files and of addresses are not among them: with
one, who uploads it could have this computer read any video."""

COLUMNS = ("Id", "Label", "First seen (s)", "Last seen (s)", "Frames", "Best score")


@dataclass(slots=True)
class Thing:
    """One thing of a video: when it was seen and how sure the model was."""

    label: str
    first: float
    last: float
    frames: int = 0
    score: float = 0.0


@dataclass(slots=True)
class Clip:
    """A video that is being searched, or was.

    Attributes:
        video: the annotated copy; there once it is done.
        tracks: a JSON line for each frame; there once it is done.
        total: how many frames there are, where that is known.
        frames: how many are done.
        things: by their ids.
        done: whether the files are there.
    """

    video: Path
    tracks: Path
    total: int | None
    frames: int = 0
    things: dict[int, Thing] = field(default_factory=dict)
    done: bool = False


def follow(
    detector: Detector,
    path: Path | None,
    name: str,
    vocabulary: Vocabulary,
    *,
    every: int,
    threshold: float,
    folder: Path,
) -> Generator[Clip, None, None]:
    """Follow things through a video, and say from time to time how far it is; the last value is done.

    Args:
        detector: what looks.
        path: the video; None where none was given.
        name: what the file was called where it came from.
        vocabulary: what to find.
        every: frames from one detection to the next.
        threshold: 0 to 1; boxes that score more begin a track.
        folder: where the files go.

    Raises:
        ImageError: there is no video, or it cannot be read; the message names it as the caller does.
        PromptError: the labels cannot be used.
        MissingExtraError: a package for video is not installed.
    """
    if path is None:
        raise ImageError("No video is given. Drop one into the field on the left.")
    try:
        _check_format(path)
        yield from _follow(detector, path, Path(name).stem or "video", vocabulary, every, threshold, folder)
    except ImageError as error:
        raise renamed(error, path, name) from error


def _follow(
    detector: Detector, path: Path, stem: str, vocabulary: Vocabulary, every: int, threshold: float, folder: Path
) -> Iterator[Clip]:
    source = open_source(path)
    with closing(source):
        clip = Clip(folder / f"{stem}.tracked.mp4", folder / f"{stem}.jsonl", source.frame_count)
        frames = track(detector, source, vocabulary, every=every, threshold=threshold)
        said = time.monotonic()
        with VideoWriter(clip.video, source.fps) as video, TracksWriter(clip.tracks) as tracks:
            for frame in frames:
                video.write(np.asarray(frame.draw()), frame.seconds)
                tracks.write(frame)
                _count(clip, frame)
                if time.monotonic() - said > REPORT_SECONDS:
                    said = time.monotonic()
                    yield clip
    if not clip.frames:
        raise ImageError(f"{str(path)!r} has no pictures in it. Give another video.")
    clip.done = True
    yield clip


def _check_format(path: Path) -> None:
    if find_spec("av") is None:
        return  # `open_source` says so
    import av

    try:
        av.open(str(path), options={"format_whitelist": ",".join(FORMATS), "protocol_whitelist": "file"}).close()
    except (av.FFmpegError, OSError, ValueError) as error:
        raise ImageError(
            f"{str(path)!r} is not a video of a kind that the page opens, or it is damaged. "
            "Use a complete MP4, MOV, MKV, WebM or AVI file."
        ) from error


def rows(clip: Clip) -> list[list[str | float]]:
    """List things as the rows of a table with COLUMNS, by their ids."""
    return [
        [number, thing.label, round(thing.first, 2), round(thing.last, 2), thing.frames, round(thing.score, 2)]
        for number, thing in sorted(clip.things.items())[:MOST_ROWS]
    ]


def summary(clip: Clip) -> str:
    """Say in HTML how far a clip is, or what was found in it."""
    if not clip.done:
        return f"<p>Frame <b>{clip.frames}</b>{f' of about {clip.total}' if clip.total else ''} …</p>"
    if not clip.things:
        return f"<p>Nothing was found in {clip.frames} frames. Lower the threshold, or try other words.</p>"
    counts: dict[str, int] = {}
    for thing in clip.things.values():
        counts[thing.label] = counts.get(thing.label, 0) + 1
    listed = ", ".join(f"{html.escape(label)} <b>{count}</b>" for label, count in counts.items())
    return f"<p><b>{clip.frames} frames</b>; things that were followed: {listed}</p>"


def _count(clip: Clip, frame: TrackedFrame) -> None:
    clip.frames += 1
    for number, item in zip(frame.track_ids.tolist(), frame.detections, strict=True):
        thing = clip.things.setdefault(number, Thing(item.label, frame.seconds, frame.seconds))
        thing.last = frame.seconds
        thing.frames += 1
        thing.score = max(thing.score, item.score)
