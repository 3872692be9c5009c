"""What `groundling segment` does once everything is checked: pictures one after the other, or a video."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from groundling.cli.footage import as_footage
from groundling.cli.mask_files import save_cutouts, save_masks
from groundling.cli.report import Report
from groundling.cli.search import Outcome, Search
from groundling.cli.status import INTERRUPTED, PROBLEM
from groundling.errors import ImageError
from groundling.pipeline.grounded_sam import GroundedSam
from groundling.segmentation import MaskOptions
from groundling.structures.detections import Detections

if TYPE_CHECKING:
    from groundling.pipeline.stages import Labels
    from groundling.pipeline.video.mask_tracking import MaskTrackOptions


@dataclass(frozen=True, slots=True)
class Results:
    """Where goes what is made of one picture.

    Attributes:
        output: where it is drawn; None draws nothing.
        masks: folder of its masks and maps, or None.
        cutouts: folder of what is cut out, or None.
    """

    output: Path | None
    masks: Path | None
    cutouts: Path | None

    def write(self, outcome: Outcome, found: Detections) -> None:
        """Write what was asked for."""
        if self.output is not None:
            replace(outcome, detections=found).save(self.output)
        if self.masks is not None:
            save_masks(found, self.masks)
        if self.cutouts is not None:
            save_cutouts(found, outcome.picture, self.cutouts)


def search_usable(
    search: Search, pictures: Sequence[Path], problems: Sequence[ImageError | None], batch_size: int
) -> Iterator[Outcome | ImageError]:
    """Search the pictures without a problem; the others give theirs, in order."""
    usable = [picture for picture, problem in zip(pictures, problems, strict=True) if problem is None]
    outcomes = search.run(usable, batch_size)
    for problem in problems:
        yield next(outcomes) if problem is None else problem


def segment_pictures(
    sam: GroundedSam,
    outcomes: Iterable[Outcome | ImageError],
    results: Sequence[Results],
    masks: MaskOptions,
    *,
    tighten: bool,
    as_json: bool,
) -> int:
    """Give what was found in each picture its masks and report it; a single picture that cannot be used is an error.

    Args:
        sam: what segments.
        outcomes: what was found, one for each picture.
        results: what is made of them.
        masks: how masks are made.
        tighten: make each box tight around its mask.
        as_json: print JSON Lines in place of a table.

    Returns:
        The exit status.

    Raises:
        ImageError: there is one picture, and it cannot be used.
    """
    with Report(count=len(results), as_json=as_json, with_masks=True) as report:
        for outcome, result in zip(outcomes, results, strict=True):
            try:
                if isinstance(outcome, ImageError):
                    raise outcome
                found = sam.segment(outcome.picture, outcome.detections, masks=masks, tighten=tighten)
                result.write(outcome, found)
            except ImageError as error:
                if len(results) == 1:
                    raise
                report.add_failure(error)
                continue
            report.add(found, result.output, result.masks, result.cutouts)
    return PROBLEM if report.failures else 0


def segment_video(
    load: Callable[[], GroundedSam],
    source: str,
    labels: "Labels",
    options: "MaskTrackOptions",
    outputs: tuple[Path | None, Path | None],
    fps: float | None,
) -> int:
    """Follow what the labels name, with masks; draw and list it.

    Args:
        load: loads what looks and what segments.
        source: a video, a folder of frames, a camera or an address.
        labels: what to find.
        options: see `track_masks`.
        outputs: the video to draw and the list to write.
        fps: frames a second of a folder of frames.

    Returns:
        The exit status.

    Raises:
        ImageError: the source cannot be read.
    """
    from groundling.pipeline.video import open_source

    opened = open_source(as_footage(source), fps=fps)  # a mistake should not wait for the models
    with closing(opened):
        from groundling.cli.following import Following, expected_count

        following = Following(*outputs, fps=opened.fps)
        frames = load().track(opened, labels, **options)
        total = expected_count(opened, options.get("start", 0.0), options.get("stop"))
        is_interrupted = following.run(frames, total=total)
    return INTERRUPTED if is_interrupted else 0
