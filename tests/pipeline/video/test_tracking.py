"""Ids that stay, boxes between detections, and what a run leaves behind."""

import inspect
import subprocess
import sys
import textwrap
import weakref
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import pytest
import supervision
from numpy.typing import NDArray
from trackers import ByteTrackTracker

from groundling.errors import ConfigError, GroundlingError, ImageError, MissingExtraError, PromptError
from groundling.pipeline.detector import Detector
from groundling.pipeline.video import Frame, Source, TrackedFrame, track
from groundling.pipeline.video.identities import Identities
from groundling.pipeline.video.tracking import TrackOptions, follow
from groundling.structures.detections import Detections
from groundling.structures.vocabulary import Vocabulary
from pipeline.video.drawn_clips import CIRCLE, STAR, Mover, box_of, draw, write_clip

LABELS = ("cat", "dog")
WH = (200, 100)
Row = tuple[int, tuple[float, float, float, float], float]
"""Label, box and score."""


def found(*rows: Row) -> Detections:
    return Detections(
        boxes_xyxy=np.array([row[1] for row in rows], np.float32).reshape(-1, 4),
        scores=np.array([row[2] for row in rows], np.float32),
        label_ids=np.array([row[0] for row in rows], np.int64),
        labels=LABELS,
        image_wh=WH,
    )


def box(left: float, top: float = 10.0, side: float = 20.0) -> tuple[float, float, float, float]:
    return left, top, left + side, top + side


def identities(*, remember: float = 1.0, rate: float = 10.0) -> Identities:
    return Identities([0.4, 0.4], remember=remember, rate=rate)


# Identities


def test_nothing_found_has_no_ids() -> None:
    known = identities().update(found(), 0.0)
    assert known.track_ids.shape == (0,)
    assert known.missing == {}


def test_a_thing_has_its_id_at_once_and_keeps_it() -> None:
    ids = identities()
    given = [ids.update(found((0, box(10 + 4 * n), 0.8)), n / 10).track_ids.tolist() for n in range(8)]
    assert given == [[1]] * 8


def test_ids_follow_their_rows_whatever_the_order() -> None:
    ids = identities()
    rows: list[Row] = [(0, box(10), 0.9), (1, box(60), 0.3), (0, box(120), 0.5), (1, box(160), 0.6)]
    first = ids.update(found(*rows), 0.0).track_ids
    assert first.tolist() == [1, -1, 2, 3]  # the second is too weak to begin a track
    again = ids.update(found(*rows[::-1]), 0.1).track_ids
    assert again.tolist() == [3, 2, -1, 1]


def test_two_boxes_in_one_place_are_two_tracks() -> None:
    known = identities().update(found((0, box(10), 0.9), (0, box(10), 0.9)), 0.0)
    assert known.track_ids.tolist() == [1, 2]


def test_a_cat_never_continues_a_dogs_track() -> None:
    ids = identities()
    assert ids.update(found((1, box(10), 0.8)), 0.0).track_ids.tolist() == [1]
    assert ids.update(found((0, box(10), 0.8)), 0.1).track_ids.tolist() == [2]
    assert ids.update(found((1, box(10), 0.8)), 0.2).track_ids.tolist() == [1]


def test_a_weak_box_continues_a_track() -> None:
    ids = identities()
    ids.update(found((0, box(10), 0.8)), 0.0)
    assert ids.update(found((0, box(11), 0.22)), 0.1).track_ids.tolist() == [1]


@pytest.mark.parametrize("threshold", [0.3, 0.35, 0.5, 0.7])
def test_a_score_at_its_threshold_is_weak_and_one_above_is_strong(threshold: float) -> None:
    at = np.float32(threshold)  # for 0.35 and 0.7 less than the threshold in 64 bits, for 0.3 more
    scores = [at, np.nextafter(at, np.float32(1)), np.nextafter(at, np.float32(-1))]
    rows: list[Row] = [(0, box(10 + 50 * place), float(score)) for place, score in enumerate(scores)]
    known = Identities([threshold], remember=1.0, rate=10.0).update(found(*rows), 0.0)
    assert known.track_ids.tolist() == [-1, 1, -1]


