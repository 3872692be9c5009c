"""Video files and addresses, decoded by FFmpeg's libraries."""

import logging
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, NamedTuple

import av  # this module is imported only where a video is opened
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from groundling.errors import ImageError
from groundling.pipeline.video.frames import USUAL_FPS, Clock, Frame, Source
from groundling.pipeline.video.numbering import Numbering

logger = logging.getLogger(__name__)

LIVE_SCHEMES = ("rtmp", "rtmps", "rtp", "rtsp", "rtsps", "srt", "udp")
OPEN_SECONDS, READ_SECONDS = 10.0, 10.0
"""How long a server may take to answer, and to send the next frame."""

RTSP_OPTIONS = {"rtsp_transport": "tcp"}
"""Over UDP, which is FFmpeg's choice, lost packets become broken pictures."""


class Display(NamedTuple):
    """How the pixels of a stream are to be shown.

    Attributes:
        is_turned: rows become columns, before anything else.
        to_left: columns run from right to left.
        to_top: rows run from bottom to top.
    """

    is_turned: bool
    to_left: bool
    to_top: bool


class Video(Source):
    """Decodes a file or an address.

    What cannot be decoded is skipped and counted, and one warning at the end says how much it was. A file that was cut
    off gives what it holds.

    Args:
        name: path, or address with its scheme.

    Attributes:
        is_live: nobody waits for us: it is a stream, or something at an address that does not know how long it is.

    Raises:
        ImageError: it cannot be opened or is no video.
    """

    def __init__(self, name: str) -> None:
        scheme = name.partition("://")[0].lower() if "://" in name else ""
        options = RTSP_OPTIONS if scheme.startswith("rtsp") else {}
        timeout = (OPEN_SECONDS, READ_SECONDS) if scheme else None
        try:
            self._container: InputContainer = av.open(name, options=options, timeout=timeout)
        except (av.FFmpegError, OSError, ValueError) as error:
            raise ImageError(_why_closed(name, scheme, error)) from error
        if not self._container.streams.video:
            self._container.close()
            raise ImageError(f"{name!r} has no pictures in it, only sound or text. Give a video.")
        self._stream: VideoStream = self._container.streams.video[0]
        self.name = name
        self.is_live = scheme in LIVE_SCHEMES or (scheme != "" and self._container.duration is None)
        if not self.is_live:
            self._stream.thread_type = "AUTO"  # several frames at a time, which would delay a live picture
        self.fps = float(self._stream.average_rate or self._stream.guessed_rate or USUAL_FPS)
        self.frame_count = None if self.is_live else self._count()

    def _count(self) -> int | None:
        if self._stream.frames:
            return self._stream.frames
        if self._stream.duration is not None and self._stream.time_base is not None:
            return round(float(self._stream.duration * self._stream.time_base) * self.fps)
        duration = self._container.duration  # microseconds
        return None if duration is None else round(duration / 1e6 * self.fps)

    def __iter__(self) -> Iterator[Frame]:
        clock, numbering, end = Clock(self.fps), Numbering(), 0.0
        display: Display | None = None
        for packet in self._packets():
            if not packet.is_discard:  # a part of the file that is not to be shown
                numbering.expect(_stamp(packet))
            for picture in self._decode(packet, numbering):
                # Asked once: the answer and its frame keep each other in memory until Python looks for such rings.
                display = _display(picture) if display is None else display
                index, seconds = numbering.number(_stamp(picture)), clock.seconds(_stamp(picture))
                if picture.is_corrupt:
                    numbering.lost += 1
                else:
                    yield Frame(index, seconds, _upright(picture, display))
                end = seconds + 1 / self.fps
        numbering.finish()
        self._say_what_was_lost(numbering, end)

    def _packets(self) -> "Iterator[Packet[VideoStream]]":
        """Yield what the file holds, up to where it breaks off."""
        try:
            yield from self._container.demux(self._stream)
        except (av.FFmpegError, OSError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            logger.warning("%s ended early: %s. The frames up to there were used.", self.name, reason)

    def _decode(self, packet: "Packet[VideoStream]", numbering: Numbering) -> list[VideoFrame]:
        try:
            return packet.decode()
        except (av.FFmpegError, OSError):
            numbering.fail()
            return []

    def _say_what_was_lost(self, numbering: Numbering, end: float) -> None:
        if numbering.lost:
            logger.warning("%s: %d frames could not be decoded and were skipped.", self.name, numbering.lost)
        if numbering.count == 0:
            logger.warning("%s holds no frames.", self.name)
        stream = self._stream
        if self.is_live or stream.duration is None or stream.time_base is None:
            return
        # Both must fall short: where only a part of a file is to be shown, its length is that of the part.
        if numbering.count < stream.frames and end < float(stream.duration * stream.time_base) - 1 / self.fps:
            logger.warning(
                "%s is cut off: it should have %d frames and ends after %d.", self.name, stream.frames, numbering.count
            )

    def close(self) -> None:
        """Close the file or the connection."""
        self._container.close()


def _stamp(part: "Packet[VideoStream] | VideoFrame") -> Fraction | None:
    if part.pts is None or part.time_base is None:
        return None
    return part.pts * part.time_base


def _display(picture: VideoFrame) -> Display:
    """Read how a picture is to be shown: telephones write every video as the sensor lies."""
    matrix: Any = picture.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return Display(is_turned=False, to_left=False, to_top=False)
    # a pixel (x, y) is shown at (a x + c y, b x + d y), up to a shift
    a, b, _, c, d = np.frombuffer(bytes(matrix), np.int32, count=5).tolist()
    is_turned = abs(b) > abs(a)
    across, down = (c, b) if is_turned else (a, d)
    return Display(is_turned=is_turned, to_left=across < 0, to_top=down < 0)


def _upright(picture: VideoFrame, display: Display) -> NDArray[np.uint8]:
    """Convert to RGB [H, W, 3] as it is to be shown."""
    image: NDArray[Any] = picture.to_ndarray(format="rgb24")
    if display.is_turned:
        image = image.transpose(1, 0, 2)
    return np.ascontiguousarray(image[:: -1 if display.to_top else 1, :: -1 if display.to_left else 1])


def _why_closed(name: str, scheme: str, error: Exception) -> str:
    reason = getattr(error, "strerror", None) or str(error)
    if scheme:
        return (
            f"{name!r} cannot be opened ({reason}). Check the address, and that its server answers "
            f"within {OPEN_SECONDS:g} seconds."
        )
    return f"{name!r} is not a video that can be read ({reason}). It may be cut off, or of another kind than it says."
