"""What `groundling segment` does once everything is checked: pictures one after the other, or a video."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from groundling.cli.footage import as_footage
from groundling.cli.mask_files import save_cutouts, save_masks
from groundling.cli.report import Report
from groundling.cli.search import Outcome
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
    """What is made of each picture.

    Attributes:
        outputs: where it is drawn, one path for each picture; None draws nothing.
        masks: folder of its masks and maps, or None.
        cutouts: folder of what is cut out, or None.
        as_json: print JSON Lines in place of a table.
    """

    outputs: Sequence[Path | None]
    masks: Path | None
    cutouts: Path | None
    as_json: bool

    def write(self, outcome: Outcome, found: Detections, stem: str, output: Path | None) -> None:
        """Write what was asked for; `stem` is a name that no other picture has."""
        if output is not None:
            replace(outcome, detections=found).save(output)
        if self.masks is not None:
            save_masks(found, self.masks / stem)
        if self.cutouts is not None:
            save_cutouts(found, outcome.picture, self.cutouts / stem)


def segment_pictures(
    sam: GroundedSam, outcomes: Iterable[Outcome | ImageError], results: Results, masks: MaskOptions, *, tighten: bool
) -> int:
    """Give what was found in each picture its masks and report it; a single picture that cannot be used is an error.

    Returns:
        The exit status.

    Raises:
        ImageError: there is one picture, and it cannot be used.
    """
    taken: set[str] = set()
    with Report(count=len(results.outputs), as_json=results.as_json) as report:
        for outcome, output in zip(outcomes, results.outputs, strict=True):
            try:
                if isinstance(outcome, ImageError):
                    raise outcome
                found = sam.segment(outcome.picture, outcome.detections, masks=masks, tighten=tighten)
            except ImageError as error:
                if len(results.outputs) == 1:
                    raise
                report.add_failure(error)
                continue
            results.write(outcome, found, _free(Path(found.source or "picture").stem, taken), output)
            report.add(found, output)
    return PROBLEM if report.failures else 0


def _free(stem: str, taken: set[str]) -> str:
    """Return a name for what is written about a picture; pictures of several folders may be called the same."""
    number, name = 1, stem
    while name.casefold() in taken:
        number += 1
        name = f"{stem}-{number}"
    taken.add(name.casefold())
    return name


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
