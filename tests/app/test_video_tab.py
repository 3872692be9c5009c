"""What answers to the start button of the video's tab, on the bundled model."""

import gradio as gr
import pytest

from groundling.app import clips
from groundling.app.temporary import TemporaryFiles
from groundling.app.video_tab import follower
from groundling.errors import ImageError
from groundling.files import BUNDLED_MODEL
from groundling.pipeline.detector import Detector
from pipeline.video.drawn_clips import STAR, draw, write_clip


@pytest.fixture(scope="module")
def detector():
    return Detector.from_pretrained(BUNDLED_MODEL, device="cpu")


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with TemporaryFiles() as files:
        files.uploads.mkdir()
        yield files


def test_files_stay_when_it_comes_to_the_end(detector, files):
    upload = {"path": str(write_clip(files.uploads / "clip.mp4", draw([STAR], [0.0]) * 3))}
    *_, (clip, video, said, rows, save) = follower(detector, files)(upload, "red star", 1, 0.3)
    (folder,) = files.made.iterdir()
    assert sorted(path.name for path in folder.iterdir()) == ["clip.jsonl", "clip.tracked.mp4"]
    assert (video, clip.frames, len(rows)) == (str(clip.video), 3, 1)
    assert "3 frames" in said
    assert save == gr.update(interactive=True)


def test_nothing_stays_of_a_video_that_is_stopped(detector, files, monkeypatch):
    monkeypatch.setattr(clips, "REPORT_SECONDS", 0.0)
    upload = {"path": str(write_clip(files.uploads / "clip.mp4", draw([STAR], [0.0]) * 30))}
    running = follower(detector, files)(upload, "red star", 1, 0.3)
    next(running)
    assert list(files.made.iterdir())
    running.close()
    assert list(files.made.iterdir()) == []


def test_nothing_stays_of_a_video_that_is_broken(detector, files):
    (files.uploads / "clip.mp4").write_bytes(b"no video")
    with pytest.raises(ImageError, match=r"clip\.mp4"):
        list(follower(detector, files)({"path": str(files.uploads / "clip.mp4")}, "red star", 1, 0.3))
    assert list(files.made.iterdir()) == []
