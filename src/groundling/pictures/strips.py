"""Pictures that are too large to be held whole: read from top to bottom, a band of rows at a time.

libvips decodes them; what the decoded bands mean is decided by the same function as for every other picture.
"""

import math
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from groundling.errors import ImageError, missing_extra
from groundling.pictures.reading import picture_name, rgb_picture

if TYPE_CHECKING:
    import pyvips

WHOLE_PIXELS = 40_000_000
"""Files of at most so many pixels are read whole, as by every other command: about 300 MB while Pillow decodes them."""

_ROWS = 128
_UPRIGHT = 1
_SIDEWAYS = (5, 6, 7, 8)
_MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
_KNOWN = ("b-w", "srgb", "rgb16", "grey16", "cmyk")

Window = tuple[int, int, int, int]
"""Left, top, right, bottom in whole pixels."""


class Strips(Protocol):
    """A picture as it is stored, which may be lying; `upright` and `upright_window` turn its parts.

    Attributes:
        stored_wh: width and height as stored.
        orientation: as in EXIF, 1 to 8; 1 is upright.
        shrink: how many pixels of the picture one pixel of its small copy spans in each direction.
    """

    stored_wh: tuple[int, int]
    orientation: int
    shrink: int

    def band(self, top: int, bottom: int) -> NDArray[np.uint8]:
        """Return rows as RGB [bottom - top, W, 3], good until the next call; `top` and `bottom` never go back."""

    def small(self) -> NDArray[np.uint8]:
        """Return a small upright copy of the whole, RGB [H, W, 3]. It comes last: no band can be read after it."""


class ArrayStrips:
    """A picture in memory, RGB [H, W, 3], read in the same way; its small copy is the picture itself."""

    def __init__(self, pixel_HWC: NDArray[np.uint8]) -> None:
        self._pixel_HWC = pixel_HWC
        self.stored_wh = (pixel_HWC.shape[1], pixel_HWC.shape[0])
        self.orientation = _UPRIGHT
        self.shrink = 1

    def band(self, top: int, bottom: int) -> NDArray[np.uint8]:
        """Return rows; see `Strips`."""
        return self._pixel_HWC[top:bottom]

    def small(self) -> NDArray[np.uint8]:
        """Return the picture itself; see `Strips`."""
        return self._pixel_HWC


