"""Detections for people: drawn, plotted, as a table, and as what a notebook shows."""

import base64
import io
import os
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from groundling.errors import ImageError, missing_extra
from groundling.pictures.drawing import check_size, color_hex, draw_boxes
from groundling.structures.masks import Masks

if TYPE_CHECKING:
    import pandas
    import PIL.Image
    from matplotlib.axes import Axes

    from groundling.structures.detections import Detections

    Drawable = PIL.Image.Image | NDArray[np.uint8] | str | os.PathLike[str]

MOST_DRAWN = 16_000_000
"""Pixels of the drawing of a picture that is too large to be held whole."""

SHOWN_SIDE = 1000  # pixels of a picture's longer side in a notebook, which keeps every picture in its file
SHOWN_ROWS = 40
PLOT_INCHES = 9.0  # longer side of a figure
JPEG_QUALITY = 90  # thin lines and letters suffer below

_SIDES = ("left", "top", "right", "bottom")
_HOW_TO_SEE = "To see the boxes, call <code>.plot(image)</code> with the picture."


def drawn(found: "Detections", image: "Drawable | None" = None) -> "PIL.Image.Image":
    """See `Detections.draw`."""
    given = given_picture(found, image)
    small = _small_copy(given, found, MOST_DRAWN) if isinstance(given, Path) else None
    return _drawn_in(given, found, found.image_wh) if small is None else _drawn_in(small, found, small.size)


def given_picture(found: "Detections", image: "Drawable | None") -> "PIL.Image.Image | Path":
    """Return the picture that a caller gave, or the path of the one that was searched.

    Raises:
        ImageError: none is given, and the detections know of none.
    """
    import PIL.Image

    if image is None:
        image = found.source
    if image is None:
        raise ImageError("These detections do not know their picture's file. Give the picture that was searched.")
    if isinstance(image, np.ndarray):
        return PIL.Image.fromarray(image)
    return Path(image) if isinstance(image, str | os.PathLike) else image


def _small_copy(path: Path, found: "Detections", most_pixels: int) -> "PIL.Image.Image | None":
    """Return a small copy of the file that was searched where it is too large to be held whole."""
    from groundling.pictures.strips import read_small

    small = read_small(path, most_pixels)
    if small is None:
        return None
    check_size(small.image_wh, found.image_wh)
    return small.picture


def _drawn_in(picture: "PIL.Image.Image | Path", found: "Detections", size_wh: tuple[int, int]) -> "PIL.Image.Image":
    """Draw on a picture that may be smaller than the one that was searched."""
    last_on_top = found.sorted()[::-1]
    captions = [
        (item.label, f"{item.score:.2f}" if item.track_id is None else f"#{item.track_id} {item.score:.2f}")
        for item in last_on_top
    ]
    factor = np.array(size_wh, np.float32) / np.array(found.image_wh, np.float32)
    boxes_xyxy: NDArray[np.float32] = last_on_top.boxes_xyxy * np.tile(factor, 2)
    masks = None if last_on_top.masks is None else _resized(last_on_top.masks, size_wh)
    return draw_boxes(picture, boxes_xyxy, _color_ids(last_on_top), captions, image_wh=size_wh, masks=masks)


def _resized(masks: Masks, image_wh: tuple[int, int]) -> Iterator[NDArray[np.bool_]]:
    """Hand out one after the other, so that many of a large picture need no memory."""
    for row in range(len(masks)):
        yield masks[[row]].resized(image_wh)[0]


def _color_ids(found: "Detections") -> NDArray[np.int64]:
    return found.label_ids if found.track_ids is None else found.track_ids


def plotted(
    found: "Detections",
    image: "Drawable | None" = None,
    ax: "Axes | None" = None,
) -> "Axes":
    """See `Detections.plot`."""
    picture = drawn(found, image)
    if ax is None:
        try:
            from matplotlib import pyplot
        except ImportError as error:
            raise missing_extra("matplotlib", "eval", "Plotting") from error
        scale = PLOT_INCHES / max(picture.size)
        smallest = 1.0  # inches: a figure must not vanish beside a long narrow picture
        size = (max(smallest, picture.width * scale), max(smallest, picture.height * scale))
        ax = pyplot.figure(figsize=size).add_axes((0, 0, 1, 1))
    width, height = found.image_wh
    ax.imshow(np.asarray(picture), extent=(-0.5, width - 0.5, height - 0.5, -0.5))
    ax.set_axis_off()
    return ax


