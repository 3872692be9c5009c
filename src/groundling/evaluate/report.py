"""The report of an evaluation: one page and its pictures, nothing from elsewhere."""

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path

import numpy as np
from PIL import Image

from groundling.data.record import Dataset
from groundling.evaluate.curves import draw_curves
from groundling.evaluate.description import lines_of
from groundling.evaluate.figures import Measured
from groundling.evaluate.mask_figures import split_numbers
from groundling.evaluate.mistakes import KINDS, Mistake
from groundling.files import write_text
from groundling.pictures.drawing import draw_boxes, save_picture

SMALLEST_SIDE = 480
"""Pixels; smaller pictures are enlarged, so that captions can be read."""

TRUTH_COLOR, FOUND_COLOR = 1, 0  # numbers of the palette
PICTURES = "pictures"
CURVES = "curves.png"

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
table { border-collapse: collapse; margin: 0.5rem 0 1.5rem; }
th, td { text-align: left; padding: 0.15rem 0.9rem 0.15rem 0; border-bottom: 1px solid #ddd; vertical-align: top; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
figure { display: inline-block; margin: 0 1rem 1.5rem 0; vertical-align: top; width: 21rem; }
figure img, .curves { max-width: 100%; }
figcaption { font-size: 13px; color: #444; overflow-wrap: anywhere; }
"""


def percent(value: float) -> str:
    """Return a share of 0..1 as a percentage with one digit; a dash where it is not known."""
    return "-" if math.isnan(value) else f"{100 * value:.1f}"


def write_report(
    folder: Path,
    description: Mapping[str, object],
    measured: Measured,
    dataset: Dataset,
    mistakes: Sequence[Mistake],
) -> None:
    """Write `report.html` with its curves and its pictures of the worst mistakes.

    Args:
        folder: where it goes.
        description: everything that the figures depend on.
        measured: the figures.
        dataset: where the pictures of the mistakes are.
        mistakes: the mistakes to show.

    Raises:
        MissingExtraError: matplotlib is not installed.
        ImageError: a picture cannot be read.
    """
    parts = [f"<h1>Evaluation of {escape(str(description['model']))}</h1>"]
    parts += ["<h2>Protocol</h2>", html_table([], lines_of(description), numbers_from=2)]
    counts = ", ".join(f"{value:,} {name.replace('_', ' ')}" for name, value in measured.counts.items())
    parts += ["<h2>Figures</h2>", f"<p>In percent, over {escape(counts)}. A dash: nothing of that kind to find.</p>"]
    numbers, masks, shares = split_numbers(measured.numbers)
    parts.append(html_table(list(numbers), [[percent(value) for value in numbers.values()]]))
    if masks:
        parts += _masks(masks, shares)
    if measured.curves is not None and measured.categories:
        draw_curves(folder / CURVES, measured.curves, measured.curve_names)
        parts += ["<h2>Precision and recall</h2>", f'<img class="curves" src="{CURVES}" alt="Precision over recall">']
    parts += _mistakes(folder, dataset, mistakes)
    if measured.categories:
        parts += ["<h2>Categories</h2>", _categories(measured)]
    write_text(folder / "report.html", html_page(parts))


def html_page(parts: Iterable[str], title: str = "Evaluation") -> str:
    """Return a page with its style in it, from pieces of HTML."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>'
        f"{escape(title)}</title><style>{_STYLE}</style></head>\n<body>\n" + "\n".join(parts) + "\n</body></html>\n"
    )


def html_table(titles: Sequence[str], rows: Iterable[Sequence[str]], *, numbers_from: int = 0) -> str:
    """Return a table of texts, which may hold any letters.

    Args:
        titles: of the columns; none leaves the head out.
        rows: the texts.
        numbers_from: the first column that stands to the right.
    """

    def row(cells: Sequence[str], tag: str) -> str:
        kinds = [' class="number"' if column >= numbers_from else "" for column in range(len(cells))]
        return "".join(f"<{tag}{kind}>{escape(cell)}</{tag}>" for kind, cell in zip(kinds, cells, strict=True))

    head = f"<tr>{row(titles, 'th')}</tr>" if titles else ""
    body = "".join(f"<tr>{row(cells, 'td')}</tr>" for cells in rows)
    return f"<table>{head}{body}</table>"


def _masks(numbers: Mapping[str, float], shares: Mapping[str, float]) -> list[str]:
    return [
        "<h2>Masks</h2>",
        html_table(list(numbers), [[percent(value) for value in numbers.values()]]),
        "<p>Where it is lost: with the true boxes in place of the found ones, each with its label and a score of 1, "
        "what is missing to 100 is lost by the segmenter alone; the rest is lost by the detector.</p>",
        html_table(list(shares), [[percent(value) for value in shares.values()]]),
    ]


def _categories(measured: Measured) -> str:
    has_frequency = any(category.frequency for category in measured.categories)
    has_masks = any(category.mask_ap is not None for category in measured.categories)
    titles = ["category", *(["frequency"] if has_frequency else []), "objects", "AP", "AP50", "AP75"]
    titles += ["mask AP"] if has_masks else []
    rows = [
        [
            category.name,
            *([category.frequency] if has_frequency else []),
            f"{category.objects:,}",
            *(percent(value) for value in (category.ap, category.ap50, category.ap75)),
            *([percent(category.mask_ap)] if category.mask_ap is not None else []),
        ]
        for category in sorted(measured.categories, key=lambda category: -category.ap)
    ]
    return html_table(titles, rows, numbers_from=2 if has_frequency else 1)


def _mistakes(folder: Path, dataset: Dataset, mistakes: Sequence[Mistake]) -> list[str]:
    parts = []
    for kind, meaning in KINDS.items():
        own = [mistake for mistake in mistakes if mistake.kind == kind]
        if own:
            parts += [f"<h2>Worst mistakes: {kind}</h2>", f"<p>{escape(meaning[0].upper() + meaning[1:])}.</p>"]
        for number, mistake in enumerate(own, start=1):
            name = f"{PICTURES}/{kind}-{number}.png"
            save_picture(draw_mistake(dataset[mistake.index].open(), mistake), folder / name)
            caption = f"{mistake.key}: {mistake.label}"
            caption += f", {_how_bad(mistake)}"
            if mistake.truth_label not in ("", mistake.label):
                caption += f"; it is: {mistake.truth_label}"
            parts.append(
                f'<figure><img src="{name}" alt="{escape(caption)}"><figcaption>{escape(caption)}</figcaption></figure>'
            )
    return parts


def _how_bad(mistake: Mistake) -> str:
    if mistake.mask is not None:
        return f"IoU {mistake.score:.2f}"
    return "not found" if mistake.found_xyxy is None else f"score {mistake.score:.2f}"


def draw_mistake(picture: Image.Image, mistake: Mistake) -> Image.Image:
    """Draw what is there and what was found; small pictures are enlarged."""
    factor = max(1, math.ceil(SMALLEST_SIDE / max(picture.size)))
    shown = picture.resize((picture.width * factor, picture.height * factor)) if factor > 1 else picture
    boxes, colors, captions = [], [], []
    if mistake.truth_xyxy is not None:
        boxes.append(mistake.truth_xyxy * factor)
        colors.append(TRUTH_COLOR)
        captions.append((f"truth: {mistake.truth_label}", ""))
    if mistake.found_xyxy is not None:
        boxes.append(mistake.found_xyxy * factor)
        colors.append(FOUND_COLOR)
        captions.append((f"found: {mistake.label}", f"{mistake.score:.2f}"))
    mask = None if mistake.mask is None else mistake.mask.resized(shown.size)
    return draw_boxes(
        shown, np.array(boxes, np.float32), np.array(colors, np.int64), captions, image_wh=shown.size, masks=mask
    )
