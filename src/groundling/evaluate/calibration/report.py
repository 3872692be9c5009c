"""A calibration to look at: a table, curves over the threshold, and the figures as JSON."""

import math
import warnings
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from groundling.errors import missing_extra
from groundling.evaluate.calibration.calibration import Calibration, LabelCalibration
from groundling.evaluate.calibration.choice import FLOOR, Counts, Targets
from groundling.evaluate.report import html_page, html_table, percent
from groundling.files import atomic_path, write_json, write_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

REPORT, CURVES, FIGURES = "report.html", "curves.png", "calibration.json"
"""The files of a report."""

MOST_DRAWN = 24
"""Labels that get curves; those whose targets are missed come first."""

COLUMNS = 3

TITLES = (
    "label",
    "threshold",
    "targets",
    "with",
    "without",
    "right",
    "precision (95 %)",
    "recall",
    "FP rate (95 %)",
    "held out: precision",
    "recall",
    "FP rate",
)
"""Of the table's columns."""

TEXTS = 3
"""How many of the columns are texts; the others are numbers."""

_URGENCY = {"not met": 0, "no examples": 1, "no pictures without it": 2, "met": 3}


def table_rows(calibration: Calibration) -> list[tuple[str, ...]]:
    """Return a row of texts for each label, with the columns of TITLES; shares are in percent."""
    return [_row(one) for one in calibration.labels]


def targets_text(targets: Targets) -> str:
    """Say in words what was to be reached."""
    text = f"precision of at least {_short(targets.precision)} %"
    if targets.max_fp_rate is not None:
        text += f", FP rate of at most {_short(targets.max_fp_rate)} %"
    return text


def write_report(folder: Path, calibration: Calibration, description: Mapping[str, object]) -> None:
    """Write the table and the curves as a page, and the figures as JSON.

    Args:
        folder: where `report.html`, `curves.png` and `calibration.json` go; it is made if it is not there.
        calibration: what to show.
        description: how it was made, as texts and numbers by name.

    Raises:
        MissingExtraError: matplotlib is not installed.
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shown = sorted(calibration.labels, key=lambda one: (_URGENCY[one.status], one.counts.precision))[:MOST_DRAWN]
    draw_thresholds(folder / CURVES, shown, calibration.targets)
    write_json(folder / FIGURES, {"description": dict(description), **calibration.to_dict()})
    how = [(name, "none" if value is None else str(value)) for name, value in description.items()]
    how += [("pictures", f"{calibration.pictures:,}"), ("targets", targets_text(calibration.targets))]
    parts = ["<h1>Calibration of thresholds</h1>", html_table([], how, numbers_from=2)]
    parts += ["<h2>Labels</h2>", html_table(TITLES, table_rows(calibration), numbers_from=TEXTS), _LEGEND]
    left_out = len(calibration.labels) - len(shown)
    note = f" {left_out:,} labels that meet the targets better are not drawn." if left_out else ""
    parts += ["<h2>Curves</h2>", f"<p>What each threshold gives on the given pictures.{escape(note)}</p>"]
    parts.append(f'<img class="curves" src="{CURVES}" alt="Precision, recall and false positives over the threshold">')
    write_text(folder / REPORT, html_page(parts, "Calibration"))


_LEGEND = """<p>With, without: pictures that hold the label, and pictures that are known not to. Right: boxes above the
threshold that are right, of all above it. Precision: their share, in percent. Recall: share of the objects that have a
right box. FP rate: share of the pictures without the label in which at least one box of it is above the threshold.
These are measured on the pictures that chose the threshold, with Wilson's interval. The held-out figures are measured
on pictures that did not choose it, by cross-validation, and are the ones to expect elsewhere. A threshold in brackets
was not chosen here. A dash: nothing to measure.</p>"""


def draw_thresholds(path: Path, labels: Sequence[LabelCalibration], targets: Targets) -> None:
    """Draw precision, recall and false-positive rate over the threshold, one small figure for each label.

    Args:
        path: the PNG file.
        labels: at least one.
        targets: drawn as dotted lines.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise missing_extra("matplotlib", "eval", "The report of a calibration") from error
    columns = min(COLUMNS, len(labels))
    rows = -(-len(labels) // columns)
    figure = Figure(figsize=(4.2 * columns, 2.9 * rows + 0.5), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes, one in zip(grid.flat, labels, strict=False):
        _draw(axes, one, targets)
    for axes in grid.flat[len(labels) :]:
        axes.set_axis_off()
    handles, names = grid.flat[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=4, fontsize=9, frameon=False)
    with atomic_path(path) as temporary, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # the table has the letters that the font lacks
        figure.savefig(temporary, format="png", dpi=110)


def _draw(axes: "Axes", one: LabelCalibration, targets: Targets) -> None:
    curve, counts = one.curve, one.counts
    # between two neighbouring scores nothing changes, and over the best nothing is found
    edges = np.concatenate([[FLOOR], np.sort(curve.score_C.astype(np.float64))])
    for values, whole, color, name in (
        (curve.right_C, curve.right_C + curve.wrong_C, "tab:blue", "precision"),
        (curve.right_C, np.full_like(curve.right_C, counts.objects), "tab:gray", "recall"),
        (curve.false_C, np.full_like(curve.false_C, counts.pictures_without), "tab:red", "FP rate"),
    ):
        share_C = np.full(len(values), np.nan)
        np.divide(values, whole, out=share_C, where=whole > 0)
        axes.stairs(share_C[::-1], edges, baseline=None, color=color, label=name, linewidth=1.6)
    axes.axhline(targets.precision, color="tab:blue", linestyle=":", linewidth=1)
    if targets.max_fp_rate is not None:
        axes.axhline(targets.max_fp_rate, color="tab:red", linestyle=":", linewidth=1)
    axes.axvline(one.threshold, color="black", linestyle="-" if one.is_chosen else "--", linewidth=1, label="threshold")
    for value, color in ((counts.precision, "tab:blue"), (counts.recall, "tab:gray"), (counts.fp_rate, "tab:red")):
        axes.plot([one.threshold], [value], "o", color=color, markersize=4)
    axes.set_title(f"{_plain(one.label)}: {one.threshold:g}, {one.status}", fontsize=10)
    axes.set(xlim=(0, 1), ylim=(-0.02, 1.04), xlabel="threshold")
    axes.grid(alpha=0.3)


def _row(one: LabelCalibration) -> tuple[str, ...]:
    counts, other = one.counts, one.held_out or Counts()
    return (
        one.label,
        f"{one.threshold:g}" if one.is_chosen else f"({one.threshold:g})",
        one.status,
        f"{counts.pictures_with:,}",
        f"{counts.pictures_without:,}",
        f"{counts.right:,} of {counts.right + counts.wrong:,}",
        _with_interval(counts.precision, counts.precision_interval),
        percent(counts.recall),
        _with_interval(counts.fp_rate, counts.fp_rate_interval),
        *(percent(value) for value in (other.precision, other.recall, other.fp_rate)),
    )


def _with_interval(value: float, interval: tuple[float, float]) -> str:
    return "-" if math.isnan(value) else f"{percent(value)} ({percent(interval[0])}-{percent(interval[1])})"


def _short(share: float) -> str:
    return f"{100 * share:.6g}"


def _plain(label: str) -> str:
    """Keep matplotlib from reading dollars as formulas."""
    return label.replace("$", r"\$")
