"""From a video and labels to frames in which every thing has a mask and an id.

There are two ways, and the segmenter says which. One with a memory (SAM 2, EdgeTAM) is shown each thing once and
follows its pixels itself; see `mask_tracks`. One without a memory makes masks of the boxes that `track` gives.

`GroundedSam.track` passes its detector, its segmenter, and everything else as it came.
"""

from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, TypedDict, cast

import numpy as np

from groundling.pipeline.video.frames import Frame, Source
from groundling.pipeline.video.mask_tracks import MaskTracks
from groundling.pipeline.video.sources import Footage, open_source
from groundling.pipeline.video.tracking import Find, TrackedFrame, between, check_options, finder, track
from groundling.postprocess.select import THRESHOLD
from groundling.segmentation import MaskOptions, Segmenter
from groundling.segmentation.options import USUAL_MASKS, check_mask_options
from groundling.segmentation.video_model import VideoSegmenter, with_memory
from groundling.structures.masks import Masks

if TYPE_CHECKING:
    from groundling.pipeline.detector import Detector
    from groundling.pipeline.stages import Labels

EVERY = 10
"""Frames from one detection to the next: less than half a second of most videos."""


class MaskTrackOptions(TypedDict, total=False):
    """What `track_masks` can be told besides the source and the labels; it says what each option means."""

    every: int
    threshold: float
    nms_iou: float | None
    remember: float
    fps: float | None
    start: float
    stop: float | None
    masks: MaskOptions


def track_masks(  # noqa: PLR0913  (one parameter for each option)
    detector: "Detector",
    segmenter: Segmenter | VideoSegmenter,
    source: Footage,
    labels: "Labels",
    *,
    every: int = EVERY,
    threshold: float = THRESHOLD,
    nms_iou: float | None = 0.5,
    remember: float = 1.0,
    fps: float | None = None,
    start: float = 0.0,
    stop: float | None = None,
    masks: MaskOptions = USUAL_MASKS,
) -> Iterator[TrackedFrame]:
    """Find and follow what the labels name, with masks.

    With a memory: the detector looks at every `every`-th frame; each box becomes a mask, and one that overlaps the mask
    of a followed thing of its label is that thing. Others begin tracks. In the frames between, the segmenter carries
    the masks on. A frame comes as soon as it is computed.

    Without: boxes are followed as `track` does it, and every frame's boxes become masks; frames come up to `every`
    frames late.

    Args:
        detector: what looks.
        segmenter: what makes masks; one that was loaded from the files of a model with a memory loads that now.
        source: see `track`. It is closed at the end, and when the iterator is given up.
        labels: what to find; see `Detector`.
        every: frames from one detection to the next.
        threshold: 0 to 1; a box that scores more begins a track. Half of it continues one, as half of the label's own.
        nms_iou: 0 to 1; drop a box that overlaps a better one of the same label by more; None keeps all.
        remember: seconds for which a thing that is not found keeps its id; at least until the second detection after.
        fps: frames a second of a folder of frames; see `open_source`.
        start: seconds; earlier frames are left out.
        stop: seconds; frames from there on are left out. None is the end.
        masks: how masks are made and cleaned; a segmenter with a memory reads `fill_holes` and `drop_islands` only.

    Returns:
        The frames in order, those with nothing in them too. Boxes are tight around the masks.

    Raises:
        ImageError: the source cannot be read.
        PromptError: the labels cannot be used.
        ConfigError: a number is outside its range.
        CheckpointError: the files of the memory are missing or damaged.
        MissingExtraError: a package for video is not installed.
    """
    check_options(every, remember, start, stop)
    check_mask_options(masks)
    if isinstance(segmenter, Segmenter):
        remembering = with_memory(segmenter)
        if remembering is None:
            frames = track(
                detector,
                source,
                labels,
                every=every,
                threshold=threshold,
                nms_iou=nms_iou,
                remember=remember,
                fps=fps,
                start=start,
                stop=stop,
            )
            return _segment(cast("Generator[TrackedFrame]", frames), segmenter, masks)
        segmenter = remembering
    find, limits = finder(detector, labels, threshold=threshold, nms_iou=nms_iou)
    tracks = MaskTracks(segmenter, limits, remember=remember, options=masks)
    following = _follow(open_source(source, fps=fps), find, tracks, every=every, start=start, stop=stop)
    next(following)
    return cast("Iterator[TrackedFrame]", following)


def _follow(
    source: Source, find: Find, tracks: MaskTracks, *, every: int, start: float, stop: float | None
) -> Generator[TrackedFrame | None]:
    """Yield None, then the frames; once the None is asked for, the source is closed whenever this is given up."""
    with closing(source):
        yield None
        yield from follow_masks(between(source, start, stop), find, tracks, every=every)


def follow_masks(frames: Iterable[Frame], find: Find, tracks: MaskTracks, *, every: int) -> Iterator[TrackedFrame]:
    """Look at every `every`-th frame and let the memory carry the masks on; see `track_masks`.

    Args:
        frames: in the order of time, of one size.
        find: finds boxes in a picture, also weak ones.
        tracks: what is followed.
        every: frames from one detection to the next.
    """
    labels: tuple[str, ...] = ()
    for number, frame in enumerate(frames):
        found = find(frame.image) if number % every == 0 else None
        labels = labels if found is None else found.labels
        seen = tracks.advance(frame, found, labels)
        yield TrackedFrame(frame.index, frame.seconds, frame.image, seen.detections, seen.predicted)


def _segment(frames: Generator[TrackedFrame], segmenter: Segmenter, options: MaskOptions) -> Iterator[TrackedFrame]:
    """Make masks of the boxes of each frame; pictures in which there is nothing are not encoded."""
    with closing(frames):
        for frame in frames:
            found = frame.detections
            masks, scores = Masks((), found.image_wh), np.zeros(0, np.float32)
            if len(found):
                (encoded,) = segmenter.encode([frame.image])
                masks, scores = segmenter.decode(encoded, found.boxes_xyxy, options)
            segmented = replace(found, masks=masks, mask_scores=scores).tightened()
            yield replace(frame, detections=segmented)
