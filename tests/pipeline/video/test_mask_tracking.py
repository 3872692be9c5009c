"""Videos in, masks with ids out: with a memory and without, what a run leaves behind, and what is written."""

import inspect
import json
import subprocess
import sys
import textwrap
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from groundling.cli.following import Following
from groundling.data.scenes.paint import cover
from groundling.errors import ConfigError, ImageError, PromptError
from groundling.pipeline.detector import Detector
from groundling.pipeline.grounded_sam import GroundedSam
from groundling.pipeline.video import Frame, Source, TrackedFrame, TrackOptions, open_source
from groundling.pipeline.video.mask_tracking import MaskTrackOptions, follow_masks, track_masks
from groundling.pipeline.video.mask_tracks import MaskTracks
from groundling.segmentation import MaskOptions, Segmenter, load_segmenter, loading
from groundling.segmentation.cleaning import clean
from groundling.segmentation.video_model import VideoSegmenter
from groundling.structures.detections import Detections
from groundling.structures.masks import Masks
from pipeline.video.drawn_clips import CIRCLE, STAR, Mover, draw, write_clip
from pipeline.video.tiny_memory import pictures, remembering, tiny_model

LABELS = [STAR.name, CIRCLE.name]


@pytest.fixture(scope="module")
def nano() -> Detector:
    return Detector.from_pretrained("groundling/nano", device="cpu")


@pytest.fixture(scope="module")
def nano_sam() -> Segmenter:
    """Knows drawn shapes, and has no memory."""
    return load_segmenter("groundling/nano-sam", device="cpu")


@pytest.fixture(scope="module")
def memory() -> VideoSegmenter:
    """Has a memory, random weights, and sees every thing."""
    return remembering(tiny_model("sam2_video", confidence=5))


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    frames = draw([STAR, CIRCLE], [n / 25 for n in range(12)])
    return write_clip(tmp_path_factory.mktemp("clips") / "clip.mp4", frames)


def mask_of(mover: Mover, seconds: float, size: int = 224) -> NDArray[np.bool_]:
    """The pixels of a thing that nothing covers."""
    thing = mover.at(seconds)
    mask = np.zeros((size, size), np.bool_)
    if thing is not None:
        its = cover(thing, size)
        mask[its.part] = its.solid
    return mask


def box_on(*boxes: tuple[float, float, float, float]) -> Detections:
    rows = np.array(boxes, np.float32).reshape(-1, 4)
    return Detections(rows, [0.9] * len(rows), [0] * len(rows), ("a thing",), (80, 48))


def as_frames(images: list[NDArray[np.uint8]]) -> list[Frame]:
    return [Frame(number, number / 25, image) for number, image in enumerate(images)]


class Watched(Source):
    """Some frames, or ten of noise, and whether somebody closed it."""

    name, fps = "watched", 25.0

    def __init__(self, images: list[NDArray[np.uint8]] | None = None) -> None:
        self.images = pictures(10) if images is None else images
        self.is_closed = False

    def __iter__(self) -> Iterator[Frame]:
        yield from as_frames(self.images)

    def close(self) -> None:
        self.is_closed = True


# Nothing there


@pytest.mark.parametrize("way", ["memory", "nano_sam"])
def test_an_empty_video_has_no_frames(way: str, nano: Detector, request: pytest.FixtureRequest) -> None:
    assert list(track_masks(nano, request.getfixturevalue(way), [], LABELS)) == []


@pytest.mark.parametrize("way", ["memory", "nano_sam"])
def test_frames_without_things_come_with_no_masks(way: str, nano: Detector, request: pytest.FixtureRequest) -> None:
    segmenter = request.getfixturevalue(way)
    frames = list(track_masks(nano, segmenter, draw([], [0.0, 0.1, 0.2]), LABELS, every=2, fps=10))
    assert [frame.index for frame in frames] == [0, 1, 2]
    for frame in frames:
        assert len(frame.detections) == len(frame.predicted) == 0
        assert frame.detections.masks == Masks((), (224, 224))
        assert frame.detections.labels == tuple(LABELS)
        assert frame.to_dict()["detections"] == []


# Whole runs