def test_trackers_keeps_new_tracks_in_the_order_of_their_boxes() -> None:
    """`Identities` finds the box of a new track by its place, as trackers names it for none."""
    tracker = ByteTrackTracker(
        minimum_consecutive_frames=1, track_activation_threshold=0.5, high_conf_det_threshold=0.5
    )
    generator = np.random.default_rng(0)
    old = 0
    for number in range(6):
        lefts = generator.permutation(12)[:8] * 100.0 + 2000 * (number // 2)  # half of the rounds meet known things
        boxes = np.array([[left, 0, left + 20, 20] for left in lefts], np.float32)
        strong = generator.random(8) < 0.6
        rows = supervision.Detections(boxes, confidence=strong.astype(float), data={"row": np.arange(8)})
        result = tracker.update(rows, timestamp=number / 10)
        ids = np.full(8, -1)
        ids[result.data["row"]] = result.tracker_id
        begun = [one for one in tracker.tracks if one.tracker_id == -1]
        expected = boxes[(ids < 0) & strong]
        assert len(begun) == len(expected)
        old += int((ids >= 0).sum())
        for one, expected_box in zip(begun, expected, strict=True):
            assert one.get_state_bbox() == pytest.approx(expected_box)
            one.tracker_id = 1
    assert old > 5


@pytest.mark.parametrize(("jump", "ids"), [(1.0, [1]), (2.0, [2])])
def test_a_thing_may_move_by_its_own_size(jump: float, ids: list[int]) -> None:
    tracks = identities()
    tracks.update(found((0, box(10), 0.8)), 0.0)
    assert tracks.update(found((0, box(10 + 20 * jump), 0.8)), 0.1).track_ids.tolist() == ids


def test_a_thing_that_comes_back_in_time_keeps_its_id() -> None:
    ids = identities(remember=1.0)
    for n in range(3):
        ids.update(found((0, box(10 + 5 * n), 0.8)), n / 10)
    for n in range(3, 6):
        known = ids.update(found(), n / 10)
        assert known.track_ids.size == 0
        assert known.missing[1] == pytest.approx(box(10 + 5 * n), abs=3)
    assert ids.update(found((0, box(40), 0.8)), 0.6).track_ids.tolist() == [1]


def test_a_thing_that_comes_back_too_late_has_a_new_id() -> None:
    ids = identities(remember=0.5)
    ids.update(found((0, box(10), 0.8)), 0.0)
    for n in range(1, 9):
        known = ids.update(found(), n / 10)
    assert known.missing == {}
    assert ids.update(found((0, box(10), 0.8)), 0.9).track_ids.tolist() == [2]


def test_rare_detections_do_not_forget() -> None:
    ids = identities(remember=0.0, rate=0.1)  # one in ten seconds
    given = [ids.update(found((0, box(10 + 3 * n), 0.8)), 10.0 * n).track_ids.tolist() for n in range(3)]
    assert given == [[1]] * 3
    ids.update(found(), 30.0)
    assert ids.update(found((0, box(22), 0.8)), 40.0).track_ids.tolist() == [1]


def test_a_missing_package_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trackers", None)
    with pytest.raises(MissingExtraError, match=r"'trackers', which is not installed.*groundling\[video\]"):
        identities()


def test_a_missing_library_of_the_system_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "trackers.py").write_text("raise ImportError('libGL.so.1: cannot open shared object file')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "trackers", raising=False)
    with pytest.raises(GroundlingError, match=r"libGL.so.1.*--no-deps opencv-python-headless"):
        identities()


# Frames between detections


def blank(seconds: Sequence[float]) -> list[Frame]:
    image = np.zeros((WH[1], WH[0], 3), np.uint8)
    return [Frame(index, time, image) for index, time in enumerate(seconds)]


def scripted(answers: Sequence[Detections]) -> Callable[[NDArray[np.uint8]], Detections]:
    left = iter(answers)
    return lambda image: next(left)


def test_no_frames_are_no_frames() -> None:
    assert list(follow([], scripted([]), identities(), every=3)) == []


def test_boxes_between_lie_on_a_line_in_time() -> None:
    times = [0.0, 0.1, 0.4, 0.5]  # not evenly
    answers = [found((0, box(10), 0.8)), found((0, box(30), 0.6))]
    frames = list(follow(blank(times), scripted(answers), identities(), every=3))
    assert [frame.index for frame in frames] == [0, 1, 2, 3]
    assert [frame.detections.boxes_xyxy[0, 0] for frame in frames] == pytest.approx([10, 14, 26, 30])
    assert [frame.predicted.tolist() for frame in frames] == [[False], [True], [True], [False]]
    assert [frame.detections.scores[0] for frame in frames] == pytest.approx([0.8, 0.8, 0.8, 0.6])
    assert all(frame.track_ids.tolist() == [1] for frame in frames)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 6, 7])
