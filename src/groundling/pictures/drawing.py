"""Boxes and captions on a picture, in a size that fits the picture."""

import os
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from groundling.errors import ImageError
from groundling.files import atomic_path

if TYPE_CHECKING:
    import PIL.Image
    import PIL.ImageFont
    import supervision

FONT_PER_SIDE = 0.026  # text height as part of the picture's mean side: 14 pixels at 640 x 480
SMALLEST_FONT = 10  # pixels; below that no letter can be read
LINE_PER_SIDE = 0.0035
BOX_PER_FONT = 2  # a large picture of many small things would be all letters
MOST_CAPTIONS = 150  # more cover the picture, and finding room for them takes seconds


def draw_boxes(
    image: "PIL.Image.Image | Path",
    boxes_xyxy: NDArray[np.float32],
    color_ids: NDArray[np.int64],
    captions: Sequence[tuple[str, str]],
    *,
    image_wh: tuple[int, int],
    masks: Iterable[NDArray[np.bool_]] | None = None,
) -> "PIL.Image.Image":
    """Draw boxes with captions on an RGB copy of a picture; an id keeps its colour from picture to picture.

    Args:
        image: the picture, of any mode, or its path; its EXIF orientation is applied.
        boxes_xyxy: corners in pixels, [N, 4].
        color_ids: what chooses the colour, such as the label's or the track's id, [N].
        captions: label and numbers as text for each box, of which the label is cut where it is too long; a later one
            covers an earlier one, and where there are very many only the last are drawn.
        image_wh: the size that the picture must have.
        masks: what lies in each box, [H, W] each, drawn below the boxes.

    Raises:
        ImageError: the picture is of another size or cannot be read.
    """
    import supervision

    from groundling.pictures.mask_overlay import lay_masks
    from groundling.pictures.reading import open_picture, rgb_picture

    if isinstance(image, Path):
        scene = open_picture(image)
    else:
        scene = rgb_picture(image, "the picture to draw on", warn=False).copy()
    check_size(scene.size, image_wh)
    if len(boxes_xyxy) == 0:
        return scene
    small = smaller_for(boxes_xyxy, scene)
    thickness = max(1, round(mean_side(scene) * LINE_PER_SIDE * small))
    font_size = max(SMALLEST_FONT, round(letter_height(scene) * small))
    font_file = font_path("".join(label for label, _ in captions) + "0123456789.")
    padding = max(2, font_size // 4)
    palette = supervision.ColorPalette.DEFAULT
    if masks is not None:
        scene = lay_masks(scene, masks, color_ids, palette, max(1, thickness // 2))
    inside = np.clip(boxes_xyxy, 0, np.array([*image_wh, *image_wh], np.float32) - 1)
    found = supervision.Detections(xyxy=inside, class_id=color_ids)
    last = supervision.Detections(xyxy=inside[-MOST_CAPTIONS:], class_id=color_ids[-MOST_CAPTIONS:])
    lines = supervision.BoxAnnotator(color=palette, thickness=thickness)
    texts = supervision.RichLabelAnnotator(
        color=palette,
        text_color=_readable_on(palette),
        font_path=font_file,
        font_size=font_size,
        text_padding=padding,
        smart_position=True,
    )
    width = scene.width - 2 * padding - 2
    fitted = [fit_caption(label, score, texts.font, width) for label, score in captions[-MOST_CAPTIONS:]]
    drawn: PIL.Image.Image = texts.annotate(lines.annotate(scene, found), last, labels=fitted)
    return drawn


def check_size(size_wh: tuple[int, int], image_wh: tuple[int, int]) -> None:
    """Check that a picture has the size of the one that was searched.

    Raises:
        ImageError: it has another size.
    """
    if size_wh != image_wh:
        raise ImageError(
            f"The detections belong to a picture of {image_wh[0]} x {image_wh[1]} pixels, but the picture given "
            f"has {size_wh[0]} x {size_wh[1]}. Give the picture that was searched."
        )


def mean_side(picture: "PIL.Image.Image") -> float:
    """Return the side of a square as large as the picture, pixels."""
    return float((picture.width * picture.height) ** 0.5)


def smaller_for(boxes_xyxy: NDArray[np.float32], picture: "PIL.Image.Image") -> float:
    """Return by how much letters and lines are made smaller, 0 to 1, so that they do not hide small boxes.

    Half of the boxes are at least `BOX_PER_FONT` letters high or wide.
    """
    sides = boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]
    middle = float(np.median(np.sqrt(sides[:, 0] * sides[:, 1])))
    return min(1.0, middle / (BOX_PER_FONT * letter_height(picture)))


def letter_height(picture: "PIL.Image.Image") -> int:
    """Return how high letters on this picture should be, pixels."""
    return max(SMALLEST_FONT, round(mean_side(picture) * FONT_PER_SIDE))


def color_hex(color_id: int) -> str:
    """Return the colour of an id, such as "#ff4040"."""
    import supervision

    color: str = supervision.ColorPalette.DEFAULT.by_idx(color_id).as_hex()
    return color


def save_picture(image: "PIL.Image.Image", path: str | os.PathLike[str]) -> None:
    """Write a picture whole or not at all; the ending of `path` says the format.

    Raises:
        ImageError: the ending is not that of a picture format.
        OSError: the file cannot be written.
    """
    import PIL.Image

    kind = PIL.Image.registered_extensions().get(Path(path).suffix.lower())
    if kind not in PIL.Image.SAVE:
        raise ImageError(
            f"{os.fspath(path)!r} does not end in a picture format that can be written. Use .png, .jpg or .webp."
        )
    try:
        with atomic_path(Path(path)) as temporary:
            image.save(temporary, format=kind)
    except OSError as error:  # it names the temporary file, which means nothing to the caller
        raise OSError(error.errno, error.strerror or str(error), os.fspath(path)) from error


def fit_caption(
    label: str, score: str, font: "PIL.ImageFont.FreeTypeFont | PIL.ImageFont.ImageFont", width: int
) -> str:
    """Put label and score into one line of at most `width` pixels; the label is cut, the score never."""
    text = " ".join(label.split())
    if font.getlength(f"{text} {score}") <= width:
        return f"{text} {score}"
    while text and font.getlength(f"{text}… {score}") > width:
        text = text[:-1].rstrip()
    return f"{text}… {score}" if text else score


def _readable_on(palette: "supervision.ColorPalette") -> "supervision.ColorPalette":
    """Choose black or white text for each colour, whichever stands out more."""
    import supervision

    bright = [0.299 * color.r + 0.587 * color.g + 0.114 * color.b > 140 for color in palette.colors]
    return supervision.ColorPalette([supervision.Color.BLACK if b else supervision.Color.WHITE for b in bright])


@lru_cache(maxsize=64)
def font_path(text: str) -> str | None:
    """Find a font that has all letters of `text`; failing that, the one that has the most of them."""
    try:
        import matplotlib
        from matplotlib.font_manager import findSystemFonts
    except ImportError:  # supervision brings it; without it PIL's own font has the Latin letters
        return None
    needed = frozenset(map(ord, "".join(text.split())))
    usual = str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf")
    most, best = len(needed & _letters(usual)), usual
    if most == len(needed):
        return usual
    for path in sorted(findSystemFonts()):
        count = len(needed & _letters(path))
        if count > most:
            most, best = count, path
        if most == len(needed):
            break
    return best


@lru_cache(maxsize=1024)
def _letters(path: str) -> frozenset[int]:
    """List the characters that a font file can draw; none if it cannot be used."""
    from matplotlib.ft2font import FT2Font

    try:
        font = FT2Font(path)
        return frozenset(font.get_charmap()) if font.scalable else frozenset()
    except (OSError, RuntimeError):
        return frozenset()