@pytest.mark.parametrize("every", [1, 5])
def test_drawn_things_have_their_masks_and_keep_their_ids(
    every: int, nano: Detector, nano_sam: Segmenter, clip: Path
) -> None:
    stop = 0.12 if every == 1 else 0.24
    frames = list(GroundedSam(nano, nano_sam).track(clip, LABELS, every=every, stop=stop))
    assert [frame.index for frame in frames] == list(range(3 if every == 1 else 6))
    ids: dict[str, set[int]] = {name: set() for name in LABELS}
    overlaps = []
    for frame in frames:
        assert sorted(item.label for item in frame.detections) == sorted(ids)
        assert frame.predicted.all() == (frame.index % every != 0)
        found = frame.detections
        assert found.masks is not None
        assert np.array_equal(found.boxes_xyxy, found.masks.boxes_xyxy)
        for item, mask in zip(found, found.masks, strict=True):
            ids[item.label].add(int(item.track_id or 0))
            truth = mask_of(STAR if item.label == STAR.name else CIRCLE, frame.seconds)
            overlaps.append((mask & truth).sum() / (mask | truth).sum())
            assert item.mask_score is not None
            assert 0 <= item.mask_score <= 1
    assert sorted(map(len, ids.values())) == [1, 1]
    assert ids[STAR.name] != ids[CIRCLE.name]
    assert np.mean(overlaps) > 0.85
    assert min(overlaps) > 0.6


def test_a_memory_carries_masks_on_between_detections(nano: Detector, memory: VideoSegmenter, clip: Path) -> None:
    frames = list(track_masks(nano, memory, clip, LABELS, every=5, stop=0.24))
    assert [frame.index for frame in frames] == list(range(6))
    for frame in frames:
        found = frame.detections
        assert found.masks is not None
        assert len(found)
        assert frame.predicted.all() or frame.index % 5 == 0
        assert np.array_equal(found.boxes_xyxy, found.masks.boxes_xyxy)
        assert (found.masks.areas > 0).all()
        assert found.mask_scores is not None
        assert len(set(frame.track_ids.tolist())) == len(found)


@pytest.mark.parametrize("has_memory", [True, False])
def test_masks_are_cleaned_as_the_options_say(
    has_memory: bool, nano: Detector, nano_sam: Segmenter, tmp_path: Path
) -> None:
    if has_memory:
        tiny_model("sam2_video", confidence=5).save_pretrained(tmp_path)
    both = GroundedSam(nano, load_segmenter(tmp_path, device="cpu") if has_memory else nano_sam)
    ring = Mover("red ring", STAR.place)
    clip = draw([ring], [0.0, 0.04, 0.08])
    filled = both.track(clip, [ring.name], masks=MaskOptions(fill_holes=5000))
    for plain, frame in zip(both.track(clip, [ring.name]), filled, strict=True):
        before, after = plain.detections.masks, frame.detections.masks
        assert before is not None
        assert after is not None
        assert after != before
        assert np.array_equal(after.to_array(), [clean(mask, fill_holes=5000) for mask in before])


def test_a_segmenter_of_files_with_a_memory_uses_it(nano: Detector, clip: Path, tmp_path: Path) -> None:
    tiny_model("sam2_video", confidence=5).save_pretrained(tmp_path)
    both = GroundedSam(nano, load_segmenter(tmp_path, device="cpu"))
    tracked = list(both.track(clip, LABELS, every=5, stop=0.12))
    own = remembering(tiny_model("sam2_video", confidence=5))
    for frame, expected in zip(tracked, track_masks(nano, own, clip, LABELS, every=5, stop=0.12), strict=True):
        assert frame.track_ids.tolist() == expected.track_ids.tolist()
        assert np.array_equal(frame.predicted, expected.predicted)
        ours, theirs = frame.detections.mask_scores, expected.detections.mask_scores
        assert ours is not None
        assert ours == pytest.approx(theirs, abs=1e-3)  # weights lie elsewhere in memory, which changes the rounding


