"""What the page does with a video, on the bundled model and drawn clips."""

import json

import pytest

from groundling.app import clips
from groundling.app.clips import Clip, Thing
from groundling.errors import ImageError
from groundling.files import BUNDLED_MODEL
from groundling.pipeline.detector import Detector
from groundling.pipeline.video import open_source
from groundling.structures.vocabulary import Vocabulary
from pipeline.video.drawn_clips import CIRCLE, STAR, draw, write_clip

LABELS = Vocabulary(("red star", "blue circle"))


@pytest.fixture(scope="module")
def detector():
    return Detector.from_pretrained(BUNDLED_MODEL, device="cpu")


def follow(detector, path, folder, **options):
    return clips.follow(
        detector, path, "holiday.mp4", LABELS, **{"every": 4, "threshold": 0.3, "folder": folder} | options
    )


def test_no_video(detector, tmp_path):
    with pytest.raises(ImageError, match="No video is given"):
        next(follow(detector, None, tmp_path))


def test_a_broken_video_is_called_by_its_own_name(detector, tmp_path):
    path = tmp_path / "0a1b2c"
    path.write_bytes(b"no video at all")
    with pytest.raises(ImageError, match=r"holiday\.mp4") as caught:
        list(follow(detector, path, tmp_path))
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile://{secret}\n#EXT-X-ENDLIST\n"),
        ("a.mp4", "ffconcat version 1.0\nfile {secret}\n"),
        ("a.sdp", "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=a\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n"),
    ],
)
def test_a_list_of_other_files_is_no_video(detector, tmp_path, name, text):
    secret = write_clip(tmp_path / "secret.ts", draw([STAR], [0.0]) * 3)
    (tmp_path / name).write_text(text.format(secret=secret), encoding="utf-8")
    with pytest.raises(ImageError, match=r"holiday\.mp4' is not a video of a kind that the page opens"):
        next(follow(detector, tmp_path / name, tmp_path))


def test_things_are_followed_and_written(detector, tmp_path, monkeypatch):
    monkeypatch.setattr(clips, "REPORT_SECONDS", 0.0)
    path = write_clip(tmp_path / "clip.mp4", draw([STAR, CIRCLE], [number / 25 for number in range(9)]))
    steps = [(clip.frames, clip.done) for clip in follow(detector, path, tmp_path)]
    assert steps == [*((count, False) for count in range(1, 10)), (9, True)]
    *_, clip = follow(detector, path, tmp_path)
    assert sorted(row[1] for row in clips.rows(clip)) == ["blue circle", "red star"]
    assert [row[4] for row in clips.rows(clip)] == [9, 9]
    assert clip.total == 9
    lines = [json.loads(line) for line in clip.tracks.read_text(encoding="utf-8").splitlines()]
    assert [line["frame"] for line in lines] == list(range(9))
    written = open_source(clip.video)
    assert [frame.image.shape for frame in written] == [(224, 224, 3)] * 9
    written.close()


def test_who_stops_listening_stops_the_work(detector, tmp_path, monkeypatch):
    monkeypatch.setattr(clips, "REPORT_SECONDS", 0.0)
    path = write_clip(tmp_path / "clip.mp4", draw([STAR], [0.0]) * 30)
    running = follow(detector, path, tmp_path, every=1)
    assert next(running).frames == 1
    running.close()
    lines = (tmp_path / "holiday.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 1


@pytest.mark.parametrize(
    ("clip", "said"),
    [
        pytest.param(Clip(None, None, None), "Frame <b>0</b> …", id="empty"),
        pytest.param(Clip(None, None, 60, frames=7), "Frame <b>7</b> of about 60 …", id="on its way"),
        pytest.param(Clip(None, None, 60, frames=60, done=True), "Nothing was found in 60 frames", id="nothing"),
        pytest.param(
            Clip(None, None, 60, 60, {1: Thing("a<b", 0, 1), 2: Thing("a<b", 0, 1)}, done=True),
            "a&lt;b <b>2</b>",
            id="two things",
        ),
    ],
)
def test_what_is_said(clip, said):
    assert said in clips.summary(clip)