class FileStrips:
    """A file that is decoded once, from top to bottom, as far as its bands are asked for.

    Args:
        image: what pyvips opened for sequential access.
        name: how messages call it.
    """

    def __init__(self, image: "pyvips.Image", name: str) -> None:
        import pyvips

        self._image, self._name = image, name
        self._region = pyvips.Region.new(image)
        self.stored_wh = (int(image.width), int(image.height))
        tag = image.get("orientation") if "orientation" in image.get_fields() else _UPRIGHT
        self.orientation = tag if tag in range(_UPRIGHT, 9) else _UPRIGHT
        self.shrink = 1
        self._small: NDArray[np.uint8] | None = None
        self._top = self._read = 0  # the buffer holds the rows from the one to the other
        self._buffer = np.empty((0, self.stored_wh[0], 3), np.uint8)

    def prepare_small(self, shrink: int) -> None:
        """Make a copy while the bands are read, each pixel the mean of `shrink` times as many in both directions.

        What is left over at the right and at the bottom, less than a pixel of the copy, is not in it.
        """
        width, height = self.stored_wh
        self.shrink = shrink
        self._small = np.empty((height // shrink, width // shrink, 3), np.uint8)

    def band(self, top: int, bottom: int) -> NDArray[np.uint8]:
        """Return rows; see `Strips`.

        Raises:
            ImageError: the file is damaged or cut off in these rows.
        """
        width, height = self.stored_wh
        step = -(-_ROWS // self.shrink) * self.shrink
        kept = self._buffer[top - self._top : self._read - self._top]
        if len(self._buffer) < bottom - top + step:
            self._buffer = np.empty((bottom - top + step, width, 3), np.uint8)
        self._buffer[: len(kept)] = kept
        self._top = top
        while self._read < bottom:
            rows = min(step, height - self._read)
            pixels = self._decoded(self._read, rows)
            self._add_to_small(pixels, self._read)
            wanted = pixels[max(top - self._read, 0) :]
            start = max(self._read - top, 0)
            self._buffer[start : start + len(wanted)] = wanted
            self._read += rows
        return self._buffer[: bottom - top]

    def small(self) -> NDArray[np.uint8]:
        """Read what is left of the file and return the copy that `prepare_small` ordered; see `Strips`.

        Raises:
            ImageError: the file is damaged or cut off.
            ValueError: `prepare_small` was not called.
        """
        if self._small is None:
            raise ValueError("prepare_small was not called before the bands were read.")
        height = self.stored_wh[1]
        while self._read < height:
            row = min(self._read + _ROWS, height)
            self.band(row - 1, row)
        return np.ascontiguousarray(upright(self._small, self.orientation))

    def _decoded(self, top: int, rows: int) -> NDArray[np.uint8]:
        import pyvips

        width, height = self.stored_wh
        image = self._image
        try:
            content = self._region.fetch(0, top, width, rows)
        except pyvips.Error as error:
            raise ImageError(
                f"{self._name} cannot be read beyond row {top} of {height} ({_reason(error)}). "
                "It is damaged or cut off; get it again."
            ) from error
        values = np.frombuffer(content, np.uint8 if image.format == "uchar" else np.uint16)
        return _rgb(values.reshape(rows, width, image.bands), image.interpretation, self._name)

    def _add_to_small(self, pixels: NDArray[np.uint8], top: int) -> None:
        if self._small is None:
            return
        import cv2

        rows, columns = len(pixels) // self.shrink, self._small.shape[1]
        if rows and columns:
            part = pixels[: rows * self.shrink, : columns * self.shrink]
            first = top // self.shrink
            self._small[first : first + rows] = cv2.resize(part, (columns, rows), interpolation=cv2.INTER_AREA)


def open_strips(path: Path) -> FileStrips | None:
    """Open a large file for reading in strips; None where it is to be read whole, or is no picture that Pillow knows.

    Raises:
        ImageError: it is too large to be read whole, and cannot be read in strips.
        MissingExtraError: it is too large to be read whole, and pyvips is not installed.
    """
    pixels = _pixel_count(path)
    if pixels is None or pixels <= WHOLE_PIXELS:
        return None
    is_too_large = _is_too_large(pixels)
    name = picture_name(path)
    try:
        import pyvips
    except (ImportError, OSError) as error:  # the package, or the library that it binds
        if is_too_large:
            raise missing_extra("pyvips", "tiles", f"Reading {name}, which is too large to be held whole,") from error
        return None
    try:
        source = pyvips.Source.new_from_file(os.fspath(path))
        image = pyvips.Image.new_from_source(source, "", access="sequential", fail_on="error")
        problem = _unknown(image)
    except pyvips.Error as error:
        problem = _reason(error)
    if not problem:
        return FileStrips(image, name)
    if is_too_large:
        raise ImageError(
            f"{name} is too large to be held whole and cannot be read in strips ({problem}). "
            "Convert it to a TIFF, PNG or JPEG file with 8 bits a channel."
        )
    return None


class SmallCopy(NamedTuple):
    """An upright RGB copy of a picture, and the upright width and height of the picture itself."""

    picture: Image.Image
    image_wh: tuple[int, int]


def read_small(path: Path, most_pixels: int) -> SmallCopy | None:
    """Read a file in strips that is too large to be held whole, and return a small copy; None where it is not.

    Args:
        path: the file.
        most_pixels: most pixels of the copy.

    Raises:
        ImageError: see `open_strips`; or the file is damaged or cut off.
        MissingExtraError: see `open_strips`.
    """
    pixels = _pixel_count(path)
    if pixels is None or not _is_too_large(pixels):
        return None
    strips = open_strips(path)
    if strips is None:
        return None
    width, height = strips.stored_wh
    strips.prepare_small(max(1, math.ceil(math.sqrt(width * height / most_pixels))))
    return SmallCopy(Image.fromarray(strips.small()), upright_wh(strips.stored_wh, strips.orientation))


def upright(pixel_HWC: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Return a view of stored pixels [H, W, 3] as they are meant to be seen."""
    if orientation in _SIDEWAYS:
        pixel_HWC = pixel_HWC.swapaxes(0, 1)
    down = -1 if orientation in (3, 4, 7, 8) else 1
    right = -1 if orientation in (2, 3, 6, 7) else 1
    return pixel_HWC[::down, ::right]


def upright_wh(stored_wh: tuple[int, int], orientation: int) -> tuple[int, int]:
    """Return the width and height of the upright picture."""
    width, height = stored_wh
    return (height, width) if orientation in _SIDEWAYS else (width, height)


def upright_window(window: Window, stored_wh: tuple[int, int], orientation: int) -> Window:
    """Return where a part of the stored picture is in the upright one."""
    left, top, right, bottom = window
    if orientation in _SIDEWAYS:
        left, top, right, bottom = top, left, bottom, right
    width, height = upright_wh(stored_wh, orientation)
    if orientation in (2, 3, 6, 7):
        left, right = width - right, width - left
    if orientation in (3, 4, 7, 8):
        top, bottom = height - bottom, height - top
    return left, top, right, bottom


def _pixel_count(path: Path) -> int | None:
    """Return how many pixels a file says that it has, more than Pillow allows where it refuses, None if unreadable."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        try:
            with Image.open(path) as image:
                return image.width * image.height
        except Image.DecompressionBombError:
            return 2 * (Image.MAX_IMAGE_PIXELS or WHOLE_PIXELS) + 1
        except Exception:  # Pillow's readers raise many kinds; reading the file whole says what is wrong
            return None


def _is_too_large(pixels: int) -> bool:
    """Say whether Pillow warns of a picture of that size, or refuses it."""
    return Image.MAX_IMAGE_PIXELS is not None and pixels > Image.MAX_IMAGE_PIXELS


def _unknown(image: "pyvips.Image") -> str:
    """Say what about an opened picture has no meaning here; nothing if all of it has."""
    if image.format not in ("uchar", "ushort"):
        return f"it holds values of the type {image.format}"
    if image.interpretation not in _KNOWN or image.bands not in _MODES:
        return f"it has {image.bands} channels of the kind {image.interpretation}"
    return ""


def _rgb(values: np.ndarray, interpretation: str, name: str) -> NDArray[np.uint8]:
    """Give decoded channels [H, W, C] the meaning that `rgb_picture` gives them."""
    channels = values.shape[2]
    if values.dtype == np.uint16 and channels > 1:
        values = (values >> 8).astype(np.uint8)  # what Pillow does to all but grey ones
    if channels == 3:
        return values
    mode = "CMYK" if interpretation == "cmyk" else "I;16" if values.dtype == np.uint16 else _MODES[channels]
    height, width = values.shape[:2]
    picture = Image.frombytes(mode, (width, height), values.tobytes())
    return np.asarray(rgb_picture(picture, name, warn=False))


def _reason(error: "pyvips.Error") -> str:
    lines = [line.strip() for line in str(error.detail).splitlines() if line.strip()]
    return lines[-1] if lines else str(error.message)
