"""Frames from files, folders, cameras and addresses: which, when, and what is said about those that are missing."""

import functools
import http.server
import logging
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from groundling.errors import ConfigError, ImageError
from groundling.pipeline.video import Frame, Source, open_source
from groundling.pipeline.video import decoding as decoding_module
from groundling.pipeline.video.frames import Clock
from groundling.pipeline.video.live import Camera, Newest
from groundling.pipeline.video.numbering import Numbering
from pipeline.video.drawn_clips import shades, write_clip

UNEVEN = [2.5 + 0.04 * n + (0.5 if n >= 7 else 0.0) + (0.013 if n % 3 == 1 else 0.0) for n in range(20)]
"""Times of a recording with a variable frame rate that does not begin at 0."""


def grey(frame: Frame) -> float:
    return float(frame.image[-8:, -8:].mean())


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return write_clip(tmp_path / "clip.mp4", shades(20))


def test_frames_come_in_order_with_their_times(clip: Path) -> None:
    source = open_source(clip)
    assert (source.frame_count, source.fps, source.name) == (20, 25.0, str(clip))
    frames = list(source)
    assert [frame.index for frame in frames] == list(range(20))
    assert [frame.seconds for frame in frames] == pytest.approx([n / 25 for n in range(20)])
    assert all(frame.image.shape == (48, 64, 3) and frame.image.dtype == np.uint8 for frame in frames)
    assert [grey(frame) for frame in frames] == pytest.approx([6 * n for n in range(20)], abs=3)


@pytest.mark.parametrize("ending", [".mp4", ".mkv"])
def test_a_variable_frame_rate_keeps_its_times_and_begins_at_0(ending: str, tmp_path: Path) -> None:
    path = write_clip(tmp_path / f"uneven{ending}", shades(20), times=UNEVEN)
    seconds = [frame.seconds for frame in open_source(path)]
    assert seconds == pytest.approx([stamp - 2.5 for stamp in UNEVEN], abs=6e-4)  # .mkv counts milliseconds


