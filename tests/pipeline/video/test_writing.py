"""What is written opens elsewhere, has the right times, and is whole or not there."""

import io
import json
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pandas
import pytest
from trackers import load_mot_file

from groundling.errors import ImageError, MissingExtraError
from groundling.pipeline.video import TrackedFrame, open_source, writing
from groundling.pipeline.video.writing import ENCODERS, TracksWriter, VideoWriter
from groundling.structures.detections import Detections
from pipeline.video.drawn_clips import shades

NAMES = {"libx264": "h264", "mpeg4": "mpeg4"}
"""What decoders are called by."""

TIMES = [1.0, 1.04, 1.08, 1.5, 1.6, 2.6]


def tracked(index: int, ids: list[int]) -> TrackedFrame:
    count = len(ids)
    boxes = np.array([[10, 20, 30 + track_id, 60] for track_id in ids], np.float32).reshape(-1, 4)
    detections = Detections(boxes, [0.5] * count, [0] * count, ("größe",), (64, 48), track_ids=np.array(ids, np.int64))
    image = np.zeros((48, 64, 3), np.uint8)
    return TrackedFrame(index, index / 25, image, detections, np.arange(count) % 2 == 1)


# Video


@pytest.fixture(params=["libx264", "mpeg4"])
def encoder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """An encoder of which the writer believes that PyAV has no other."""
    name = str(request.param)
    monkeypatch.setattr(writing, "ENCODERS", {name: ENCODERS[name]})
    return name


@pytest.mark.parametrize("ending", [".mp4", ".mov", ".m4v", ".mkv", ".MP4"])
def test_pictures_come_back_at_their_times(ending: str, encoder: str, tmp_path: Path) -> None:
    path = tmp_path / f"out{ending}"
    with VideoWriter(path, 25) as writer:
        for image, seconds in zip(shades(6), TIMES, strict=True):
            writer.write(image, seconds)
        assert not path.exists()
    frames = list(open_source(path))
    assert [frame.seconds for frame in frames] == pytest.approx([seconds - 1 for seconds in TIMES], abs=6e-4)
    for frame, image in zip(frames, shades(6), strict=True):
        assert np.abs(frame.image.astype(int) - image).mean() < 4
    assert list(tmp_path.iterdir()) == [path]
    with av.open(str(path)) as container:
        (stream,) = container.streams
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == (NAMES[encoder], "yuv420p")


def test_the_best_encoder_is_taken_and_the_other_where_it_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for missing, expected in (set(), "h264"), ({"libx264"}, "mpeg4"):
        monkeypatch.setattr(av, "codecs_available", av.codecs_available - missing)
        with VideoWriter(tmp_path / "out.mp4", 25) as writer:
            writer.write(shades(1)[0], 0.0)
        with av.open(str(tmp_path / "out.mp4")) as container:
            assert container.streams.video[0].codec_context.name == expected
    monkeypatch.setattr(av, "codecs_available", set())
    with pytest.raises(ImageError, match=r"no encoder for H\.264 or MPEG-4"):
        VideoWriter(tmp_path / "out.mp4", 25)


