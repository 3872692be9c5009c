"""What `groundling track` does with frames: draws, lists, shows the progress, and ends in good order."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from groundling.cli.progress import progress_bar
from groundling.cli.report import PIPE_WIDTH
from groundling.errors import ImageError
from groundling.interruption import Interruption
from groundling.pipeline.video import Source, TrackedFrame
from groundling.pipeline.video.writing import STANDARD_OUTPUT, TracksWriter, VideoWriter


class Following:
    """Takes in tracked frames and writes what was asked for; what is done stays after an interruption or an error.

    Args:
        out: the video to draw, or None.
        tracks: the list to write, "-" for standard output, or None.
        fps: about how many frames a second there are.

    Raises:
        ImageError: a path has an ending that cannot be written.
    """

    def __init__(self, out: Path | None, tracks: Path | None, *, fps: float) -> None:
        self._video = None if out is None else VideoWriter(out, fps)
        self._tracks = None if tracks is None else TracksWriter(tracks)
        self._is_printing = str(tracks) == STANDARD_OUTPUT
        self._paths = [path for path in (out, tracks) if path is not None and str(path) != STANDARD_OUTPUT]
        self._count = 0
        self._seen: dict[str, _Seen] = {}

    def run(self, frames: Iterator[TrackedFrame], *, total: int | None) -> bool:
        """Take in all frames, up to an interruption.

        Args:
            frames: in order.
            total: how many there will be about, for the progress.

        Returns:
            Whether somebody asked to stop before the end.

        Raises:
            ImageError: there was no frame.
        """
        try:
            is_interrupted = self._write(frames, total)
        except BaseException:
            self._say_what_is_kept()
            raise
        if is_interrupted:
            self._say_what_is_kept()
        elif self._count == 0:
            raise ImageError("No frame could be used. Look at the video itself, and at --start and --stop if given.")
        elif not self._is_printing:
            self._print_summary()
        return is_interrupted

    def _write(self, frames: Iterator[TrackedFrame], total: int | None) -> bool:
        with ExitStack() as stack:
            interruption = stack.enter_context(Interruption())
            for writer in (self._video, self._tracks):
                if writer is not None:
                    stack.enter_context(writer)
            progress = stack.enter_context(progress_bar("frames"))
            task = progress.add_task("tracking", total=total)
            for frame in frames:
                if self._video is not None:
                    self._video.write(np.asarray(frame.draw()), frame.seconds)
                if self._tracks is not None:
                    self._tracks.write(frame)
                self._count += 1
                self._note(frame)
                progress.advance(task)
                if interruption.requested:
                    return True
        return interruption.requested

    def _note(self, frame: TrackedFrame) -> None:
        ids: dict[str, list[int]] = {}
        for item, track_id in zip(frame.detections, frame.track_ids.tolist(), strict=True):
            ids.setdefault(item.label, []).append(track_id)
        for label, track_ids in ids.items():
            self._seen.setdefault(label, _Seen()).add(track_ids)

    def _say_what_is_kept(self) -> None:
        if self._count:
            kept = "".join(f" {path} is kept." for path in self._paths if path.exists())
            typer.echo(f"groundling: stopped after {self._count} frames.{kept}", err=True)

    def _print_summary(self) -> None:
        table = Table("label", "things", "frames")
        for column in table.columns[1:]:
            column.justify = "right"
        for label, seen in self._seen.items():
            table.add_row(Text(label, overflow="fold"), str(seen.things), str(seen.frames))
        if not self._seen:
            table.add_row("nothing found", "", str(self._count))
        console = Console(width=None if sys.stdout.isatty() else PIPE_WIDTH, markup=False, highlight=False)
        console.print(table)
        for path in self._paths:
            console.print(f"wrote {path}", soft_wrap=True)


class _Seen:
    """How often a label was seen; ids only grow, so the highest one tells which are new."""

    def __init__(self) -> None:
        self.things = self.frames = self._highest = 0

    def add(self, track_ids: list[int]) -> None:
        self.frames += 1
        self.things += sum(track_id > self._highest for track_id in track_ids)
        self._highest = max(self._highest, *track_ids)


def expected_count(source: Source, start: float, stop: float | None) -> int | None:
    """Return about how many frames there are from `start` to `stop` (seconds); None where nobody knows."""
    most = None if stop is None else round((stop - start) * source.fps)
    if source.frame_count is None:
        return most
    left = max(0, source.frame_count - round(start * source.fps))
    return left if most is None else min(left, most)
