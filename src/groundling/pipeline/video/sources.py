"""From what a user names to frames."""

import os
from collections.abc import Iterable
from pathlib import Path

from groundling.errors import ConfigError, ImageError, missing_extra
from groundling.pipeline.pictures import Picture
from groundling.pipeline.video.frames import Source
from groundling.pipeline.video.live import Camera, Newest
from groundling.pipeline.video.pictures import Pictures, folder_pictures

SCHEMES = ("http", "https", "rtmp", "rtmps", "rtp", "rtsp", "rtsps", "srt", "udp")

Footage = str | os.PathLike[str] | int | Source | Iterable[Picture]
"""Anything that can be tracked in: a video file, a folder of frames, a camera's number, an address, pictures."""


LOWEST_FPS, HIGHEST_FPS = 0.001, 100_000.0
"""From a picture in a quarter of an hour to what fits into the clocks of video files."""


def open_source(source: Footage, *, fps: float | None = None) -> Source:
    """Open what holds the frames; what is live is read in the background.

    Args:
        source: a video file; a folder of frames; the number of a camera, from 0; an address that begins with http://,
            https://, rtsp:// or another scheme of SCHEMES; pictures of any form that `Detector` takes, in order; or
            a source that is open already.
        fps: pictures a second of a folder or of pictures, which have no times themselves; None is 30.

    Raises:
        ImageError: there is no such thing, or it cannot be read.
        ConfigError: the fps is out of range, or the source has times of its own.
        MissingExtraError: a package that reads video is not installed.
    """
    if fps is not None and not LOWEST_FPS <= fps <= HIGHEST_FPS:
        raise ConfigError(f"fps must be {LOWEST_FPS:g} to {HIGHEST_FPS:g} frames a second, got {fps!r}.")
    if isinstance(source, Source):
        opened = source
    elif isinstance(source, bool | bytes):
        raise ImageError(f"A video cannot be of the type {type(source).__name__}. {_ALLOWED}")
    elif isinstance(source, int):
        opened = Newest(Camera(source))
    elif isinstance(source, str | os.PathLike):
        opened = _open_named(os.fspath(source), fps)
    elif isinstance(source, Iterable):
        opened = Pictures(source, "the pictures", fps)
    else:
        raise ImageError(f"A video cannot be of the type {type(source).__name__}. {_ALLOWED}")
    if fps is not None and not isinstance(opened, Pictures):
        opened.close()
        raise ConfigError(f"fps={fps:g} is for folders of frames; {opened.name} says itself when its frames are shown.")
    return opened


_ALLOWED = "Give a video file, a folder of frames, the number of a camera, or an address such as rtsp://..."


def _open_named(name: str, fps: float | None) -> Source:
    if not name.strip():
        raise ImageError(f"The name of the video is empty. {_ALLOWED}")
    if "://" in name:
        scheme = name.partition("://")[0].lower()
        if scheme not in SCHEMES:
            raise ImageError(f"{name!r} is no address that can be opened. Use one of {', '.join(SCHEMES)}.")
        return _open_video(name)
    path = Path(name).expanduser()
    try:
        if path.is_dir():
            return Pictures(folder_pictures(path), str(path), fps)
        if not path.exists():
            raise ImageError(f"There is no video {name!r}. Check the path.")
        if path.stat().st_size == 0 and path.is_file():
            raise ImageError(f"{name!r} is empty: the file has 0 bytes. Copy or record it again.")
    except (OSError, ValueError) as error:  # a name that is too long, or holds a zero byte
        raise ImageError(f"{name!r:.120} is not a path that can be read ({error!s:.120}).") from error
    return _open_video(str(path))


def _open_video(name: str) -> Source:
    try:
        from groundling.pipeline.video.decoding import Video
    except ImportError as error:
        raise missing_extra("av", "video", "Reading video") from error
    video = Video(name)
    return Newest(video) if video.is_live else video