def test_every_frame_is_given_once_and_the_last_is_looked_at(count: int) -> None:
    answers = [found((0, box(10), 0.8))] * 4
    frames = list(follow(blank([n / 10 for n in range(count)]), scripted(answers), identities(), every=3))
    assert [frame.index for frame in frames] == list(range(count))
    looked_at = [frame.index for frame in frames if not frame.predicted.any()]
    assert looked_at == sorted({*range(0, count, 3), count - 1})


def test_what_is_not_found_again_moves_on_until_then() -> None:
    answers = [found((0, box(10 + 10 * n), 0.8)) for n in range(3)] + [found()]
    frames = list(follow(blank([n / 10 for n in range(7)]), scripted(answers), identities(), every=2))
    assert [len(frame.detections) for frame in frames] == [1, 1, 1, 1, 1, 1, 0]
    assert frames[5].detections.boxes_xyxy[0] == pytest.approx(box(35), abs=2)


def test_a_box_that_leaves_the_picture_is_cut_at_its_edge_and_then_gone() -> None:
    answers = [found((0, box(140), 0.8)), found((0, box(165), 0.8)), found()]
    frames = list(follow(blank([n / 10 for n in range(7)]), scripted(answers), identities(), every=3))
    rights = [frame.detections.boxes_xyxy[0, 2] for frame in frames[:6]]
    assert rights == sorted(rights)
    assert rights[-1] <= WH[0]
    assert len(frames[6].detections) == 0


def test_frames_wait_for_no_more_than_one_detection() -> None:
    asked = []

    def frames() -> Iterator[Frame]:
        for frame in blank([n / 10 for n in range(20)]):
            asked.append(frame.index)
            yield frame

    given = follow(frames(), scripted([found()] * 9), identities(), every=4)
    assert next(given).index == 0
    assert asked == [0]
    assert next(given).index == 1
    assert asked[-1] == 4


@pytest.mark.parametrize("every", [1, 5])
def test_as_many_pictures_are_kept_as_there_are_between_detections(every: int) -> None:
    kept: list[weakref.ref[NDArray[np.uint8]]] = []
    most = []

    def frames() -> Iterator[Frame]:
        for number in range(100):
            frame = Frame(number, number / 10, np.zeros((WH[1], WH[0], 3), np.uint8))
            kept.append(weakref.ref(frame.image))
            yield frame
            del frame

    def find(image: NDArray[np.uint8]) -> Detections:
        most.append(sum(ref() is not None for ref in kept))
        return found((0, box(10), 0.8))

    for frame in follow(frames(), find, identities(), every=every):
        del frame
    assert len(kept) == 100
    assert max(most) == every


# Whole runs


@pytest.fixture(scope="module")
def nano() -> Detector:
    return Detector.from_pretrained("groundling/nano")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    frames = draw([STAR, CIRCLE], [n / 25 for n in range(41)])
    return write_clip(tmp_path_factory.mktemp("clips") / "clip.mp4", frames)


