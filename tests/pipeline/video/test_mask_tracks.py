"""Which things are followed: by a stand-in that remembers colours, so that what it sees is known."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from groundling.pipeline.video.frames import Frame
from groundling.pipeline.video.mask_tracks import MasksSeen, MaskTracks
from groundling.segmentation import MaskOptions
from groundling.segmentation.video_model import SeenMask
from groundling.structures.detections import Detections

LABELS = ("cat", "dog")
HEIGHT, WIDTH = 30, 60
RED, BLUE, GREEN = 1, 2, 3
Row = tuple[int, tuple[float, float, float, float], float]
"""Label, box and score."""


class Colours:
    """Remembers the colour in the middle of a box and sees all pixels of that colour, within the box or the frame.

    Attributes:
        blurred: colours of which only the left half is seen when they are followed, as if the memory had drifted.
    """

    def __init__(self) -> None:
        self.begun = 0
        self.blurred: set[int] = set()

    def open(self, image: NDArray[np.uint8], index: int) -> NDArray[np.uint8]:
        return image[..., 0]

    def begin(self, picture: NDArray[np.uint8], box: NDArray[np.float32], options: MaskOptions) -> tuple[int, SeenMask]:
        self.begun += 1
        left, top, right, bottom = box.astype(int).tolist()
        colour = int(picture[(top + bottom) // 2, (left + right) // 2])
        return colour, SeenMask((picture == colour) & (colour > 0), 0.9)

    def follow(self, picture: NDArray[np.uint8], memory: int, options: MaskOptions) -> SeenMask:
        mask = picture == memory
        if memory in self.blurred and mask.any():
            columns = np.flatnonzero(mask.any(axis=0))
            mask[:, columns[len(columns) // 2] :] = False
        return SeenMask(mask, 0.8)


def frame(number: int, **places: int) -> Frame:
    """A frame at `number` tenths of a second with squares of 10 pixels, whose left edges are named by colour."""
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    for name, left in places.items():
        image[10:20, left : left + 10] = {"red": RED, "blue": BLUE, "green": GREEN}[name]
    return Frame(number, number / 10, image)


def box(left: float) -> tuple[float, float, float, float]:
    return left, 10.0, left + 10, 20.0


def found(*rows: Row) -> Detections:
    return Detections(
        boxes_xyxy=np.array([row[1] for row in rows], np.float32).reshape(-1, 4),
        scores=np.array([row[2] for row in rows], np.float32),
        label_ids=np.array([row[0] for row in rows], np.int64),
        labels=LABELS,
        image_wh=(WIDTH, HEIGHT),
    )


def tracks(segmenter: Any = None, remember: float = 0.25) -> MaskTracks:
    given = Colours() if segmenter is None else segmenter
    return MaskTracks(given, [0.4, 0.4], remember=remember, options=MaskOptions())


def ids(seen: MasksSeen) -> list[int]:
    assert seen.detections.track_ids is not None
    return seen.detections.track_ids.tolist()


def test_nothing_is_found_and_nothing_is_followed() -> None:
    things = tracks()
    for number, detections in enumerate([found(), None, found()]):
        seen = things.advance(frame(number), detections, LABELS)
        assert len(seen.detections) == len(seen.predicted) == len(things) == 0
        assert seen.detections.masks is not None
        assert seen.detections.labels == LABELS


def test_a_thing_keeps_its_id_and_its_box_is_tight() -> None:
    things = tracks()
    for number in range(9):
        left = 5 + 4 * number
        detections = found((1, (left - 2.0, 8.0, left + 12.0, 22.0), 0.5 + number / 100)) if number % 4 == 0 else None
        seen = things.advance(frame(number, red=left), detections, LABELS)
        (item,) = seen.detections
        assert (item.track_id, item.label, item.box_xyxy) == (1, "dog", box(left))
        assert item.score == pytest.approx(0.5 + number // 4 * 4 / 100)
        assert seen.predicted.tolist() == [number % 4 != 0]
        assert item.mask_score == pytest.approx(0.9 if number == 0 else 0.8)
        assert seen.detections.masks is not None
        assert seen.detections.masks.areas.tolist() == [100]


def test_ids_follow_their_things_whatever_the_order() -> None:
    things = tracks()
    rows: list[Row] = [(0, box(5), 0.9), (0, box(25), 0.8), (1, box(45), 0.7)]
    first = things.advance(frame(0, red=5, blue=25, green=45), found(*rows), LABELS)
    assert ids(first) == [1, 2, 3]
    again = things.advance(frame(1, red=5, blue=25, green=45), found(*rows[::-1]), LABELS)
    assert ids(again) == [1, 2, 3]
    assert again.detections.boxes_xyxy[:, 0].tolist() == [5, 25, 45]


def test_a_cat_never_continues_a_dogs_track() -> None:
    things = tracks()
    assert ids(things.advance(frame(0, red=5), found((1, box(5), 0.9)), LABELS)) == [1]
    both = things.advance(frame(1, red=5), found((0, box(5), 0.9)), LABELS)
    assert (ids(both), both.detections.label_ids.tolist()) == ([1, 2], [1, 0])


@pytest.mark.parametrize(("score", "count"), [(0.4, 0), (0.41, 1)])
def test_a_weak_box_begins_no_track(score: float, count: int) -> None:
    things = tracks()
    assert len(things.advance(frame(0, red=5), found((0, box(5), score)), LABELS).detections) == count


def test_a_weak_box_continues_a_track_for_as_long_as_it_comes() -> None:
    things = tracks()
    for number in range(10):
        seen = things.advance(frame(number, red=5), found((0, box(5), 0.25 if number else 0.9)), LABELS)
        assert ids(seen) == [1]
        assert not seen.predicted.any()


def test_a_weak_box_is_looked_at_only_if_its_label_is_followed() -> None:
    segmenter = Colours()
    things = tracks(segmenter)
    weak: Row = (0, box(5), 0.3)
    assert ids(things.advance(frame(0, red=5, blue=25), found(weak, (1, box(25), 0.9)), LABELS)) == [1]
    assert segmenter.begun == 1
    things.advance(frame(1, red=5, blue=25), found(weak, (1, box(25), 0.3)), LABELS)
    assert segmenter.begun == 2


def test_a_box_in_which_nothing_is_seen_begins_no_track() -> None:
    things = tracks()
    seen = things.advance(frame(0, red=5), found((0, box(40), 0.9)), LABELS)
    assert len(seen.detections) == len(things) == 0


def test_what_no_detection_finds_any_more_is_dropped_and_its_id_never_comes_back() -> None:
    things = tracks(remember=0.25)
    given = []
    for number in range(8):
        detections = found((0, box(5), 0.9)) if number in (0, 7) else found()
        given.append(ids(things.advance(frame(number, red=5), detections, LABELS)))
    assert given == [[1], [1], [1], [], [], [], [], [2]]


def test_a_thing_outlives_one_detection_without_it_however_late() -> None:
    things = tracks(remember=0.0)
    given = [
        ids(things.advance(frame(number, red=5), detections, LABELS))
        for number, detections in enumerate([found((0, box(5), 0.9)), found(), found()])
    ]
    assert given == [[1], [1], []]


def test_a_thing_that_hides_for_a_moment_keeps_its_id_and_has_no_mask_meanwhile() -> None:
    things = tracks(remember=1.0)
    things.advance(frame(0, red=5), found((0, box(5), 0.9)), LABELS)
    hidden = things.advance(frame(1), None, LABELS)
    assert (len(hidden.detections), len(things)) == (0, 1)
    back = things.advance(frame(2, red=30), None, LABELS)
    assert (ids(back), back.predicted.tolist()) == ([1], [True])


def test_a_thing_that_hides_for_too_long_is_dropped_without_a_detection() -> None:
    things = tracks(remember=0.25)
    things.advance(frame(0, red=5), found((0, box(5), 0.9)), LABELS)
    left = []
    for number in range(1, 5):
        things.advance(frame(number), None, LABELS)
        left.append(len(things))
    assert left == [1, 1, 0, 0]
    assert ids(things.advance(frame(5, red=5), found((0, box(5), 0.9)), LABELS)) == [2]


def test_a_hidden_thing_that_is_found_where_it_was_is_the_same() -> None:
    segmenter = Colours()
    things = tracks(segmenter, remember=1.0)
    things.advance(frame(0, red=5), found((0, box(5), 0.9)), LABELS)
    things.advance(frame(1), None, LABELS)
    again = things.advance(frame(2, blue=5), found((0, box(5), 0.9)), LABELS)  # what it looks like has changed
    assert (ids(again), again.predicted.tolist()) == ([1], [False])
    assert ids(things.advance(frame(3, blue=9), None, LABELS)) == [1]


def test_a_mask_that_has_drifted_is_mended_and_one_that_fits_is_left_alone() -> None:
    segmenter = Colours()
    things = tracks(segmenter)
    things.advance(frame(0, red=5), found((0, box(5), 0.9)), LABELS)
    segmenter.blurred = {RED}
    half = things.advance(frame(1, red=5), None, LABELS)
    assert half.detections.boxes_xyxy.tolist() == [[5, 10, 10, 20]]
    mended = things.advance(frame(2, red=5), found((0, box(5), 0.9)), LABELS)
    assert (ids(mended), mended.predicted.tolist()) == ([1], [False])
    assert mended.detections.boxes_xyxy.tolist() == [[5, 10, 15, 20]]
    weak = things.advance(frame(3, red=5), found((0, box(5), 0.3)), LABELS)
    assert (ids(weak), weak.detections.boxes_xyxy.tolist()) == ([1], [[5, 10, 10, 20]])


def test_many_that_come_and_go_leave_nothing_behind() -> None:
    things, given = tracks(remember=0.1), []
    for number in range(60):
        colour = ("red", "blue", "green")[number // 6 % 3]
        there = number % 6 < 3
        places = {colour: 5 + number % 40} if there else {}
        detections = found((0, box(5 + number % 40), 0.9)) if there else found()
        given += ids(things.advance(frame(number, **places), detections, LABELS))
        assert len(things) <= 2
    assert sorted(set(given)) == list(range(1, 11))
    assert given == sorted(given)
