"""Opening pictures from paths, URLs and encoded bytes, and turning any of Pillow's modes into 8-bit RGB."""

import base64
import binascii
import io
import struct
import warnings
from pathlib import Path
from urllib.error import URLError
from urllib.request import Request, urlopen

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from groundling.errors import ImageError

DOWNLOAD_SECONDS = 30
_ORIENTATION_TAG = 0x0112
_UPRIGHT = 1
SIXTEEN_BIT_STEP = 257  # 65535 / 255: the high byte, correctly rounded
STRIP_BYTES = 1 << 20


def open_picture(source: str | Path | bytes) -> Image.Image:
    """Open a picture as upright 8-bit RGB.

    Args:
        source: a path, an http(s) URL, a data URI, base64 text or the bytes of a picture file.

    Raises:
        ImageError: there is no such picture, or it is broken; the message names it.
    """
    name = picture_name(source)
    if isinstance(source, bytes):
        content: io.BytesIO | Path = io.BytesIO(source)
    elif isinstance(source, Path):
        content = source
    elif source.startswith(("http://", "https://")):
        content = io.BytesIO(_download(source))
    else:
        content = _file_or_base64(source, name)
    _check_file(content, name)
    try:
        with Image.open(content) as image:
            if image.format == "EPS":
                raise ImageError(f"{name} is PostScript, a program that would be run. Convert it to PNG or JPEG.")
            return rgb_picture(image, name, warn=False)
    except ImageError:
        raise
    except Image.DecompressionBombError as error:
        raise ImageError(
            f"{name} is too large to be held whole ({error}). "
            "Search its file in tiles: --tile 800, or tiles=Tiles(800) with the path."
        ) from error
    except Exception as error:  # Pillow's readers raise many kinds for a damaged file
        raise ImageError(
            f"{name} is not a readable picture ({type(error).__name__}: {error}). "
            "Give a JPEG, PNG, WebP, TIFF, BMP or GIF file, complete and undamaged."
        ) from error


def _check_file(content: io.BytesIO | Path, name: str) -> None:
    if isinstance(content, Path) and not content.is_file():
        raise ImageError(f"There is no picture file {name}. Check the path.")
    if isinstance(content, Path) and content.stat().st_size == 0:
        raise ImageError(f"{name} is empty: the file has 0 bytes. Copy or download it again.")


def rgb_picture(image: Image.Image, name: str, *, warn: bool = True) -> Image.Image:
    """Turn a picture of any mode into upright 8-bit RGB.

    Transparent pictures are laid on white. Sixteen-bit grey is divided by 257. Modes "I" and "F" carry no range: values
    up to 255 are taken as they are, larger ones as sixteen bit; a picture of mode "F" within 0..1 is stretched to 255.

    Args:
        image: the picture; it is not changed.
        name: how messages call it.
        warn: say so when the picture had to be turned upright.

    Raises:
        ImageError: it has no pixels, or its data is broken.
    """
    if image.width < 1 or image.height < 1:
        raise ImageError(f"{name} has no pixels: its size is {image.width}x{image.height}.")
    try:
        image.load()
        image = _upright(image, name, warn=warn)
        if image.mode == "RGB" and not image.has_transparency_data:
            return image
        if image.mode[0] in "IF":
            return Image.fromarray(_grey_8_bit(np.asarray(image), image.mode, name)).convert("RGB")
        if image.has_transparency_data:
            white = Image.new("RGBA", image.size, (255, 255, 255, 255))
            white.alpha_composite(image.convert("RGBA"))
            return white.convert("RGB")
        return image.convert("RGB")
    except (OSError, SyntaxError, ValueError, EOFError, struct.error) as error:
        if isinstance(error, ImageError):
            raise
        raise ImageError(
            f"{name} cannot be decoded ({type(error).__name__}: {error}). It is damaged or cut off; get it again."
        ) from error


def rgb_array(image: Image.Image) -> NDArray[np.uint8]:
    """Copy the pixels of an RGB picture into an array [H, W, 3] that can be written to.

    Pillow keeps four bytes a pixel and hands them out through two temporaries as large as the picture. Strip by strip
    these stay in the processor's cache, which takes less than half the time for a photograph.
    """
    pixel_HWC = np.empty((image.height, image.width, 3), np.uint8)
    rows = max(1, STRIP_BYTES // (3 * image.width))
    for top in range(0, image.height, rows):
        bottom = min(top + rows, image.height)
        pixel_HWC[top:bottom] = np.asarray(image.crop((0, top, image.width, bottom)))
    return pixel_HWC


def picture_name(source: str | Path | bytes) -> str:
    """Return how messages call a source: its path or URL, shortened where it is the data itself."""
    if isinstance(source, bytes):
        return f"the picture of {len(source)} bytes"
    text = str(source)
    return repr(text) if len(text) <= 200 else f"{text[:40]!r}... ({len(text)} characters)"


def _upright(image: Image.Image, name: str, *, warn: bool) -> Image.Image:
    try:
        orientation = image.getexif().get(_ORIENTATION_TAG, _UPRIGHT)
    except (OSError, SyntaxError, ValueError, struct.error):
        return image  # damaged camera data is no reason to refuse the pixels
    if orientation not in range(_UPRIGHT + 1, 9):
        return image
    if warn:
        warnings.warn(
            f"{name} has the EXIF orientation {orientation} and was turned upright, so boxes are in the upright "
            "picture. Use PIL.ImageOps.exif_transpose(image) first, and its size for target_sizes and drawing.",
            stacklevel=2,
        )
    return ImageOps.exif_transpose(image)


def _grey_8_bit(values: np.ndarray, mode: str, name: str) -> np.ndarray:
    if mode == "F" and not np.isfinite(values).all():
        raise ImageError(f"{name} holds values that are not finite numbers (NaN or infinity).")
    if mode == "F" and values.max() <= 1.0:
        values = values * 255.0
    elif mode.startswith("I;16") or values.max() > 255:
        values = values / SIXTEEN_BIT_STEP
    grey: np.ndarray = np.rint(values).clip(0, 255).astype(np.uint8)
    return grey


def _download(url: str) -> bytes:
    request = Request(url, headers={"User-Agent": "groundling"})
    try:
        with urlopen(request, timeout=DOWNLOAD_SECONDS) as response:
            content: bytes = response.read()
    except (URLError, OSError, ValueError) as error:
        raise ImageError(f"The picture {url!r} cannot be downloaded ({error}). Check the address.") from error
    return content


def _file_or_base64(text: str, name: str) -> Path | io.BytesIO:
    if text.startswith("data:"):
        return io.BytesIO(_decoded(text.partition(",")[2], name))
    try:
        path = Path(text).expanduser()
        if path.is_file():
            return path
    except (OSError, ValueError, RuntimeError):
        pass  # too long for a path, or not one: base64 text
    if not text.strip():
        raise ImageError(f"The picture source {name} is blank. Give a path, a URL or base64 text.")
    try:
        return io.BytesIO(_decoded(text, name))
    except ImageError:
        raise ImageError(
            f"There is no picture file {name}, and it is neither a URL (http://, https://) nor base64 text."
        ) from None


def _decoded(text: str, name: str) -> bytes:
    try:
        content = base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ImageError(f"{name} is not valid base64 ({error}).") from error
    if len(content) < 8:  # shorter than the signature of any picture format, so a mistyped file name
        raise ImageError(f"{name} is too short to be a picture.")
    return content