@pytest.mark.parametrize("every", [1, 5, 20])
def test_drawn_things_keep_their_ids_and_places(every: int, nano: Detector, clip: Path) -> None:
    stop = 0.5 if every == 1 else None
    frames = list(track(nano, clip, [STAR.name, CIRCLE.name], every=every, stop=stop))
    assert [frame.index for frame in frames] == list(range(13 if every == 1 else 41))
    ids: dict[str, set[int]] = {STAR.name: set(), CIRCLE.name: set()}
    for frame in frames:
        assert sorted(item.label for item in frame.detections) == sorted(ids)
        assert frame.predicted.all() == (frame.index % every != 0)
        for item, track_id in zip(frame.detections, frame.track_ids, strict=True):
            ids[item.label].add(int(track_id))
            truth = box_of(STAR if item.label == STAR.name else CIRCLE, frame.seconds)
            assert np.abs(np.array(item.box_xyxy) - truth).max() < 9, (frame.index, item)
    assert sorted(map(len, ids.values())) == [1, 1]
    assert ids[STAR.name] != ids[CIRCLE.name]


def test_one_that_leaves_and_one_that_enters_are_two(nano: Detector) -> None:
    first = Mover("red star", lambda t: (110 - 200 * t, 60.0) if t < 0.7 else None)
    second = Mover("red star", lambda t: (250 - 90 * (t - 0.8), 160.0) if t >= 0.8 else None)
    pictures = draw([first, second], [n / 25 for n in range(50)])
    ids: dict[int, list[float]] = {}
    for frame in track(nano, pictures, ["red star"], every=5, fps=25):
        for item in frame.detections:
            ids.setdefault(int(item.track_id or 0), []).append(item.box_xyxy[1])
    assert len(ids) == 2
    upper, lower = ids.values()
    assert max(upper) < 60 < 100 < min(lower)


def test_each_label_has_its_own_threshold(nano: Detector, clip: Path) -> None:
    vocabulary = Vocabulary((STAR.name, CIRCLE.name), thresholds={STAR.name: 0.99})
    (frame,) = track(nano, clip, vocabulary, stop=0.03)
    assert [item.label for item in frame.detections] == [CIRCLE.name]


def fading(shares: Sequence[float]) -> list[NDArray[np.uint8]]:
    """A star that stands still and of which a share is to be seen: 1 is all, 0 nothing."""
    (there,), (empty,) = draw([STAR], [0.0]), draw([], [0.0])
    return [(empty + share * (there.astype(float) - empty)).round().astype(np.uint8) for share in shares]


@pytest.mark.parametrize(
    ("general", "own"), [pytest.param(0.6, None, id="general"), pytest.param(0.01, 0.6, id="the label's own")]
)
def test_half_of_the_threshold_continues_a_track_and_begins_none(
    general: float, own: float | None, nano: Detector
) -> None:
    labels = Vocabulary((STAR.name,), thresholds={} if own is None else {STAR.name: own})
    pictures = fading([0.4, 1.0, 0.5, 0.4, 0.2, 0.4, 1.0])
    scores = [detections.scores.tolist() for detections in nano.detect_many(pictures, [STAR.name], threshold=0.25)]
    assert [[0.3 < score < 0.6 for score in some] for some in scores] == [
        [True], [False], [True], [True], [], [True], [False],
    ]  # fmt: skip
    for given in (labels, nano.encode(labels)):
        frames = list(track(nano, pictures, given, threshold=general))
        assert [frame.track_ids.tolist() for frame in frames] == [[], [1], [1], [1], [], [1], [1]]


def test_the_labels_that_are_given_stay_as_they_are(nano: Detector) -> None:
    encoding = nano.encode(Vocabulary((STAR.name,), thresholds={STAR.name: 0.6}))
    list(track(nano, fading([1.0]), encoding))
    assert encoding.prompts.thresholds == (0.6,)


def test_the_options_are_those_of_track() -> None:
    parameters = inspect.signature(track).parameters.values()
    keywords = {one.name for one in parameters if one.kind is one.KEYWORD_ONLY}
    hints = {name: hint for name, hint in inspect.get_annotations(track).items() if name in keywords}
    assert get_type_hints(TrackOptions) == hints
    assert TrackOptions.__required_keys__ == frozenset()


