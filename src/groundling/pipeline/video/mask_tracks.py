"""The things of a video that a segmenter with a memory follows: which begin, which go on, which are given up."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from groundling.pipeline.video.frames import Frame
from groundling.pipeline.video.mask_matching import match_masks
from groundling.segmentation.options import MaskOptions
from groundling.segmentation.video_model import SeenMask, ThingMemory, VideoPicture, VideoSegmenter
from groundling.structures.detections import Detections
from groundling.structures.masks import Masks

GOOD_OVERLAP = 0.7
"""Below this IoU with its detection a mask has drifted: the thing's memory begins anew from the detection's box."""

LEAST_MISSES = 2
"""A thing outlives one detection without it and one frame in which it is not seen, however rare those are."""


class MasksSeen(NamedTuple):
    """What is seen in a frame.

    Attributes:
        detections: boxes tight around `masks`, `track_ids`, `mask_scores`; scores are those of the last detections.
        predicted: which were carried on by the memory and are no detection of this frame, bool [N].
    """

    detections: Detections
    predicted: NDArray[np.bool_]


class _Look(NamedTuple):
    """Where a thing is seen, packed: many masks of a large frame wait together to be compared."""

    mask: Masks
    is_seen: bool
    score: float


@dataclass(eq=False)
class _Thing:
    """One thing that is followed.

    Attributes:
        mask: where it was when it was last seen, one mask.
        mask_score: how good the segmenter thinks that mask is.
        score: that of its last detection.
        is_seen: in the present frame.
        is_found: by the detector in the present frame.
        seen_at: seconds of the frame in which it was last seen.
        found_at: seconds of its last detection.
        unseen: frames since it was last seen.
        unfound: detections without it since.
    """

    track_id: int
    label_id: int
    memory: ThingMemory
    mask: Masks
    mask_score: float
    score: float
    seen_at: float
    found_at: float
    is_seen: bool = True
    is_found: bool = True
    unseen: int = 0
    unfound: int = 0

    def see(self, look: _Look, seconds: float) -> None:
        """Take in its mask in the next frame."""
        self.is_seen, self.is_found = look.is_seen, False
        if self.is_seen:
            self.mask, self.mask_score = look.mask, look.score
            self.seen_at, self.unseen = seconds, 0
        else:
            self.unseen += 1

    def find(self, score: float, seconds: float) -> None:
        """Take in that a detection is this thing."""
        self.score, self.found_at, self.unfound, self.is_found = score, seconds, 0, True

    def is_lost(self, seconds: float, remember: float) -> bool:
        """Say whether it was not seen, or not found, for longer than `remember` seconds and LEAST_MISSES times."""
        return (self.unseen >= LEAST_MISSES and seconds - self.seen_at > remember) or (
            self.unfound >= LEAST_MISSES and seconds - self.found_at > remember
        )


class MaskTracks:
    """Follows things through the frames of one video; ids begin at 1 and none is given twice.

    Args:
        segmenter: it has a memory.
        thresholds: score of each label; a box that scores more begins a track.
        remember: seconds for which a thing that is not seen, or not found, is still followed.
        options: how masks are cleaned.
    """

    def __init__(
        self, segmenter: VideoSegmenter, thresholds: Sequence[float], *, remember: float, options: MaskOptions
    ) -> None:
        self._segmenter = segmenter
        self._thresholds = np.array(thresholds, np.float32)
        self._remember = remember
        self._options = options
        self._things: list[_Thing] = []
        self._ids = count(1)
        self._frames = count()

    def __len__(self) -> int:
        """Count the things that are followed, seen or not."""
        return len(self._things)

    def advance(self, frame: Frame, found: Detections | None, labels: tuple[str, ...]) -> MasksSeen:
        """Take in the next frame.

        Args:
            frame: later than the last one, and of its size.
            found: what the detector found in it, also with WEAK scores; None if it did not look.
            labels: the caller's whole list.
        """
        picture = self._segmenter.open(frame.image, next(self._frames))
        for thing in self._things:
            thing.see(_packed(self._segmenter.follow(picture, thing.memory, self._options)), frame.seconds)
        if found is not None:
            self._compare(picture, found, frame.seconds)
        self._things = [thing for thing in self._things if not thing.is_lost(frame.seconds, self._remember)]
        height, width = frame.image.shape[:2]
        return _as_seen([thing for thing in self._things if thing.is_seen], labels, (width, height))

    def _compare(self, picture: VideoPicture, found: Detections, seconds: float) -> None:
        """Continue and begin tracks by what the detector found."""
        is_strong = found.scores > self._thresholds[found.label_ids]
        # A weak box continues a thing of its label or is nothing.
        rows = np.flatnonzero(is_strong | np.isin(found.label_ids, [thing.label_id for thing in self._things]))
        found, is_strong = found[rows], is_strong[rows]
        begun = [self._begin(picture, box) for box in found.boxes_xyxy]
        matches = match_masks(
            Masks.joined([look.mask for _, look in begun], found.image_wh),
            found.label_ids,
            Masks.joined([thing.mask for thing in self._things], found.image_wh),
            np.array([thing.label_id for thing in self._things], np.int64),
        )
        for thing in self._things:
            thing.unfound += 1
        for match in matches:
            thing = self._things[match.followed]
            if not thing.is_seen or (match.overlap < GOOD_OVERLAP and is_strong[match.found]):
                thing.memory, look = begun[match.found]
                thing.see(look, seconds)
            thing.find(float(found.scores[match.found]), seconds)
        known = {match.found for match in matches}
        for row, (memory, look) in enumerate(begun):
            if row not in known and is_strong[row] and look.is_seen:
                score, label_id = float(found.scores[row]), int(found.label_ids[row])
                thing = _Thing(next(self._ids), label_id, memory, look.mask, look.score, score, seconds, seconds)
                self._things.append(thing)

    def _begin(self, picture: VideoPicture, box_xyxy: NDArray[np.float32]) -> tuple[ThingMemory, _Look]:
        memory, seen = self._segmenter.begin(picture, box_xyxy, self._options)
        return memory, _packed(seen)


def _packed(seen: SeenMask) -> _Look:
    return _Look(Masks.from_array(seen.mask[None]), bool(seen.mask.any()), seen.score)


def _as_seen(things: Sequence[_Thing], labels: tuple[str, ...], image_wh: tuple[int, int]) -> MasksSeen:
    masks = Masks.joined([thing.mask for thing in things], image_wh)
    detections = Detections(
        boxes_xyxy=masks.boxes_xyxy,
        scores=np.array([thing.score for thing in things], np.float32),
        label_ids=np.array([thing.label_id for thing in things], np.int64),
        labels=labels,
        image_wh=image_wh,
        track_ids=np.array([thing.track_id for thing in things], np.int64),
        masks=masks,
        mask_scores=np.array([thing.mask_score for thing in things], np.float32),
    )
    return MasksSeen(detections, np.array([not thing.is_found for thing in things], np.bool_))