@pytest.mark.parametrize("turn", [0, 90, 180, 270])
def test_a_turned_video_is_given_upright(turn: int, tmp_path: Path) -> None:
    (upright,) = shades(1)
    path = write_clip(tmp_path / "turned.mp4", [np.ascontiguousarray(np.rot90(upright, -turn // 90))], turn=turn)
    (frame,) = open_source(path)
    assert frame.image.shape == upright.shape
    assert np.abs(frame.image.astype(int) - upright).mean() < 3


def test_a_mirrored_video_is_given_as_it_is_shown(tmp_path: Path) -> None:
    (upright,) = shades(1)
    path = write_clip(tmp_path / "mirrored.mp4", [np.ascontiguousarray(upright[:, ::-1])])
    content = path.read_bytes()
    matrix = bytes.fromhex("00010000 00000000 00000000 00000000 00010000 00000000 00000000 00000000 40000000")
    mirror = bytes.fromhex("ffff0000 00000000 00000000 00000000 00010000 00000000 00400000 00000000 40000000")
    place = content.index(matrix, content.index(b"tkhd"))
    path.write_bytes(content[:place] + mirror + content[place + 36 :])
    (frame,) = open_source(path)
    assert np.abs(frame.image.astype(int) - upright).mean() < 3


def test_a_damaged_part_is_skipped_and_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    generator = np.random.default_rng(0)
    noise = [generator.integers(0, 256, (48, 64, 3), np.uint8) for _ in range(30)]
    path = write_clip(tmp_path / "clip.mp4", noise, movflags="faststart")
    content = bytearray(path.read_bytes())
    begin = content.index(b"mdat")
    for place in range(begin + len(content) // 3, begin + len(content) // 2, 400):
        content[place : place + 300] = b"\xff" * 300
    path.write_bytes(content)
    frames = list(open_source(path))
    assert 5 < len(frames) < 30
    assert [frame.index for frame in frames] == [round(frame.seconds * 25) for frame in frames]  # lost ones count
    assert frames[-1].index == 29
    (record,) = caplog.records
    assert f": {30 - len(frames)} frames could not be decoded and were skipped" in record.message


@pytest.mark.parametrize("is_damaged", [False, True])
def test_frames_are_numbered_by_their_packets(is_damaged: bool) -> None:
    """Packets come in the order of decoding, 0 3 1 2 ...; of 4 and 5 comes no frame."""
    numbering = Numbering()
    for stamp in (0, 3, 1, 2, 6, 4, 5):
        numbering.expect(Fraction(stamp))
    if is_damaged:
        numbering.fail()
    numbers = [numbering.number(Fraction(stamp)) for stamp in (0, 1, 2, 3, 6)]
    numbering.expect(Fraction(7))
    numbering.finish()
    if is_damaged:
        assert (numbers, numbering.count, numbering.lost) == ([0, 1, 2, 3, 6], 8, 3)
    else:  # packets without pictures, as some kinds of video have them
        assert (numbers, numbering.count, numbering.lost) == ([0, 1, 2, 3, 4], 5, 0)


def test_frames_are_numbered_without_time_stamps() -> None:
    numbering = Numbering()
    numbers = []
    for is_lost in (False, True, True, False):
        numbering.expect(None)
        if is_lost:
            numbering.fail()
        else:
            numbers.append(numbering.number(None))
    numbering.finish()
    assert (numbers, numbering.count, numbering.lost) == ([0, 3], 4, 2)


def test_two_fields_are_one_frame() -> None:
    numbering = Numbering()
    for stamp in (0, 0, 1, 1):
        numbering.expect(Fraction(stamp))
    numbering.fail()
    assert [numbering.number(Fraction(stamp)) for stamp in (0, 1)] == [0, 1]
    assert numbering.lost == 0


def test_times_go_on_where_two_recordings_are_joined(tmp_path: Path) -> None:
    first, second = (write_clip(tmp_path / f"{count}.ts", shades(count)) for count in (60, 10))
    joined = tmp_path / "joined.ts"
    joined.write_bytes(first.read_bytes() + second.read_bytes())
    frames = list(open_source(joined))
    assert [frame.index for frame in frames] == list(range(70))
    assert [frame.seconds for frame in frames] == pytest.approx([k / 25 for k in range(70)], abs=1e-3)


def test_a_file_that_was_cut_off_gives_what_it_holds(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    generator = np.random.default_rng(0)
    noise = [generator.integers(0, 256, (48, 64, 3), np.uint8) for _ in range(30)]
    path = write_clip(tmp_path / "clip.mp4", noise, movflags="faststart")
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    frames = list(open_source(path))
    assert 10 < len(frames) < 20
    assert any("is cut off: it should have 30 frames and ends after" in record.message for record in caplog.records)


def test_a_whole_file_gives_no_warning(clip: Path, caplog: pytest.LogCaptureFixture) -> None:
    list(open_source(clip))
    assert not caplog.records


def test_a_folder_is_read_as_people_number_frames(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for number, image in zip((1, 2, 10), shades(3), strict=True):
        PIL.Image.fromarray(image).save(tmp_path / f"frame{number}.png")
    (tmp_path / "frame3.png").write_text("no picture")
    (tmp_path / "notes.txt").write_text("no frame")
    source = open_source(tmp_path, fps=10)
    assert source.frame_count == 4
    frames = list(source)
    assert [grey(frame) for frame in frames] == [0, 6, 12]
    assert [(frame.index, frame.seconds) for frame in frames] == [(0, 0.0), (1, 0.1), (3, pytest.approx(0.3))]
    (record,) = caplog.records
    assert "1 pictures were skipped" in record.message
    assert "frame3.png" in record.message


def test_pictures_of_a_program_are_a_video_too() -> None:
    frames = list(open_source(iter(shades(3))))
    assert [frame.seconds for frame in frames] == pytest.approx([0, 1 / 30, 2 / 30])
    assert np.array_equal(frames[1].image, shades(3)[1])


@pytest.mark.parametrize(
    ("stamps", "seconds"),
    [
        pytest.param([], [], id="empty"),
        pytest.param([None, None, None], [0, 0.5, 1], id="no stamps"),
        pytest.param([None, 7, 8], [0, 0.5, 1.5], id="the first without"),
        pytest.param([3, 3, 4], [0, 0.001, 1], id="twice the same"),
        pytest.param([3, 2, 5], [0, 0.001, 2], id="backwards"),
        pytest.param([7, 9, 0, 1, 2], [0, 2, 2.5, 3.5, 4.5], id="from the beginning again"),
    ],
)
def test_times_only_grow(stamps: list[Any], seconds: list[float]) -> None:
    clock = Clock(fps=2)
    assert [clock.seconds(stamp) for stamp in stamps] == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        pytest.param("", "name of the video is empty", id="empty"),
        pytest.param("gone.mp4", r"There is no video 'gone.mp4'\. Check the path", id="missing"),
        pytest.param("nothing.mp4", "is empty: the file has 0 bytes", id="no bytes"),
        pytest.param("text.mp4", "text.mp4' is not a video that can be read", id="text"),
        pytest.param("cut.mp4", "is not a video that can be read .*cut off", id="without its end"),
        pytest.param("sound.wav", "has no pictures in it", id="sound"),
        pytest.param("folder", r"The folder 'folder' has no pictures in it \(.bmp", id="empty folder"),
        pytest.param("ftp://a/b.mp4", "is no address that can be opened. Use one of http, https", id="scheme"),
        pytest.param("a\0b", "is not a path that can be read|There is no video", id="zero byte"),
        pytest.param(True, "cannot be of the type bool", id="bool"),
        pytest.param(None, "cannot be of the type NoneType", id="None"),
        pytest.param(b"abc", "cannot be of the type bytes", id="bytes"),
    ],
)
def test_what_is_no_video_is_refused(
    source: Any, message: str, tmp_path: Path, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("text.mp4").write_text("This is no video.\n" * 50)
    Path("nothing.mp4").touch()
    Path("cut.mp4").write_bytes(clip.read_bytes()[:900])
    Path("sound.wav").write_bytes(
        b"RIFF\x2c\0\0\0WAVEfmt \x10\0\0\0\1\0\1\0\x40\x1f\0\0\x40\x1f\0\0\1\0\x08\0data\x08\0\0\0" + b"\x80" * 8
    )
    Path("folder").mkdir()
    with pytest.raises(ImageError, match=message):
        open_source(source)


@pytest.mark.parametrize("fps", [0, -1, float("nan"), float("inf")])
def test_a_frame_rate_must_be_one(fps: float, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"fps must be 0\.001 to 100000"):
        open_source(tmp_path, fps=fps)


def test_a_video_has_its_own_times(clip: Path) -> None:
    with pytest.raises(ConfigError, match=r"fps=30 is for folders of frames"):
        open_source(clip, fps=30)


# Addresses


@pytest.fixture
def served(clip: Path) -> Iterator[str]:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

    handler = functools.partial(Quiet, directory=clip.parent)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_file_on_a_server_is_read_whole(served: str) -> None:
    source = open_source(f"{served}/clip.mp4")
    assert source.frame_count == 20
    assert [grey(frame) for frame in source] == pytest.approx([6 * n for n in range(20)], abs=3)
    source.close()


def test_an_address_without_a_video_is_refused(served: str) -> None:
    with pytest.raises(ImageError, match=r"gone.mp4' cannot be opened .*Not Found.*Check the address"):
        open_source(f"{served}/gone.mp4")


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.mark.parametrize("scheme", ["http", "rtsp"])
def test_a_server_that_is_not_there_is_said_at_once(scheme: str) -> None:
    begin = time.monotonic()
    with pytest.raises(ImageError, match=r"cannot be opened .*refused"):
        open_source(f"{scheme}://127.0.0.1:{free_port()}/live")
    assert time.monotonic() - begin < 5


def test_a_server_that_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding_module, "OPEN_SECONDS", 0.5)
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        pytest.raises(ImageError, match=r"cannot be opened .*answers within 0\.5 seconds"),
    ):
        open_source(f"http://127.0.0.1:{silent.getsockname()[1]}/clip.mp4")


def test_a_server_that_falls_silent_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(decoding_module, "READ_SECONDS", 0.5)
    generator = np.random.default_rng(0)
    noise = [generator.integers(0, 256, (48, 64, 3), np.uint8) for _ in range(60)]
    content = write_clip(tmp_path / "clip.mp4", noise, movflags="faststart").read_bytes()
    is_over = threading.Event()

    class Silent(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2])
            is_over.wait(30)

        def log_message(self, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Silent) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        source = open_source(f"http://127.0.0.1:{server.server_port}/clip.mp4")
        count = len(list(source))
        source.close()
        is_over.set()
        server.shutdown()
    assert 0 < count < 60
    assert "ended early" in caplog.text


PUSH = """
import sys, time
from fractions import Fraction
import av, numpy as np
for attempt in range(40):
    time.sleep(0.25)
    try:
        with av.open(sys.argv[1], "w", format="rtsp", options={"rtsp_transport": "tcp"}) as container:
            stream = container.add_stream("libx264", rate=25, options={"tune": "zerolatency", "g": "5"})
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            for number in range(50):
                frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 4 * number, np.uint8), format="rgb24")
                frame.pts, frame.time_base = number, Fraction(1, 25)
                container.mux(stream.encode(frame))
                time.sleep(0.02)
        break
    except OSError:
        continue
"""


def test_a_stream_is_read_live(monkeypatch: pytest.MonkeyPatch) -> None:
    # FFmpeg has no server for players, but its reader can wait for one that sends; from then on it is a usual stream
    options = {"rtsp_transport": "tcp", "rtsp_flags": "listen", "listen_timeout": "10"}
    monkeypatch.setattr(decoding_module, "RTSP_OPTIONS", options)
    address = f"rtsp://127.0.0.1:{free_port()}/live"
    with subprocess.Popen([sys.executable, "-c", PUSH, address]) as sender:
        source = open_source(address)
        assert isinstance(source, Newest)
        assert source.frame_count is None
        frames = list(source)
        source.close()
        sender.wait(10)
    assert len(frames) > 5
    assert [frame.index for frame in frames] == sorted({frame.index for frame in frames})
    assert [frame.seconds for frame in frames] == sorted({frame.seconds for frame in frames})
    assert grey(frames[-1]) > grey(frames[0])


# Cameras


class Device:
    """What `cv2.VideoCapture` does, with `count` frames."""

    def __init__(self, count: int, *, rate: float = 30.0) -> None:
        self.left, self.rate, self.is_released = count, rate, False

    def isOpened(self) -> bool:  # noqa: N802  (its name)
        return self.left > 0

    def get(self, key: int) -> float:
        return self.rate

    def read(self) -> tuple[bool, Any]:
        self.left -= 1
        return (True, np.full((4, 6, 3), (1, 2, 3), np.uint8)) if self.left >= 0 else (False, None)

    def release(self) -> None:
        self.is_released = True


def test_a_camera_gives_rgb_and_growing_times() -> None:
    device = Device(3, rate=0)
    camera = Camera(0, lambda index: device)
    assert (camera.fps, camera.frame_count, camera.name) == (30.0, None, "camera 0")
    frames = list(camera)
    assert [frame.index for frame in frames] == [0, 1, 2]
    assert frames[0].image[0, 0].tolist() == [3, 2, 1]
    assert frames[0].seconds == 0 < frames[1].seconds < frames[2].seconds
    camera.close()
    assert device.is_released


def test_a_camera_that_is_not_there_is_said() -> None:
    with pytest.raises(ImageError, match=r"There is no camera 7, .*The first camera is 0"):
        Camera(7, lambda index: Device(0))


def test_opencv_finds_no_camera_7_and_is_quiet_about_it(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ImageError, match="There is no camera 7"):
        open_source(7)
    assert capfd.readouterr().err == ""


def test_a_camera_that_is_unplugged_is_said(caplog: pytest.LogCaptureFixture) -> None:
    assert len(list(Newest(Camera(3, lambda index: Device(1))))) == 1
    (record,) = caplog.records
    assert record.getMessage() == "camera 3 gives no more pictures after 1; is it still plugged in?"


def test_a_camera_that_is_closed_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    device = Device(2)
    camera = Camera(0, lambda index: device)
    frames = iter(camera)
    next(frames)
    camera.close()
    device.left = 0
    assert list(frames) == []
    assert not caplog.records


class Stepped(Source):
    """A live source whose frames come when the test says so."""

    name, fps = "stepped", 25.0

    def __init__(self) -> None:
        self.allowed = threading.Semaphore(0)
        self.is_waiting = threading.Semaphore(0)
        self.is_closed = False
        self.given = 0
        self.has_more = True

    def __iter__(self) -> Iterator[Frame]:
        while True:
            self.is_waiting.release()  # what was given before has been taken
            assert self.allowed.acquire(timeout=30)
            if not self.has_more:
                return
            self.given += 1
            yield Frame(self.given - 1, self.given / 25, np.zeros((2, 2, 3), np.uint8))

    def send(self, count: int) -> None:
        for _ in range(count):
            assert self.is_waiting.acquire(timeout=30)
            self.allowed.release()

    def end(self) -> None:
        self.has_more = False
        self.send(1)

    def close(self) -> None:
        self.is_closed = True


def test_a_slow_reader_of_a_live_source_gets_the_newest_frames() -> None:
    source = Stepped()
    frames = iter(Newest(source))
    threading.Thread(target=source.send, args=(1,)).start()
    indices = [next(frames).index]
    for count in (1, 5, 3):
        source.send(count)
        assert source.is_waiting.acquire(timeout=30)  # all of them have been taken
        source.is_waiting.release()
        indices.append(next(frames).index)
    source.end()
    assert list(frames) == []
    assert indices == [0, 1, 6, 9]
    assert source.is_closed


def test_leaving_a_live_source_stops_its_reading() -> None:
    source = Stepped()
    newest = Newest(source)
    frames = iter(newest)
    threading.Thread(target=source.send, args=(1,)).start()
    next(frames)
    closing = threading.Thread(target=newest.close)
    closing.start()
    source.send(1)  # the frame during which it notices
    closing.join(30)
    assert source.is_closed
    assert source.given == 2


def test_an_error_of_a_live_source_is_raised_where_the_frames_are_asked_for() -> None:
    class Broken(Source):
        name, fps = "broken", 1.0

        def __iter__(self) -> Iterator[Frame]:
            yield Frame(0, 0.0, np.zeros((2, 2, 3), np.uint8))
            raise RuntimeError("the device caught fire")

        def close(self) -> None:
            pass

    with pytest.raises(RuntimeError, match="caught fire"):
        list(Newest(Broken()))


def test_importing_costs_nothing() -> None:
    code = (
        "import sys, groundling.pipeline.video, groundling.pipeline.video.writing\n"
        "assert not {'av', 'trackers', 'supervision', 'cv2'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