def test_the_memory_is_loaded_once_for_several_videos(
    nano: Detector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_model("sam2_video", confidence=5).save_pretrained(tmp_path)
    both = GroundedSam(nano, load_segmenter(tmp_path, device="cpu"))
    list(both.track(pictures(1), LABELS))
    monkeypatch.setattr(loading, "_load", lambda *_: pytest.fail("it was loaded again"))
    assert len(list(both.track(pictures(2), LABELS))) == 2


def test_frames_come_as_they_are_read(memory: VideoSegmenter) -> None:
    asked = []

    def read() -> Iterator[Frame]:
        for frame in as_frames(pictures(8)):
            asked.append(frame.index)
            yield frame

    tracks = MaskTracks(memory, [0.5], remember=1.0, options=MaskOptions())
    looked = []

    def find(image: NDArray[np.uint8]) -> Detections:
        looked.append(asked[-1])
        return box_on((5, 5, 30, 30))

    for frame in follow_masks(read(), find, tracks, every=3):
        assert asked[-1] == frame.index
    assert looked == [0, 3, 6]


def test_no_picture_is_kept(memory: VideoSegmenter) -> None:
    kept: list[weakref.ref[NDArray[np.uint8]]] = []
    most = []

    def read() -> Iterator[Frame]:
        for image in pictures(12):
            frame = Frame(len(kept), len(kept) / 25, image.copy())
            kept.append(weakref.ref(frame.image))
            yield frame
            del frame
            most.append(sum(ref() is not None for ref in kept))

    tracks = MaskTracks(memory, [0.5], remember=1.0, options=MaskOptions())
    for frame in follow_masks(read(), lambda _: box_on((5, 5, 30, 30)), tracks, every=4):
        del frame
    assert max(most) <= 1


@pytest.mark.parametrize("way", ["memory", "nano_sam"])
def test_leaving_the_loop_closes_the_source(way: str, nano: Detector, request: pytest.FixtureRequest) -> None:
    source = Watched()
    for frame in track_masks(nano, request.getfixturevalue(way), source, ["red star"]):
        assert frame.index == 0
        break
    del frame
    assert source.is_closed


@pytest.mark.parametrize("way", ["memory", "nano_sam"])
def test_a_run_that_never_began_closes_the_source(way: str, nano: Detector, request: pytest.FixtureRequest) -> None:
    source = Watched()
    frames = track_masks(nano, request.getfixturevalue(way), source, ["red star"])
    assert not source.is_closed
    del frames
    assert source.is_closed


@pytest.mark.parametrize(("way", "step"), [("memory", "begin"), ("nano_sam", "encode")])
def test_no_memory_left_on_the_device_is_told_as_it_is_and_closes_the_source(
    way: str, step: str, nano: Detector, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: object) -> None:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    segmenter, source = request.getfixturevalue(way), Watched(draw([STAR, CIRCLE], [0.0]))
    monkeypatch.setattr(segmenter, step, fail)
    with pytest.raises(torch.cuda.OutOfMemoryError) as told:  # it holds on to what was at work
        list(track_masks(nano, segmenter, source, LABELS))
    assert source.is_closed
    assert str(told.value) == "CUDA out of memory"


@pytest.mark.parametrize("way", ["memory", "nano_sam"])
def test_frames_of_another_size_are_refused(way: str, nano: Detector, request: pytest.FixtureRequest) -> None:
    frames = [np.zeros((40, 60, 3), np.uint8), np.zeros((50, 60, 3), np.uint8)]
    with pytest.raises(ImageError, match="Frame 1 has 60 x 50 pixels, but the first has 60 x 40"):
        list(track_masks(nano, request.getfixturevalue(way), frames, ["red star"]))


# Options


@pytest.mark.parametrize("way", ["memory", "nano_sam"])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param({"every": 0}, "every must be a number of frames of at least 1, got 0", id="every 0"),
        pytest.param({"every": True}, "at least 1, got True", id="every True"),
        pytest.param({"threshold": 1.5}, "threshold must be within", id="threshold"),
        pytest.param({"nms_iou": -1}, "nms_iou must be within", id="nms"),
        pytest.param({"remember": -1}, "remember must be a number of seconds", id="remember"),
        pytest.param({"remember": float("nan")}, "remember must be", id="remember NaN"),
        pytest.param({"start": 2, "stop": 2}, "the stop after the start", id="stop"),
        pytest.param({"fps": 0}, "fps must be 0.001 to 100000", id="fps"),
        pytest.param({"masks": 3}, "masks must be MaskOptions, got 3", id="masks"),
    ],
)
def test_options_out_of_range_are_refused_at_once(
    options: dict[str, Any], message: str, way: str, nano: Detector, clip: Path, request: pytest.FixtureRequest
) -> None:
    with pytest.raises(ConfigError, match=message):
        track_masks(nano, request.getfixturevalue(way), clip, ["red star"], **options)


@pytest.mark.parametrize("way", ["memory", "nano_sam"])
def test_other_mistakes_are_told_before_the_first_frame(
    way: str, nano: Detector, clip: Path, request: pytest.FixtureRequest
) -> None:
    segmenter = request.getfixturevalue(way)
    with pytest.raises(PromptError):
        track_masks(nano, segmenter, clip, [])
    with pytest.raises(ImageError, match="There is no video"):
        track_masks(nano, segmenter, "gone.mp4", ["red star"])


