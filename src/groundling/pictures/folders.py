"""Which files of a folder are pictures to read: told by their names, the same everywhere."""

import os

PICTURE_ENDINGS = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})

DETECTED, SEGMENTED = ".detected.png", ".segmented.png"
"""How names of pictures end that groundling has drawn on; they are results and never sources."""


def is_picture(name: str) -> bool:
    """Tell whether a file of a folder is a picture to read: by its ending, not hidden, and not drawn on by groundling.

    Args:
        name: of the file, without its folder.
    """
    return has_picture_ending(name) and not name.startswith(".") and not name.endswith((DETECTED, SEGMENTED))


def has_picture_ending(name: str) -> bool:
    """Tell whether a file is a picture by its ending alone."""
    return os.path.splitext(name)[1].lower() in PICTURE_ENDINGS  # noqa: PTH122  (a million names take no paths)


_LONGEST_LABEL = 50  # letters of a file's name; no system allows more than 255 bytes


def thing_name(number: int, label: str) -> str:
    """Return the name of the file of one thing in a picture, such as "0001-red star.png".

    Args:
        number: of the thing in its picture, from 1.
        label: what it is; signs that file systems refuse become "_".
    """
    safe = "".join(sign if sign.isalnum() or sign in " -_" else "_" for sign in label[:_LONGEST_LABEL])
    return f"{number:04}-{safe}.png"
