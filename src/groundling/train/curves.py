"""The course of a run as a picture: losses, and the figures of its validations."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from groundling.errors import missing_extra
from groundling.files import atomic_path
from groundling.train.metrics import read_metrics

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FILE = "curves.png"
LOSSES = {"loss_ce": "words", "loss_bbox": "boxes, L1", "loss_giou": "boxes, GIoU"}
"""Losses of the last decoder layer that are drawn, and what they are called."""

FIGURES = ("AP", "accuracy@0.5")
"""The figures of a validation that are drawn."""

_MOST_POINTS = 1000
_SMOOTHED = 0.02  # of the run, on each side of a point


def draw_run(run: Path) -> Path | None:
    """Draw `curves.png` from `metrics.jsonl`: losses on the left, validations on the right.

    Args:
        run: folder of the run.

    Returns:
        The file; None where there are no numbers yet.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise missing_extra("matplotlib", "eval", "The picture of the losses") from error
    lines = read_metrics(run)
    if not lines:
        return None
    figure = Figure(figsize=(12, 4.6), layout="constrained")  # no pyplot: it would choose a window system
    losses, validations = figure.subplots(1, 2)
    for name in ("loss", *LOSSES):
        _draw_loss(losses, lines, name)
    losses.set(title="losses of the last decoder layer, and of all together", xlabel="step", yscale="log")
    for name in _figures(lines):
        steps, values = _series(lines, name)
        validations.plot(steps, 100 * values, marker="o", markersize=3, label=name.replace("/", ": "))
    validations.set(title="validations", xlabel="step", ylabel="percent", ylim=(0, 102))
    for axes in (losses, validations):
        axes.grid(alpha=0.3)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize=8)
    path = run / FILE
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)
    return path


def _draw_loss(axes: "Axes", lines: Sequence[dict[str, float]], name: str) -> None:
    steps, values = _series(lines, name)
    if not len(steps):
        return
    (drawn,) = axes.plot(steps, _smooth(values), linewidth=1.6, label=LOSSES.get(name, "all"))
    axes.plot(steps, values, linewidth=0.5, alpha=0.3, color=drawn.get_color())


def _figures(lines: Sequence[dict[str, float]]) -> list[str]:
    """Return the names of the figures to draw, such as "target/AP", in the order in which they came."""
    return list(dict.fromkeys(name for line in lines for name in line if name.partition("/")[2] in FIGURES))


def _series(lines: Sequence[dict[str, float]], name: str) -> tuple[np.ndarray, np.ndarray]:
    points = [(line["step"], line[name]) for line in lines if name in line]
    stride = max(1, len(points) // _MOST_POINTS)
    steps_and_values = np.array(points[::stride], np.float64).reshape(-1, 2)
    return steps_and_values[:, 0], steps_and_values[:, 1]


def _smooth(values: np.ndarray) -> np.ndarray:
    """Return the mean around each value; nearer to the ends over fewer values."""
    reach = int(len(values) * _SMOOTHED)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    place = np.arange(len(values))
    first, last = np.maximum(place - reach, 0), np.minimum(place + reach + 1, len(values))
    smooth: np.ndarray = (sums[last] - sums[first]) / (last - first)
    return smooth
