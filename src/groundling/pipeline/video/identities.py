"""Which detection is which thing: an id for each thing, from one detection to the next."""

from collections.abc import Sequence
from itertools import count
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from groundling.errors import GroundlingError, missing_extra
from groundling.structures.detections import Detections

if TYPE_CHECKING:
    from trackers import ByteTrackTracker

WEAK = 0.5
"""A box with at least this part of the threshold as its score continues a track, but begins none."""

LEAST_OVERLAP, BUFFER = 0.1, 0.3
"""A box continues a track when it overlaps the expected place by more than this, after both have grown by this part of
their width and height to each side: detections are rare, and what is small and fast jumps from one to the next."""

LEAST_ROUNDS = 2.5
"""A track outlives as many detections without it, however rare detections are."""

_STRONG = 0.5
"""Between 0 and 1, which trackers are told in place of the scores of weak and strong boxes."""


class Identified(NamedTuple):
    """What is known after a detection.

    Attributes:
        track_ids: id of each detection, int64 [N]; -1 for those that are too weak and continue nothing.
        missing: where things are expected that were not found, by their ids: corners in pixels, float32 [4].
    """

    track_ids: NDArray[np.int64]
    missing: dict[int, NDArray[np.float32]]


class Identities:
    """Gives ids by ByteTrack, for each label on its own, so that a cat never continues a dog's track.

    Ids begin at 1 and none is given twice. A box gets its id at once; ByteTrack itself would wait for a second one.

    Args:
        thresholds: score of each label; a box that scores more begins a track.
        remember: seconds for which a thing that is not found keeps its id; at least until the second detection after.
        rate: usual number of detections a second.

    Raises:
        MissingExtraError: the package `trackers` is not installed.
        GroundlingError: it is installed and cannot be imported.
    """

    def __init__(self, thresholds: Sequence[float], *, remember: float, rate: float) -> None:
        _import_trackers()
        self._thresholds = thresholds
        self._remember = remember
        self._rate = rate
        self._trackers: dict[int, ByteTrackTracker] = {}
        self._ids = count(1)
        self._last: float | None = None

    def update(self, found: Detections, seconds: float) -> Identified:
        """Take in the next detections.

        Args:
            found: what was found, also boxes with WEAK scores.
            seconds: when; later than the last time.
        """
        gap = 1 / self._rate if self._last is None else seconds - self._last
        self._last = seconds
        track_ids = np.full(len(found), -1, np.int64)
        missing: dict[int, NDArray[np.float32]] = {}
        for label in sorted({*found.label_ids.tolist(), *self._trackers}):
            tracker = self._tracker(label)
            tracker.maximum_time_without_update = max(self._remember, LEAST_ROUNDS * gap)
            rows = np.flatnonzero(found.label_ids == label)
            track_ids[rows] = self._continue(tracker, found[rows], self._thresholds[label], seconds)
            for track in tracker.tracks:
                if track.time_since_update:
                    missing[track.tracker_id] = track.get_state_bbox().astype(np.float32)
        return Identified(track_ids, missing)

    def _continue(
        self, tracker: "ByteTrackTracker", found: Detections, threshold: float, seconds: float
    ) -> NDArray[np.int64]:
        """Return the ids of one label's detections."""
        import supervision

        rows = np.arange(len(found))
        # Compared here only, in 32 bits as the detector does: in 64 the same score may be on the other side.
        is_strong = found.scores > np.float32(threshold)
        boxes = supervision.Detections(found.boxes_xyxy, confidence=is_strong.astype(np.float64), data={"row": rows})
        result = tracker.update(boxes, timestamp=seconds)
        track_ids = np.full(len(found), -1, np.int64)
        if len(result):
            track_ids[result.data["row"]] = np.asarray(result.tracker_id)
        # What continues nothing has begun a track if it is strong enough; both are in the order of the detections.
        strong = np.flatnonzero((track_ids < 0) & is_strong)
        begun = [track for track in tracker.tracks if track.tracker_id == -1]
        for row, track in zip(strong, begun, strict=True):
            track_ids[row] = track.tracker_id = next(self._ids)
        return track_ids

    def _tracker(self, label: int) -> "ByteTrackTracker":
        if label not in self._trackers:
            from trackers import BIoU, ByteTrackTracker

            self._trackers[label] = ByteTrackTracker(
                frame_rate=self._rate,
                track_activation_threshold=_STRONG,
                high_conf_det_threshold=_STRONG,
                minimum_consecutive_frames=1,
                minimum_iou_threshold=LEAST_OVERLAP,
                iou=BIoU(BUFFER),
            )
        return self._trackers[label]


def _import_trackers() -> None:
    try:
        import trackers  # noqa: F401
    except ModuleNotFoundError as error:
        raise missing_extra(error.name or "trackers", "video", "Tracking") from error
    except ImportError as error:  # a library of the system, such as libGL.so.1
        raise GroundlingError(
            f"The package 'trackers' cannot be imported ({error}). On a computer without a screen: "
            "pip uninstall -y opencv-python && pip install --force-reinstall --no-deps opencv-python-headless"
        ) from error
