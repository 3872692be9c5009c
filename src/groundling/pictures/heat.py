"""Heat: a map laid over a picture, and a table of scores as colours."""

import io
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from groundling.errors import missing_extra
from groundling.pictures.drawing import fit_caption, font_path, letter_height

if TYPE_CHECKING:
    import PIL.Image
    from matplotlib.axes import Axes

HEAT_COLORS = "YlOrRd"
SCORE_COLORS = "inferno"
FADED = 0.5  # how much of the picture's own darkness is left where there is no heat
COVER = 0.8  # how much of the picture the strongest heat covers
MOST_ROWS = 30
MOST_NUMBERS = 600  # cells; more numbers cannot be read
CELL_INCHES = (0.55, 0.3)
DOTS_PER_INCH = 110


class ScoreTable(NamedTuple):
    """Scores with names.

    Attributes:
        rows: names of the N rows.
        columns: names of the T columns.
        scores: 0 to 1, [N, T].
        framed: for each row the columns to point out.
    """

    rows: Sequence[str]
    columns: Sequence[str]
    scores: NDArray[np.float32]
    framed: Sequence[Sequence[int]]


def lay_over(picture: "PIL.Image.Image", heat_HW: NDArray[np.float32]) -> "PIL.Image.Image":
    """Lay heat over a picture: where it is cold, a pale grey picture is seen.

    Args:
        picture: of mode RGB.
        heat_HW: 0 to 1, in cells of any size that divide the picture evenly.

    Returns:
        A new picture of the same size.
    """
    import PIL.Image

    small = PIL.Image.fromarray(np.asarray(heat_HW, np.float32))
    heat = np.asarray(small.resize(picture.size, PIL.Image.Resampling.BICUBIC)).clip(0, 1)[..., None]
    grey = 255 - (255 - np.asarray(picture.convert("L"), np.float32)[..., None]) * FADED
    cover = COVER * heat**0.5  # weak heat is seen too
    mixed = grey * (1 - cover) + _colors(heat[..., 0]) * cover
    return PIL.Image.fromarray(np.rint(mixed).astype(np.uint8))


def add_scale(picture: "PIL.Image.Image", name: str, kind: str, strongest: float) -> "PIL.Image.Image":
    """Put a name and the scale of the colours below a picture.

    Args:
        picture: of mode RGB.
        name: whose heat it is; it is cut where it is too long.
        kind: what the heat means.
        strongest: the number that the hottest colour stands for.
    """
    import PIL.Image
    import PIL.ImageDraw
    import PIL.ImageFont

    height = letter_height(picture)
    path = font_path(f"{name}{kind}0123456789.")
    font = PIL.ImageFont.load_default(height) if path is None else PIL.ImageFont.truetype(path, height)
    space = max(2, height // 2)
    sheet = PIL.Image.new("RGB", (picture.width, picture.height + height + 2 * space), "white")
    sheet.paste(picture)
    bar = max(1, picture.width // 4)
    ramp = np.rint(_colors(np.linspace(0, 1, bar, dtype=np.float32)[None])).astype(np.uint8)
    room = picture.width - bar - 5 * space - font.getlength("0 0.00")
    draw = PIL.ImageDraw.Draw(sheet)
    top, middle, left = picture.height + space, picture.height + space + height / 2, float(space)
    for text in (fit_caption(name, kind, font, round(room)), "0"):
        draw.text((left, middle), text, "black", font, anchor="lm")
        left += font.getlength(text) + space
    sheet.paste(PIL.Image.fromarray(ramp).resize((bar, height)), (round(left), top))
    draw.text((left + bar + space, middle), f"{strongest:.2f}", "black", font, anchor="lm")
    return sheet


def plot_table(table: ScoreTable, ax: "Axes | None" = None) -> "Axes":
    """Show a table as colours from 0 to 1, with the numbers where there is room for them.

    Args:
        table: only its first rows are shown where there are very many.
        ax: where to show it; None makes a new figure.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    if ax is None:
        try:
            from matplotlib import pyplot
        except ImportError as error:
            raise _no_matplotlib() from error
        ax = pyplot.figure(figsize=_size(table), layout="constrained").subplots()
    _fill(ax, ScoreTable(table.rows[:MOST_ROWS], table.columns, table.scores[:MOST_ROWS], table.framed[:MOST_ROWS]))
    return ax


def draw_table(table: ScoreTable) -> "PIL.Image.Image":
    """Return what `plot_table` shows as an RGB picture.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    import PIL.Image

    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise _no_matplotlib() from error
    figure = Figure(figsize=_size(table), layout="constrained")  # no pyplot: it would choose a window system
    plot_table(table, figure.subplots())
    buffer = io.BytesIO()
    with warnings.catch_warnings():  # a letter that no font has is drawn as a box
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
        figure.savefig(buffer, format="png", dpi=DOTS_PER_INCH)
    with PIL.Image.open(buffer) as picture:
        return picture.convert("RGB")


def _fill(ax: "Axes", table: ScoreTable) -> None:
    from matplotlib.font_manager import FontProperties
    from matplotlib.patches import Rectangle

    path = font_path("".join([*table.rows, *table.columns]))
    plain: dict[str, Any] = {"parse_math": False, "fontproperties": FontProperties(fname=path, size=8)}
    ax.set_xticks(range(len(table.columns)), table.columns, rotation=90, **plain)
    ax.set_yticks(range(len(table.rows)), table.rows, **plain)
    if not table.rows:
        ax.set_title("nothing found")
        return
    ax.imshow(table.scores, cmap=SCORE_COLORS, vmin=0, vmax=1, aspect="auto")
    for row, framed in enumerate(table.framed):
        for column in framed:
            ax.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor="#40c0ff", linewidth=2))
    if table.scores.size > MOST_NUMBERS:
        return
    for (row, column), score in np.ndenumerate(table.scores):
        color = "black" if score > 0.6 else "white"
        ax.text(column, row, f"{score:.2f}", ha="center", va="center", color=color, fontsize=7)


def _size(table: ScoreTable) -> tuple[float, float]:
    """Return width and height of a figure in which every cell has room, inches."""
    longest = max(map(len, [*table.columns, ""]))
    width = 1.5 + 0.07 * max(map(len, [*table.rows, ""])) + CELL_INCHES[0] * len(table.columns)
    return width, 0.8 + 0.07 * longest + CELL_INCHES[1] * min(len(table.rows), MOST_ROWS)


def _colors(heat_HW: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the colour of each value, 0 to 255 [H, W, 3]."""
    try:
        from matplotlib import colormaps
    except ImportError as error:
        raise _no_matplotlib() from error
    colors: NDArray[np.float32] = colormaps[HEAT_COLORS](heat_HW)[..., :3].astype(np.float32) * 255
    return colors


def _no_matplotlib() -> ImportError:
    return missing_extra("matplotlib", "eval", "Drawing heat")