def test_the_options_are_those_of_track_masks() -> None:
    parameters = inspect.signature(track_masks).parameters.values()
    keywords = {one.name for one in parameters if one.kind is one.KEYWORD_ONLY}
    hints = {name: hint for name, hint in inspect.get_annotations(track_masks).items() if name in keywords}
    assert get_type_hints(MaskTrackOptions) == hints
    assert get_type_hints(MaskTrackOptions).keys() == get_type_hints(TrackOptions).keys() | {"masks"}
    assert MaskTrackOptions.__required_keys__ == frozenset()


# What becomes of the frames


def test_frames_are_drawn_and_listed_with_their_masks(nano: Detector, memory: VideoSegmenter, tmp_path: Path) -> None:
    clip = draw([STAR, CIRCLE], [0.0, 0.04, 0.08])
    video, lists = tmp_path / "out.mp4", (tmp_path / "out.jsonl", tmp_path / "out.txt")
    for tracks in lists:
        frames = track_masks(nano, memory, clip, LABELS, every=2, fps=25)
        assert not Following(video, tracks, fps=25).run(frames, total=3)
    assert len(list(open_source(video))) == 3
    expected = list(track_masks(nano, memory, clip, LABELS, every=2, fps=25))
    lines = [json.loads(line) for line in lists[0].read_text().splitlines()]
    for line, frame in zip(lines, expected, strict=True):
        masks = Masks.from_coco([item["mask"] for item in line["detections"]], frame.detections.image_wh)
        assert masks == frame.detections.masks
        assert frame.detections.mask_scores is not None
        given = [item["mask_score"] for item in line["detections"]]
        assert given == pytest.approx(frame.detections.mask_scores.tolist(), abs=1e-4)
    assert len(lists[1].read_text().splitlines()) == sum(len(frame.detections) for frame in expected)


def test_boxes_without_masks_have_no_mask_in_the_list() -> None:
    image = np.zeros((48, 80, 3), np.uint8)
    tracked = TrackedFrame(0, 0.0, image, box_on((5, 5, 30, 30)), np.zeros(1, np.bool_))
    assert not {"mask", "mask_score"} & tracked.to_dict()["detections"][0].keys()


# Length


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read as Linux lists it")
def test_memory_does_not_grow_with_length() -> None:
    """A process of its own follows things that come and go through 2,000 frames."""
    code = textwrap.dedent("""
        from pathlib import Path
        import numpy as np
        from groundling.pipeline.video import Frame
        from groundling.pipeline.video.mask_tracking import follow_masks
        from groundling.pipeline.video.mask_tracks import MaskTracks
        from groundling.segmentation import MaskOptions
        from groundling.structures.detections import Detections
        from pipeline.video.tiny_memory import pictures, remembering, tiny_model

        def resident():
            return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20

        images = pictures(50)
        rounds = 0
        def find(image):  # a thing for three detections, then none for three, then one elsewhere
            global rounds
            rounds += 1
            left = 5.0 + rounds // 6 * 7 % 40
            boxes = np.array([[left, 5, left + 25, 30]] if rounds // 3 % 2 == 0 else [], np.float32).reshape(-1, 4)
            return Detections(boxes, [0.9] * len(boxes), [0] * len(boxes), ("a thing",), (80, 48))

        tracks = MaskTracks(remembering(tiny_model("sam2_video", confidence=5)), [0.5], remember=0.5,
                            options=MaskOptions())
        frames = (Frame(number, number / 25, images[number % 50]) for number in range(2000))
        sizes, last, most = {}, 0, 0
        for frame in follow_masks(frames, find, tracks, every=5):
            if frame.index in (300, 1999):
                sizes[frame.index] = resident()
            last, most = max([last, *frame.track_ids.tolist()]), max(most, len(tracks))
        print(frame.index, last, most, sizes[1999] - sizes[300])
    """)
    tests = str(Path(__file__).parents[2])
    result = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        env={"PYTHONPATH": tests, "PATH": "", "OMP_NUM_THREADS": "1"},
    )
    assert result.returncode == 0, result.stderr
    last, things, most, growth = result.stdout.split()
    assert int(last) == 1999
    assert int(things) > 30
    assert int(most) <= 4
    assert float(growth) < 10, result.stdout  # MiB; 1,700 frames and their masks in a session would be 110 and more
