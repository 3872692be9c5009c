"""Annotation files as values, names as words, and the size of a picture from its header."""

import json
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import TypeGuard
from xml.etree import ElementTree

from PIL import Image

from groundling.errors import DatasetError, ImageError
from groundling.pictures.folders import PICTURE_ENDINGS
from groundling.pictures.reading import picture_name

LARGEST_SIDE = 1_000_000
"""Pixels; a larger picture is a mistake in the annotations."""

_ORIENTATION_TAG = 0x0112
_SIDEWAYS = range(5, 9)  # the orientations in which width and height change places
_UNUSABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")  # what XML and UTF-8 cannot hold


def read_text(path: Path) -> str:
    """Read a UTF-8 file.

    Raises:
        DatasetError: it is missing or is not UTF-8.
    """
    return _decoded(read_bytes(path), str(path))


def read_bytes(path: Path) -> bytes:
    """Read a file.

    Raises:
        DatasetError: it is missing or cannot be read.
    """
    try:
        return path.read_bytes()
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines of a UTF-8 file that are not blank, with their numbers from 1.

    Raises:
        DatasetError: it is missing or is not UTF-8.
    """
    try:
        with path.open("rb") as file:
            for number, content in enumerate(file, 1):
                line = _decoded(content, f"{path}, line {number},")
                if line.strip():
                    yield number, line
    except (OSError, ValueError) as error:
        if isinstance(error, DatasetError):
            raise
        raise _unreadable(path, error) from error


def read_json(path: Path) -> object:
    """Read a JSON file.

    Raises:
        DatasetError: it is missing or is not JSON; the message names the line.
    """
    return parse_json(read_text(path), str(path))


def parse_json(text: str, name: str) -> object:
    """Parse JSON text that messages call by a name.

    Raises:
        DatasetError: it is not JSON.
    """
    try:
        value: object = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{name} is not valid JSON ({error}). Write or download it again.") from error
    return value


def read_xml(path: Path) -> ElementTree.Element:
    """Read an XML file with the standard library's parser; a document type is refused, so entities cannot expand.

    Raises:
        DatasetError: it is missing, is not XML or declares a document type.
    """
    content = read_bytes(path)
    if b"<!DOCTYPE" in content or b"<!ENTITY" in content or b"\x00" in content:
        raise DatasetError(f"{path} declares a document type or is not UTF-8. Annotations need neither; remove it.")
    try:
        return ElementTree.fromstring(content)
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise DatasetError(f"{path} is not valid XML ({error}). Write or download it again.") from error


def clean_name(value: object) -> str | None:
    """Return a name without needless white space; None if it is not usable text with something to read in it.

    "." and "?" end a phrase for the model, and invisible characters are nothing to it.
    """
    if not isinstance(value, str) or _UNUSABLE.search(value):
        return None
    has_words = any(letter.isprintable() and letter not in " .?" for letter in value)
    return " ".join(value.split()) if has_words else None


def is_text(value: object) -> bool:
    """Tell whether a value is text that every format can hold, with more than white space in it."""
    return isinstance(value, str) and bool(value.strip()) and not _UNUSABLE.search(value)


def is_whole(value: object) -> TypeGuard[int]:
    """Tell whether a value is a whole number; true and false are none."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: object) -> TypeGuard[int | float]:
    """Tell whether a value is a number; true and false are none."""
    return is_whole(value) or isinstance(value, float)


def picture_size(path: Path) -> tuple[int, int]:
    """Return the upright width and height of a picture, from its header.

    Raises:
        ImageError: it is missing or is not a picture.
    """
    name = picture_name(path)
    try:
        with Image.open(path) as picture:
            return upright_size(picture)
    except FileNotFoundError as error:
        raise ImageError(f"There is no picture file {name}. Check the path and the folder of the pictures.") from error
    except Exception as error:  # Pillow's readers raise many kinds for a damaged file
        raise ImageError(f"{name} is not a readable picture ({type(error).__name__}: {error}).") from error


def upright_size(picture: Image.Image) -> tuple[int, int]:
    """Return the width and height that an opened picture has once its EXIF orientation is obeyed."""
    try:
        turned = picture.getexif().get(_ORIENTATION_TAG) in _SIDEWAYS
    except (OSError, SyntaxError, ValueError, struct.error):
        turned = False  # damaged camera data, which reading the picture ignores as well
    return (picture.height, picture.width) if turned else (picture.width, picture.height)


def pictures_in(folder: Path) -> list[Path]:
    """List the pictures in a folder and the folders in it, by name."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in PICTURE_ENDINGS and path.is_file())


def _unreadable(path: Path, error: OSError | ValueError) -> DatasetError:
    reason = getattr(error, "strerror", None) or str(error)
    return DatasetError(f"{path} cannot be read: {reason}. Check the path.")


def _decoded(content: bytes, name: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DatasetError(
            f"{name} is not UTF-8 text ({error.reason}, byte {error.start}). Save it as UTF-8."
        ) from error
