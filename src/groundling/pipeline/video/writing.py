"""Annotated video and lists of tracks as files, frame by frame, whole under their names or not there."""

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Self, TextIO

import numpy as np
from numpy.typing import NDArray

from groundling.errors import ImageError, missing_extra
from groundling.files import atomic_path
from groundling.pipeline.video.tracking import TrackedFrame

if TYPE_CHECKING:
    from av.container import OutputContainer
    from av.video.stream import VideoStream

VIDEO_ENDINGS = (".mp4", ".m4v", ".mov", ".mkv")
TRACK_ENDINGS = (".jsonl", ".txt")
STANDARD_OUTPUT = "-"


class Encoder(NamedTuple):
    """How video is compressed.

    Attributes:
        options: of the encoder.
        ticks: parts of a second in which frames' times are written; frames of usual rates are whole numbers of them
            apart.
        colors: how it divides colours into brightness and hue.
        colors_code: the number of that in FFmpeg's libraries.
    """

    options: dict[str, str]
    ticks: int
    colors: str
    colors_code: int


ENCODERS = {
    "libx264": Encoder({"crf": "20", "preset": "veryfast"}, 90_000, "ITU709", 1),
    # a quality of 3, of 1 to 31, in FFmpeg's unit of 1/118; MPEG-4 divides a second into 65,535 parts at most, and
    # does not say how it divides colours, of which most decoders guess this
    "mpeg4": Encoder({"flags": "+qscale", "global_quality": str(3 * 118)}, 60_000, "ITU601", 5),
}
"""Encoders that most players understand, the better first."""


class VideoWriter:
    """Writes pictures as a video without sound, at the times at which they are shown.

    The file appears under its name when the writer is closed, also after an error: what was written by then is whole.
    Without any picture there is none.

    Args:
        path: an ending of VIDEO_ENDINGS.
        fps: about how many frames a second.

    Raises:
        ImageError: the ending is not that of a video.
        MissingExtraError: PyAV is not installed.
    """

    def __init__(self, path: str | os.PathLike[str], fps: float) -> None:
        if Path(path).suffix.lower() not in VIDEO_ENDINGS:
            raise ImageError(f"{os.fspath(path)!r} does not end like a video. Use one of {', '.join(VIDEO_ENDINGS)}.")
        try:
            import av
        except ImportError as error:
            raise missing_extra("av", "video", "Writing video") from error
        self._name = next((name for name in ENCODERS if name in av.codecs_available), None)
        if self._name is None:
            raise ImageError("This PyAV has no encoder for H.264 or MPEG-4. Install one that has: pip install av")
        self._encoder = ENCODERS[self._name]
        self._path = Path(path)
        self._fps = Fraction(fps).limit_denominator(1001)
        self._stack = ExitStack()
        self._container: OutputContainer | None = None
        self._stream: VideoStream | None = None
        self._start = 0.0
        self._last = -1

    def write(self, image: NDArray[np.uint8], seconds: float) -> None:
        """Add a picture.

        Args:
            image: RGB, uint8 [H, W, 3]; pictures of another size than the first are resized to it.
            seconds: when it is shown, later than the one before; the first is shown at the beginning.

        Raises:
            ImageError: the encoder refuses the picture, or the file cannot be written.
        """
        from av.video.frame import VideoFrame

        if self._container is None or self._stream is None:
            with self._errors():
                self._container, self._stream = self._open(*image.shape[:2])
            self._start = seconds
        # H.264 halves the resolution of colours: a side of odd length gets its last line twice
        padded = np.pad(image, ((0, image.shape[0] % 2), (0, image.shape[1] % 2), (0, 0)), "edge")
        size = {"width": self._stream.width, "height": self._stream.height}
        frame = VideoFrame.from_ndarray(padded, format="rgb24")
        frame = frame.reformat(format="yuv420p", dst_colorspace=self._encoder.colors, **size)
        ticks = self._encoder.ticks
        self._last = max(self._last + 1, round((seconds - self._start) * ticks))
        frame.pts, frame.time_base = self._last, Fraction(1, ticks)
        with self._errors():
            self._container.mux(self._stream.encode(frame))

    def _open(self, height: int, width: int) -> "tuple[OutputContainer, VideoStream]":
        import av

        temporary = self._stack.enter_context(atomic_path(self._path))
        options = {} if self._path.suffix.lower() == ".mkv" else {"movflags": "+faststart"}
        container = self._stack.enter_context(av.open(str(temporary), "w", options=options))
        name: Any = self._name
        stream: VideoStream = container.add_stream(name, rate=self._fps, options=self._encoder.options)
        stream.width, stream.height, stream.pix_fmt = width + width % 2, height + height % 2, "yuv420p"
        stream.codec_context.time_base = Fraction(1, self._encoder.ticks)
        stream.codec_context.colorspace = self._encoder.colors_code  # or players guess by the size of the pictures
        return container, stream

    def close(self) -> None:
        """Finish the file.

        Raises:
            ImageError: the file cannot be written.
        """
        if self._container is None or self._stream is None:
            return
        container, stream = self._container, self._stream
        self._container = self._stream = None
        with self._errors(), self._stack:
            container.mux(stream.encode(None))

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Say in our words what FFmpeg's libraries refuse."""
        import av

        try:
            yield
        except av.FFmpegError as error:
            raise ImageError(
                f"The video {os.fspath(self._path)!r} cannot be written by {self._name} ({error.strerror}). Check that "
                "there is space for it, and make its pictures smaller where a side has more than 8,192 pixels."
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class TracksWriter:
    """Writes what was found, a line for each frame (.jsonl) or for each box (.txt, the format of MOTChallenge).

    Lines are written as they come. The file appears under its name when the writer is closed, also after an error.
    Without any frame there is none.

    Args:
        path: an ending of TRACK_ENDINGS, or "-" for JSON Lines on standard output.

    Raises:
        ImageError: the ending is another one.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)
        self._stack = ExitStack()
        self._file: TextIO | None = None
        self._lines: Callable[[TrackedFrame], str] = _json_line
        if os.fspath(path) == STANDARD_OUTPUT:
            self._file = sys.stdout
        elif self._path.suffix.lower() not in TRACK_ENDINGS:
            raise ImageError(
                f"{os.fspath(path)!r} does not end like a list of tracks. Use .jsonl, or .txt as in MOTChallenge."
            )
        elif self._path.suffix.lower() == ".txt":
            self._lines = _mot_lines

    def write(self, frame: TrackedFrame) -> None:
        """Add a frame."""
        if self._file is None:
            temporary = self._stack.enter_context(atomic_path(self._path))
            self._file = self._stack.enter_context(temporary.open("w", encoding="utf-8"))
        self._file.write(self._lines(frame))
        self._file.flush()

    def close(self) -> None:
        """Finish the file."""
        self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _json_line(frame: TrackedFrame) -> str:
    return json.dumps(frame.to_dict(), ensure_ascii=False) + "\n"


def _mot_lines(frame: TrackedFrame) -> str:
    """Return frame from 1, id, left, top, width, height, score, and -1 for the place in space, which is not known."""
    lines = []
    for item in frame.detections:
        left, top, right, bottom = item.box_xyxy
        sides = f"{left:.2f},{top:.2f},{right - left:.2f},{bottom - top:.2f}"
        lines.append(f"{frame.index + 1},{item.track_id},{sides},{item.score:.4f},-1,-1,-1\n")
    return "".join(lines)