def as_table(found: "Detections") -> "pandas.DataFrame":
    """See `Detections.to_pandas`."""
    try:
        import pandas
    except ImportError as error:
        raise missing_extra("pandas", "tables", "A table of detections") from error
    columns = {
        "label": pandas.Series([item.label for item in found], dtype="str"),  # also where there are none
        "label_id": found.label_ids,
        "score": found.scores,
        **dict(zip(_SIDES, found.boxes_xyxy.T, strict=True)),
    }
    if found.track_ids is not None:
        columns["track_id"] = found.track_ids
    if found.masks is not None:
        columns["mask_area"] = found.masks.areas
    if found.mask_scores is not None:
        columns["mask_score"] = found.mask_scores
    return pandas.DataFrame(columns)


def as_html(found: "Detections") -> str:
    """Return picture and table for a notebook; nothing is fetched, and labels are text, whatever stands in them."""
    if found.source is None:
        return f"<div>{_heading(found)}{_html_table(found, colored=False)}<p>{_HOW_TO_SEE}</p></div>"
    try:
        shown = _small(found, found.source)
    except Exception as error:  # a notebook shows what it can; the reason stands below the table
        reason = " ".join(str(error).split())[:300]
        return f"<div>{_heading(found)}{_html_table(found, colored=False)}<p>{escape(reason)} {_HOW_TO_SEE}</p></div>"
    buffer = io.BytesIO()
    shown.save(buffer, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    picture = f'<img src="data:image/jpeg;base64,{data}" width="{shown.width}" style="max-width: 100%" alt="">'
    return f"<div>{_heading(found)}{picture}{_html_table(found, colored=True)}</div>"


def _small(found: "Detections", source: str) -> "PIL.Image.Image":
    from groundling.pictures.reading import open_picture

    picture = _small_copy(Path(source), found, (2 * SHOWN_SIDE) ** 2)
    if picture is None:
        picture = open_picture(Path(source))
        check_size(picture.size, found.image_wh)
    picture.thumbnail((SHOWN_SIDE, SHOWN_SIDE))
    return _drawn_in(picture, found, picture.size)


def _heading(found: "Detections") -> str:
    width, height = found.image_wh
    where = "" if found.source is None else f" {escape(found.source[:200])}"
    return f"<p><b>{len(found)} found</b> in {width}\u2009×\u2009{height}{where}</p>"  # noqa: RUF001  (a sign, not an x)


def _html_table(found: "Detections", *, colored: bool) -> str:
    if len(found) == 0:
        return ""
    shown = found[:SHOWN_ROWS]
    columns = {
        "track": None if shown.track_ids is None else [str(track_id) for track_id in shown.track_ids.tolist()],
        "score": [f"{score:.2f}" for score in shown.scores],
        "mask": None if shown.mask_scores is None else [f"{score:.2f}" for score in shown.mask_scores],
        "area": None if shown.masks is None else [str(area) for area in shown.masks.areas.tolist()],
        **{name: [f"{x:.1f}" for x in side] for name, side in zip(_SIDES, shown.boxes_xyxy.T, strict=True)},
    }
    numbers = {name: column for name, column in columns.items() if column is not None}
    names = ["label", *numbers]
    head = "".join(f"<th>{name}</th>" for name in names)
    rows = []
    for item, color_id, *cells in zip(shown, _color_ids(shown).tolist(), *numbers.values(), strict=True):
        swatch = f'<span style="color: {color_hex(color_id)}">\u25a0</span> ' if colored else ""
        label = f'<td style="text-align: left">{swatch}{escape(item.label)}</td>'
        rows.append(f"<tr>{label}{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>")
    if len(found) > SHOWN_ROWS:
        rows.append(f'<tr><td colspan="{len(names)}">and {len(found) - SHOWN_ROWS} more</td></tr>')
    return f'<table style="text-align: right"><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table>'
