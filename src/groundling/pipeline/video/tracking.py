"""From a video and labels to frames in which every thing has a box and an id."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict, cast

import numpy as np
from numpy.typing import NDArray

from groundling.errors import ConfigError, ImageError
from groundling.pipeline.video.frames import Frame, Source
from groundling.pipeline.video.identities import WEAK, Identities
from groundling.pipeline.video.sources import Footage, open_source
from groundling.postprocess.select import THRESHOLD, SelectionRules
from groundling.structures.detections import Detections

if TYPE_CHECKING:
    import PIL.Image

    from groundling.pipeline.detector import Detector
    from groundling.pipeline.prompt_encoding import PromptEncoding
    from groundling.pipeline.stages import Labels

Find = Callable[[NDArray[np.uint8]], Detections]


@dataclass(frozen=True, slots=True, eq=False)
class TrackedFrame:
    """One frame of a video and the things in it.

    Attributes:
        index: number of the frame in its source, from 0.
        seconds: its time; the first frame of the source is at 0.
        image: upright RGB, uint8 [H, W, 3].
        detections: boxes with `track_ids`, and masks where they were asked for. A predicted box has the score of the
            last one that was found.
        predicted: which boxes do not come from a detection in this frame, bool [N]: they lie between two detections, or
            around a mask that a segmenter with a memory carried on.
    """

    index: int
    seconds: float
    image: NDArray[np.uint8]
    detections: Detections
    predicted: NDArray[np.bool_]

    @property
    def track_ids(self) -> NDArray[np.int64]:
        """Which thing each box is, int64 [N]: the same number from frame to frame, never given twice."""
        ids = self.detections.track_ids
        return np.zeros(0, np.int64) if ids is None else ids

    def draw(self) -> "PIL.Image.Image":
        """Draw boxes, masks, labels, ids and scores on a copy of the frame."""
        return self.detections.draw(self.image)

    def to_dict(self) -> dict[str, Any]:
        """Convert to plain numbers, strings and lists, without the picture; masks are COCO's run lengths."""
        width, height = self.detections.image_wh
        items: list[dict[str, Any]] = [
            {
                "track_id": item.track_id,
                "label": item.label,
                "label_id": item.label_id,
                "score": round(item.score, 4),
                "box_xyxy": [round(side, 2) for side in item.box_xyxy],
                "predicted": bool(is_predicted),
            }
            for item, is_predicted in zip(self.detections, self.predicted, strict=True)
        ]
        if self.detections.masks is not None:
            for plain, item, mask in zip(items, self.detections, self.detections.masks.to_coco(), strict=True):
                plain["mask"] = mask
                if item.mask_score is not None:
                    plain["mask_score"] = round(item.mask_score, 4)
        about = {"frame": self.index, "seconds": round(self.seconds, 6), "width": width, "height": height}
        return {**about, "detections": items}


class TrackOptions(TypedDict, total=False):
    """What `track` can be told besides the source and the labels; it says what each option means."""

    every: int
    threshold: float
    nms_iou: float | None
    remember: float
    fps: float | None
    start: float
    stop: float | None


def track(  # noqa: PLR0913  (one parameter for each option)
    detector: "Detector",
    source: Footage,
    labels: "Labels",
    *,
    every: int = 1,
    threshold: float = THRESHOLD,
    nms_iou: float | None = 0.5,
    remember: float = 1.0,
    fps: float | None = None,
    start: float = 0.0,
    stop: float | None = None,
) -> Iterator[TrackedFrame]:
    """Find and follow what the labels name.

    The detector looks at every `every`-th frame and at the last one. In the frames between, the boxes of a thing lie on
    the straight line from one detection to the next; they are marked as predicted. A thing that the next detection does
    not find moves on as it did until then. So frames come in groups: with every=5 a frame comes up to five frames late.
    At most `every` frames are kept in memory.

    Args:
        detector: what looks.
        source: a video file, a folder of frames, the number of a camera, an address or pictures; see `open_source`.
            It is closed at the end, and when the iterator is given up.
        labels: what to find; see `Detector`.
        every: frames from one detection to the next.
        threshold: 0 to 1; a box that scores more begins a track. Half of it continues one, as half of the label's own.
        nms_iou: 0 to 1; drop a box that overlaps a better one of the same label by more; None keeps all.
        remember: seconds for which a thing that is not found keeps its id; at least until the second detection after.
        fps: frames a second of a folder of frames; see `open_source`.
        start: seconds; earlier frames are left out.
        stop: seconds; frames from there on are left out. None is the end.

    Returns:
        The frames in order, those without any box too.

    Raises:
        ImageError: the source cannot be read.
        PromptError: the labels cannot be used.
        ConfigError: a number is outside its range.
        MissingExtraError: a package for video is not installed.
    """
    check_options(every, remember, start, stop)
    find, limits = finder(detector, labels, threshold=threshold, nms_iou=nms_iou)
    frames = open_source(source, fps=fps)
    following = _follow(frames, find, limits, every=every, remember=remember, start=start, stop=stop)
    next(following)
    return cast("Iterator[TrackedFrame]", following)


def finder(
    detector: "Detector", labels: "Labels", *, threshold: float, nms_iou: float | None
) -> tuple[Find, tuple[float, ...]]:
    """Return what finds boxes in a frame, also those with WEAK scores, and the threshold of each label.

    Raises:
        PromptError: the labels cannot be used.
        ConfigError: a number is outside its range.
    """
    SelectionRules(threshold=threshold, nms_iou=nms_iou)  # refuses what is out of range
    encoding = detector.encode(labels)
    limits = tuple(threshold if limit is None else limit for limit in encoding.prompts.thresholds)
    weak = _with_thresholds(encoding, [limit * WEAK for limit in limits])

    def find(image: NDArray[np.uint8]) -> Detections:
        return replace(detector(image, weak, nms_iou=nms_iou), label_scores=None)

    return find, limits


