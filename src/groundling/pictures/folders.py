"""Which files of a folder are pictures to read: told by their names, the same everywhere."""

import os

PICTURE_ENDINGS = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})

DRAWN = ".detected.png"
"""How names of pictures end that groundling has drawn on; they are results and never sources."""


def is_picture(name: str) -> bool:
    """Tell whether a file of a folder is a picture to read: by its ending, not hidden, and not drawn on by groundling.

    Args:
        name: of the file, without its folder.
    """
    ending = os.path.splitext(name)[1].lower()  # noqa: PTH122  (a million names take no paths)
    return ending in PICTURE_ENDINGS and not name.startswith(".") and not name.endswith(DRAWN)