def test_an_unknown_option_is_refused(nano: Detector, clip: Path) -> None:
    options: dict[str, Any] = {"evry": 5}
    with pytest.raises(TypeError, match="evry"):
        nano.track(clip, [STAR.name], **options)


def test_the_detector_tracks_by_itself(nano: Detector, clip: Path) -> None:
    frames = list(nano.track(clip, [STAR.name], every=20, stop=0.5))
    assert [frame.track_ids.tolist() for frame in frames] == [[1]] * 13


def test_a_part_of_a_video(nano: Detector, clip: Path) -> None:
    frames = list(track(nano, clip, [STAR.name], every=10, start=0.4, stop=0.6))
    assert [frame.index for frame in frames] == list(range(10, 15))
    assert frames[0].seconds == pytest.approx(0.4)


def test_a_frame_draws_itself_and_becomes_plain(nano: Detector, clip: Path) -> None:
    frame = next(iter(track(nano, clip, [STAR.name])))
    assert isinstance(frame, TrackedFrame)
    drawn = frame.draw()
    assert drawn.size == (224, 224)
    assert not np.array_equal(np.asarray(drawn), frame.image)
    plain = frame.to_dict()
    assert {key: plain[key] for key in ("frame", "seconds", "width", "height")} == {
        "frame": 0,
        "seconds": 0.0,
        "width": 224,
        "height": 224,
    }
    (item,) = plain["detections"]
    assert (item["track_id"], item["label"], item["label_id"], item["predicted"]) == (1, STAR.name, 0, False)
    assert item["box_xyxy"] == pytest.approx(frame.detections.boxes_xyxy[0].tolist(), abs=0.01)


class Watched(Source):
    """Ten frames of a folder, and whether somebody closed it."""

    name, fps = "watched", 25.0

    def __init__(self) -> None:
        self.is_closed = False

    def __iter__(self) -> Iterator[Frame]:
        for number in range(10):
            yield Frame(number, number / 25, np.zeros((64, 64, 3), np.uint8))

    def close(self) -> None:
        self.is_closed = True


def test_leaving_the_loop_closes_the_source(nano: Detector) -> None:
    source = Watched()
    for frame in track(nano, source, ["red star"], every=20):
        assert frame.index == 0
        break
    assert source.is_closed


def test_a_run_that_never_began_closes_the_source(nano: Detector) -> None:
    source = Watched()
    frames = track(nano, source, ["red star"])
    assert not source.is_closed
    del frames
    assert source.is_closed