def check_options(every: int, remember: float, start: float, stop: float | None) -> None:
    """Raise ConfigError where a number is out of range or is none."""
    if isinstance(every, bool) or not isinstance(every, int) or every < 1:
        raise ConfigError(f"every must be a number of frames of at least 1, got {every!r}.")
    if not 0 <= remember < float("inf"):
        raise ConfigError(f"remember must be a number of seconds of at least 0, got {remember!r}.")
    if not 0 <= start < float("inf") or (stop is not None and not start < stop):
        raise ConfigError(
            f"start={start!r} and stop={stop!r} must be seconds: 0 or more, and the stop after the start."
        )


def _with_thresholds(encoding: "PromptEncoding", thresholds: Sequence[float]) -> "PromptEncoding":
    return replace(encoding, prompts=replace(encoding.prompts, thresholds=tuple(thresholds)))


def _follow(
    source: Source,
    find: Find,
    limits: Sequence[float],
    *,
    every: int,
    remember: float,
    start: float,
    stop: float | None,
) -> Generator[TrackedFrame | None, None, None]:
    """Yield None, then the frames; once the None is asked for, the source is closed whenever this is given up."""
    try:
        identities = Identities(limits, remember=remember, rate=source.fps / every)
        yield None
        yield from follow(between(source, start, stop), find, identities, every=every)
    finally:
        source.close()


def between(frames: Iterable[Frame], start: float, stop: float | None) -> Iterator[Frame]:
    """Yield the frames of a span of time.

    Raises:
        ImageError: a frame has another size than the first: boxes between the two would lie in neither picture.
    """
    size: tuple[int, ...] | None = None
    for frame in frames:
        if stop is not None and frame.seconds >= stop:
            return
        if frame.seconds < start:
            continue
        size = frame.image.shape if size is None else size
        if frame.image.shape != size:
            (height, width, _), (first_height, first_width, _) = frame.image.shape, size
            raise ImageError(
                f"Frame {frame.index} has {width} x {height} pixels, but the first has {first_width} x {first_height}. "
                "Give frames of one size; for separate pictures use detect."
            )
        yield frame


class _Known(NamedTuple):
    """The things of a frame in which was looked, and where things are expected that were not found."""

    seconds: float
    detections: Detections
    missing: dict[int, NDArray[np.float32]]


def follow(frames: Iterable[Frame], find: Find, identities: Identities, *, every: int) -> Iterator[TrackedFrame]:
    """Look at every `every`-th frame and at the last one, and fill in the boxes between; see `track`.

    Args:
        frames: in the order of time.
        find: finds boxes in a picture, also weak ones.
        identities: gives them their ids.
        every: frames from one detection to the next.

    Raises:
        ImageError: a frame cannot be read; all before it have been given then.
    """
    waiting: deque[Frame] = deque()
    before: _Known | None = None
    damage: list[ImageError] = []
    for count, frame in enumerate(_up_to_damage(frames, damage)):
        waiting.append(frame)
        if count % every == 0:
            after = _look(frame, find, identities)
            yield from _give(waiting, before, after)
            before = after
    if waiting:
        yield from _give(waiting, before, _look(waiting[-1], find, identities))
    if damage:
        raise damage[0]


def _up_to_damage(frames: Iterable[Frame], damage: list[ImageError]) -> Iterator[Frame]:
    """Yield frames until one cannot be read, which goes into the list: frames before it still wait to be given."""
    try:
        yield from frames
    except ImageError as error:
        damage.append(error)


def _look(frame: Frame, find: Find, identities: Identities) -> _Known:
    found = find(frame.image)
    known = identities.update(found, frame.seconds)
    rows = np.flatnonzero(known.track_ids > 0)
    tracked = replace(found[rows], track_ids=known.track_ids[rows])
    return _Known(frame.seconds, tracked, known.missing)


def _give(waiting: deque[Frame], before: _Known | None, after: _Known) -> Iterator[TrackedFrame]:
    """Yield the frames that waited for a detection in the last of them, and forget each at once."""
    while len(waiting) > 1 and before is not None:
        frame = waiting.popleft()
        share = (frame.seconds - before.seconds) / (after.seconds - before.seconds)
        boxes = _expected(before.detections, after, share)
        yield TrackedFrame(frame.index, frame.seconds, frame.image, boxes, np.ones(len(boxes), np.bool_))
    frame = waiting.pop()
    is_predicted = np.zeros(len(after.detections), np.bool_)
    yield TrackedFrame(frame.index, frame.seconds, frame.image, after.detections, is_predicted)


def _expected(before: Detections, after: _Known, share: float) -> Detections:
    """Return where the things of a detection are when a share (0 to 1) of the time to the next has passed."""
    track_ids = _ids(before)
    found = dict(zip(_ids(after.detections).tolist(), after.detections.boxes_xyxy, strict=True))
    ends = [
        found.get(track_id, after.missing.get(track_id, box))
        for track_id, box in zip(track_ids.tolist(), before.boxes_xyxy, strict=True)
    ]
    moved = before.boxes_xyxy + np.float32(share) * (np.array(ends, np.float32).reshape(-1, 4) - before.boxes_xyxy)
    width, height = before.image_wh
    moved = np.clip(moved, 0, np.array([width, height, width, height], np.float32))
    is_there: NDArray[np.bool_] = np.all(moved[:, 2:] > moved[:, :2], axis=1)  # the others have left the picture
    return replace(before[is_there], boxes_xyxy=moved[is_there])


def _ids(detections: Detections) -> NDArray[np.int64]:
    return np.zeros(0, np.int64) if detections.track_ids is None else detections.track_ids