def test_what_the_encoder_refuses_is_said_and_leaves_nothing(encoder: str, tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    path.write_text("old")
    with (
        pytest.raises(ImageError, match=rf"out.mp4' cannot be written by {encoder} .*more than 8,192 pixels"),
        VideoWriter(path, 25) as writer,
    ):
        writer.write(np.zeros((16, 20_000, 3), np.uint8), 0.0)
    assert [one.read_text() for one in tmp_path.iterdir()] == ["old"]


@pytest.mark.parametrize("rate", [Fraction(24), Fraction(30_000, 1001), Fraction(60)])
def test_an_even_rate_is_kept_exactly(rate: Fraction, encoder: str, tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    with VideoWriter(path, float(rate)) as writer:
        for number, image in enumerate(shades(12)):
            writer.write(image, float(number / rate))
    with av.open(str(path)) as container:
        assert container.streams.video[0].average_rate == rate
        stamps = [frame.pts * frame.time_base for frame in container.decode(video=0)]
    tick = Fraction(1, ENCODERS[encoder].ticks)
    assert all(abs(stamp - number / rate) < tick for number, stamp in enumerate(stamps))


@pytest.mark.parametrize(("height", "width"), [(47, 63), (48, 63), (47, 64), (1, 1)])
def test_odd_sides_grow_by_a_line(height: int, width: int, encoder: str, tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    image = np.full((height, width, 3), (200, 40, 90), np.uint8)
    with VideoWriter(path, 25) as writer:
        writer.write(image, 0.0)
    (frame,) = open_source(path)
    assert frame.image.shape == (height + height % 2, width + width % 2, 3)
    assert np.abs(frame.image.astype(int) - (200, 40, 90)).max() < 12  # also in the added lines


def test_colours_are_kept(encoder: str, tmp_path: Path) -> None:
    colors = [(215, 40, 45), (45, 155, 65), (45, 85, 205), (242, 210, 50), (0, 0, 0), (255, 255, 255)]
    image = np.repeat(np.repeat(np.array([colors], np.uint8), 32, axis=0), 32, axis=1)
    with VideoWriter(tmp_path / "out.mp4", 25) as writer:
        writer.write(image, 0.0)
    (frame,) = open_source(tmp_path / "out.mp4")
    assert np.abs(frame.image[8:24, 8::32].astype(int) - image[8:24, 8::32]).max() < 10


def test_a_picture_of_another_size_is_fitted(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "out.mp4", 25) as writer:
        writer.write(shades(1)[0], 0.0)
        writer.write(shades(1, 20, 30)[0], 0.04)
    assert [frame.image.shape for frame in open_source(tmp_path / "out.mp4")] == [(48, 64, 3)] * 2


def test_without_a_picture_there_is_no_file(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "out.mp4", 25), TracksWriter(tmp_path / "out.jsonl"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_what_was_written_before_an_error_is_kept(tmp_path: Path) -> None:
    video, tracks = tmp_path / "out.mp4", tmp_path / "out.jsonl"

    def write_and_fail() -> None:
        with VideoWriter(video, 25) as one, TracksWriter(tracks) as other:
            for number, image in enumerate(shades(4)):
                one.write(image, number / 25)
                other.write(tracked(number, [1]))
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        write_and_fail()
    assert len(list(open_source(video))) == 4
    assert len(tracks.read_text(encoding="utf-8").splitlines()) == 4
    assert len(list(tmp_path.iterdir())) == 2


def test_an_existing_file_is_replaced_at_the_end_only(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    path.write_text("old")
    with VideoWriter(path, 25) as writer:
        writer.write(shades(1)[0], 0.0)
        assert path.read_text() == "old"
    assert len(list(open_source(path))) == 1


@pytest.mark.parametrize("name", ["", "out", "out.txt", "out.gif"])
def test_another_ending_of_a_video_is_refused(name: str) -> None:
    with pytest.raises(ImageError, match=r"does not end like a video. Use one of .mp4, .m4v, .mov, .mkv"):
        VideoWriter(name, 25)


def test_a_missing_package_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingExtraError, match=r"Writing video needs the package 'av'.*groundling\[video\]"):
        VideoWriter("out.mp4", 25)


# Tracks


def test_lines_are_written_as_they_come_and_pandas_reads_them(tmp_path: Path) -> None:
    path = tmp_path / "tracks.jsonl"
    with TracksWriter(path) as writer:
        writer.write(tracked(0, []))
        writer.write(tracked(1, [1, 2]))
        (temporary,) = tmp_path.iterdir()
        assert temporary != path
        assert len(temporary.read_text(encoding="utf-8").splitlines()) == 2
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert lines[0] == {"frame": 0, "seconds": 0.0, "width": 64, "height": 48, "detections": []}
    assert lines[1]["detections"][1] == {
        "track_id": 2,
        "label": "größe",
        "label_id": 0,
        "score": 0.5,
        "box_xyxy": [10.0, 20.0, 32.0, 60.0],
        "predicted": True,
    }
    table = pandas.read_json(path, lines=True)
    assert table["frame"].tolist() == [0, 1]
    boxes = pandas.json_normalize(lines, "detections", ["frame", "seconds"])
    assert boxes[["frame", "track_id", "seconds"]].to_numpy().tolist() == [[1, 1, 0.04], [1, 2, 0.04]]


def test_the_format_of_motchallenge_is_read_by_its_tools(tmp_path: Path) -> None:
    path = tmp_path / "tracks.txt"
    with TracksWriter(path) as writer:
        writer.write(tracked(0, [1]))
        writer.write(tracked(1, []))
        writer.write(tracked(2, [1, 7]))
    assert path.read_text().splitlines()[0] == "1,1,10.00,20.00,21.00,40.00,0.5000,-1,-1,-1"
    frames = load_mot_file(path)
    assert sorted(frames) == [1, 3]
    assert frames[3].ids.tolist() == [1, 7]
    assert frames[3].boxes.tolist() == [[10, 20, 21, 40], [10, 20, 27, 40]]


def test_a_dash_prints(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stream)
    with TracksWriter("-") as writer:
        writer.write(tracked(3, [5]))
    assert not stream.closed
    assert json.loads(stream.getvalue())["detections"][0]["track_id"] == 5


@pytest.mark.parametrize("name", ["", "tracks", "tracks.json", "tracks.csv"])
def test_another_ending_of_tracks_is_refused(name: str) -> None:
    with pytest.raises(ImageError, match=r"Use .jsonl, or .txt as in MOTChallenge"):
        TracksWriter(name)