def test_a_missing_package_closes_the_source(nano: Detector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trackers", None)
    source = Watched()
    with pytest.raises(MissingExtraError):
        track(nano, source, ["red star"])
    assert source.is_closed


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="files are counted as Linux lists them")
def test_leaving_the_loop_closes_the_file(nano: Detector, clip: Path) -> None:
    for frame in track(nano, clip, [STAR.name], every=20):
        if frame.index == 0:
            break
    assert clip not in [path.resolve() for path in Path("/proc/self/fd").iterdir()]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param({"every": 0}, "every must be a number of frames of at least 1, got 0", id="every 0"),
        pytest.param({"every": 2.5}, r"at least 1, got 2\.5", id="every 2.5"),
        pytest.param({"every": True}, "at least 1, got True", id="every True"),
        pytest.param({"threshold": 1.5}, "threshold must be within", id="threshold"),
        pytest.param({"nms_iou": -1}, "nms_iou must be within", id="nms"),
        pytest.param({"remember": -1}, "remember must be a number of seconds", id="remember"),
        pytest.param({"start": -1}, "start=-1 and stop=None must be seconds", id="start"),
        pytest.param({"start": float("nan")}, "start=nan and stop=None must be seconds", id="start NaN"),
        pytest.param({"start": float("inf")}, "start=inf", id="start infinite"),
        pytest.param({"start": 2, "stop": 2}, "the stop after the start", id="stop"),
        pytest.param({"stop": float("nan")}, "stop=nan must be seconds", id="stop NaN"),
        pytest.param({"fps": 0}, "fps must be 0.001 to 100000", id="fps"),
    ],
)
def test_numbers_out_of_range_are_refused_at_once(
    options: dict[str, Any], message: str, nano: Detector, clip: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        track(nano, clip, ["red star"], **options)


def test_other_mistakes_are_told_before_the_first_frame(nano: Detector, clip: Path) -> None:
    with pytest.raises(PromptError):
        track(nano, clip, [])
    with pytest.raises(ImageError, match="There is no video"):
        track(nano, "gone.mp4", ["red star"])


@pytest.mark.slow
def test_memory_does_not_grow_with_length(tmp_path: Path) -> None:
    """A process of its own tracks 2,100 frames, with things that come and go.

    What is kept is counted in `test_as_many_pictures_are_kept_as_there_are_between_detections` too, in a moment.
    """
    code = textwrap.dedent("""
        import sys
        from pathlib import Path
        import numpy as np
        from groundling.pipeline.prompt_encoding import PromptEncoding
        from groundling.pipeline.video import track
        from groundling.structures.detections import Detections
        from groundling.structures.prompt import Prompt, PromptSet
        from pipeline.video.drawn_clips import shades, write_clip

        class Finder:
            calls = 0
            def encode(self, labels):
                prompt = Prompt("a thing.", ("a thing",), (101, 7, 8, 1012, 102), ((1, 2),))
                return PromptEncoding(PromptSet.of(prompt), (), "none")
            def __call__(self, image, labels, *, nms_iou):
                self.calls += 1  # a thing every ten detections, that moves through the picture
                left = 9.0 * (self.calls % 10)
                boxes = np.array([[left, 5, left + 12, 20]], np.float32)
                return Detections(boxes, [0.9], [0], ("a thing",), (96, 96), label_scores=[[0.9]])

        def resident():
            return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20

        path = write_clip(Path(sys.argv[1]), shades(2100, 96, 96))
        sizes, last = {}, 0
        for frame in track(Finder(), path, ["a thing"], every=5):
            if frame.index in (300, 2050):
                sizes[frame.index] = resident()
            last = max([last, *frame.track_ids.tolist()])
        print(frame.index, last, sizes[2050] - sizes[300])
    """)
    if not Path("/proc/self/statm").exists():
        pytest.skip("memory is read as Linux lists it")
    command = [sys.executable, "-c", code, str(tmp_path / "long.mp4")]
    tests = str(Path(__file__).parents[2])
    result = subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=False, env={"PYTHONPATH": tests, "PATH": ""}
    )
    assert result.returncode == 0, result.stderr
    last, things, growth = result.stdout.split()
    assert (int(last), int(things) > 30) == (2099, True)
    assert float(growth) < 3, result.stdout  # MiB; 1,750 frames of 96 x 96 pixels are 46


@pytest.mark.parametrize("every", [1, 3])
def test_frames_of_another_size_are_refused_after_those_before_were_given(tiny_detector, processor, every):
    frames = [np.zeros((40, 60, 3), np.uint8), np.zeros((40, 60, 3), np.uint8), np.zeros((50, 60, 3), np.uint8)]
    tracked = Detector(tiny_detector, processor).track(frames, ["a cat"], every=every)
    assert [next(tracked).index, next(tracked).index] == [0, 1]
    with pytest.raises(ImageError, match=r"Frame 2 has 60 x 50 pixels, but the first has 60 x 40"):
        next(tracked)


@pytest.mark.parametrize("fps", [0, -1, 1e-300, 1e300, float("nan"), float("inf")])
def test_frame_rates_that_no_file_holds_are_refused(tiny_detector, processor, fps):
    with pytest.raises(ConfigError, match=r"fps must be 0.001 to 100000 frames a second"):
        Detector(tiny_detector, processor).track([np.zeros((40, 60, 3), np.uint8)], ["a cat"], fps=fps)
