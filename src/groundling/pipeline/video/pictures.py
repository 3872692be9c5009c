"""Single pictures in a row as a video: a folder of frames, or pictures that a program makes."""

import logging
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from groundling.errors import ImageError
from groundling.pictures.folders import PICTURE_ENDINGS, is_picture
from groundling.pipeline.pictures import Picture, read_picture
from groundling.pipeline.video.frames import USUAL_FPS, Frame, Source

logger = logging.getLogger(__name__)


class Pictures(Source):
    """Pictures at an even pace; those that cannot be read are skipped, and one warning at the end counts them.

    Args:
        pictures: in order, each of any form that `Detector` takes; read one at a time.
        name: what to call them.
        fps: pictures a second; None is USUAL_FPS.
    """

    def __init__(self, pictures: Iterable[Picture], name: str, fps: float | None) -> None:
        self.name = name
        self.fps = USUAL_FPS if fps is None else fps
        self.frame_count = len(pictures) if isinstance(pictures, list | tuple) else None
        self._pictures = pictures

    def __iter__(self) -> Iterator[Frame]:
        unusable, first = 0, ""
        for index, picture in enumerate(self._pictures):
            try:
                pixels = read_picture(picture).permute(1, 2, 0).contiguous().numpy()
            except ImageError as error:
                first = first or str(error)
                unusable += 1
                continue
            yield Frame(index, index / self.fps, pixels)
        if unusable:
            logger.warning("%s: %d pictures were skipped. The first: %s", self.name, unusable, first)

    def close(self) -> None:
        """Do nothing: every picture is closed when it has been read."""


def folder_pictures(folder: Path) -> list[Path]:
    """List the pictures of a folder in the order in which people number them: frame2 before frame10.

    Raises:
        ImageError: there is none.
    """
    found = [path for path in folder.iterdir() if is_picture(path.name) and path.is_file()]
    if not found:
        raise ImageError(
            f"The folder {os.fspath(folder)!r} has no pictures in it ({', '.join(sorted(PICTURE_ENDINGS))}). "
            "Give a video, or a folder of its frames."
        )
    return sorted(found, key=_natural)


def _natural(path: Path) -> tuple[list[tuple[bool, int, str]], str]:
    """Return a key that compares digits as numbers; the name itself tells 01 from 1."""
    parts = re.split(r"(\d+)", path.name.lower())
    return [(part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in parts if part], path.name
