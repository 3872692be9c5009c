"""`groundling track` with the bundled model and a drawn clip."""

import json
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from groundling.cli.following import Following, expected_count
from groundling.cli.main import run
from groundling.cli.track import track
from groundling.pipeline.video import TrackedFrame, open_source
from groundling.pipeline.video.pictures import Pictures
from groundling.structures.detections import Detections
from pipeline.video.drawn_clips import CIRCLE, STAR, draw, shades, write_clip


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    frames = draw([STAR, CIRCLE], [n / 25 for n in range(21)])
    return write_clip(tmp_path_factory.mktemp("clips") / "clip.mp4", frames)


@pytest.fixture
def folder(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a clip in it."""
    (tmp_path / "clip.mp4").write_bytes(clip.read_bytes())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_example_of_the_help(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = re.findall(r"Example: groundling (.+)", track.__doc__ or "")
    assert run(shlex.split(example)) == 0
    out, err = capsys.readouterr()
    assert re.search(r"red star +│ +1 │ +21", out)
    assert out.endswith("wrote tracked.mp4\n")
    assert err.startswith("groundling/nano is used")
    assert len(err.splitlines()) == 1
    frames = list(open_source("tracked.mp4"))
    assert [frame.seconds for frame in frames] == pytest.approx([n / 25 for n in range(21)])
    assert sorted(path.name for path in folder.iterdir()) == ["clip.mp4", "tracked.mp4"]


def test_the_list_of_tracks(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["track", "clip.mp4", "--labels", "red star", "--every", "10", "--tracks", "tracks.jsonl"]) == 0
    assert capsys.readouterr().out.endswith("wrote tracks.jsonl\n")
    lines = [json.loads(line) for line in Path("tracks.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [line["frame"] for line in lines] == list(range(21))
    assert {item["track_id"] for line in lines for item in line["detections"]} == {1}
    assert [line["detections"][0]["predicted"] for line in lines[8:12]] == [True, True, False, True]
    assert not list(folder.glob("*.tracked.mp4"))  # only what was asked for


def test_a_dash_prints_lines_and_nothing_else(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["track", "clip.mp4", "--labels", "red star", "--every", "20", "--stop", "0.1", "--tracks", "-"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line)["frame"] for line in lines] == [0, 1, 2]
    assert sorted(path.name for path in folder.iterdir()) == ["clip.mp4"]


def test_a_folder_of_frames_and_a_vocabulary(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import PIL.Image

    Path("frames").mkdir()
    for number, image in enumerate(draw([STAR], [0.0, 0.1, 0.2])):
        PIL.Image.fromarray(image).save(f"frames/{number}.png")
    Path("words.txt").write_text("red star\ngreen moon\n", encoding="utf-8")
    assert run(["track", "frames", "--vocabulary", "words.txt", "--fps", "10", "--start", "0.1"]) == 0
    assert "wrote frames.tracked.mp4" in capsys.readouterr().out
    assert [frame.seconds for frame in open_source("frames.tracked.mp4")] == pytest.approx([0, 0.1])


def test_nothing_found_is_no_mistake(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["track", "clip.mp4", "--labels", "green moon", "--threshold", "0.99", "--every", "20"]
    assert run(command) == 0
    assert "nothing found" in capsys.readouterr().out
    assert len(list(open_source("clip.tracked.mp4"))) == 21


@pytest.mark.parametrize(
    ("command", "message"),
    [
        pytest.param("", "Missing argument 'SOURCE'", id="empty"),
        pytest.param("'' --labels a", "The name of the video is empty", id="empty path"),
        pytest.param("clip.mp4", "Nothing to find is named", id="no labels"),
        pytest.param("clip.mp4 --labels a --vocabulary words.txt", "both say what to find", id="labels twice"),
        pytest.param("gone.mp4 --labels a", "There is no video 'gone.mp4'", id="missing"),
        pytest.param("text.mp4 --labels a", "'text.mp4' is not a video that can be read", id="text"),
        pytest.param("empty --labels a", "The folder 'empty' has no pictures in it", id="empty folder"),
        pytest.param("7 --labels a", "There is no camera 7", id="camera"),
        pytest.param("http://127.0.0.1:9/a.mp4 --labels a", "cannot be opened (Connection refused)", id="address"),
        pytest.param("clip.mp4 --labels a --every 0", "--every", id="every"),
        pytest.param("clip.mp4 --labels a --fps 10", "fps=10 is for folders of frames", id="fps"),
        pytest.param("empty --labels a --fps 0", "fps must be 0.001 to 100000", id="fps 0"),
        pytest.param("clip.mp4 --labels a --start 2 --stop 1", "leave no frames", id="stop"),
        pytest.param("clip.mp4 --labels a --stop nan", "stop", id="stop NaN"),
        pytest.param("clip.mp4 --labels a --start 100", "No frame could be used", id="start"),
        pytest.param("clip.mp4 --labels a --out clip.mp4", "is the video itself, which would be lost", id="itself"),
        pytest.param("clip.mp4 --labels a --out found.gif", "does not end like a video", id="ending"),
        pytest.param("clip.mp4 --labels a --out empty", "--out 'empty' is a folder", id="folder"),
        pytest.param("clip.mp4 --labels a --out text.mp4/a.mp4", "is no folder that you may change", id="no folder"),
        pytest.param("clip.mp4 --labels a --tracks t.csv", "does not end like a list of tracks", id="tracks ending"),
        pytest.param("clip.mp4 --labels a --out a.mp4 --tracks a.mp4", "both name 'a.mp4'", id="one path"),
    ],
)
def test_mistakes_are_one_line(command: str, message: str, folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    Path("text.mp4").write_text("This is no video.\n" * 50)
    Path("words.txt").write_text("a\n")
    Path("empty").mkdir()
    before = (folder / "clip.mp4").read_bytes(), sorted(path.name for path in folder.iterdir())
    assert run(["track", *shlex.split(command)]) == 2
    out, err = capfd.readouterr()
    ours = [line for line in err.splitlines() if line.startswith("groundling: ")]
    assert out == ""
    assert len(ours) == 1
    assert message in ours[0]
    assert before == ((folder / "clip.mp4").read_bytes(), sorted(path.name for path in folder.iterdir()))


def test_an_interruption_ends_after_the_present_frame(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, tracks = tmp_path / "out.mp4", tmp_path / "out.jsonl"

    def frames() -> Iterator[TrackedFrame]:
        for number, image in enumerate(shades(5)):
            if number == 2:
                signal.raise_signal(signal.SIGINT)
            nothing = Detections(np.zeros((0, 4), np.float32), [], [], ("a",), (64, 48))
            yield TrackedFrame(number, number / 25, image, nothing, np.zeros(0, np.bool_))

    assert Following(out, tracks, fps=25).run(frames(), total=5)
    assert capsys.readouterr().err == f"groundling: stopped after 3 frames. {out} is kept. {tracks} is kept.\n"
    assert len(list(open_source(out))) == 3
    assert [json.loads(line)["frame"] for line in tracks.read_text(encoding="utf-8").splitlines()] == [0, 1, 2]


@pytest.mark.slow
def test_an_interruption_keeps_what_is_done(tmp_path: Path) -> None:
    write_clip(tmp_path / "long.mp4", shades(3000, 96, 96))
    command = [sys.executable, "-m", "groundling", "track", "long.mp4", "--labels", "red star", "--threshold", "0.9"]
    with subprocess.Popen(
        [*command, "--out", "out.mp4", "--tracks", "-"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    lines = [json.loads(line) for line in (first + out).splitlines()]
    assert f"groundling: stopped after {len(lines)} frames. out.mp4 is kept." in err
    assert 0 < len(lines) < 3000
    assert len(list(open_source(tmp_path / "out.mp4"))) == len(lines)


@pytest.mark.parametrize(
    ("count", "start", "stop", "expected"),
    [
        pytest.param(None, 0.0, None, None, id="nobody knows"),
        pytest.param(None, 0.0, 2.0, 20, id="until the stop"),
        pytest.param(100, 0.0, None, 100, id="all"),
        pytest.param(100, 3.0, None, 70, id="from the start"),
        pytest.param(100, 3.0, 5.0, 20, id="a part"),
        pytest.param(100, 30.0, 50.0, 0, id="behind the end"),
    ],
)
def test_the_progress_knows_how_much_is_left(
    count: int | None, start: float, stop: float | None, expected: int | None
) -> None:
    source = Pictures([], "nothing", 10)
    source.frame_count = count
    assert expected_count(source, start, stop) == expected
