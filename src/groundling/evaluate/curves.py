"""Precision over recall as a picture."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from groundling.errors import missing_extra
from groundling.evaluate.average_precision import (
    AREAS,
    IOU_THRESHOLDS,
    RECALL_LEVELS,
    PrecisionRecall,
    mean_precision,
)
from groundling.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SHOWN_IOUS = (0.5, 0.75)
MOST_NAMED = 10
"""Categories that get a colour and a name; the worst are the ones to look at."""


def draw_curves(path: Path, curves: PrecisionRecall, names: tuple[str, ...]) -> None:
    """Draw two figures side by side: the mean over categories at IoU 0.5 and 0.75, and each category at 0.5.

    Args:
        path: the PNG file.
        curves: precision at each recall.
        names: of the categories [K].

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise missing_extra("matplotlib", "eval", "The report of an evaluation") from error
    figure = Figure(figsize=(12, 4.6), layout="constrained")  # no pyplot: it would choose a window system
    means, each = figure.subplots(1, 2)
    for iou in SHOWN_IOUS:
        precision_RK = _precision(curves, iou)
        if precision_RK.shape[1]:
            means.plot(RECALL_LEVELS, precision_RK.mean(axis=1), label=f"IoU {iou:.2f}", linewidth=2)
    means.set_title("mean over categories")
    _draw_each(each, curves, names)
    each.set_title("each category, IoU 0.50")
    for axes in (means, each):
        axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02))
        axes.grid(alpha=0.3)
    if means.get_legend_handles_labels()[0]:
        means.legend(fontsize=8, loc="lower left")
    if each.get_legend_handles_labels()[0]:
        title = "AP50" if len(names) <= MOST_NAMED else "AP50, the worst"
        each.legend(fontsize=8, title=title, title_fontsize=8, loc="upper left", bbox_to_anchor=(1.01, 1))
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)


def _draw_each(axes: "Axes", curves: PrecisionRecall, names: tuple[str, ...]) -> None:
    known = np.flatnonzero(_has_objects(curves))
    ap_K = mean_precision(curves, iou=0.5)
    worst = known[np.argsort(ap_K[known], kind="stable")][:MOST_NAMED]
    precision_RK = curves.precision_TRKA[IOU_THRESHOLDS.index(0.5), :, :, AREAS.index("all")]
    for category in known:
        if category not in worst:
            axes.plot(RECALL_LEVELS, precision_RK[:, category], color="0.75", linewidth=0.7)
    for category in worst:
        label = f"{names[category]} ({100 * ap_K[category]:.1f})"
        axes.plot(RECALL_LEVELS, precision_RK[:, category], linewidth=1.2, label=label)


def _precision(curves: PrecisionRecall, iou: float) -> NDArray[np.float64]:
    """Return precision at each recall [R, K] of the categories that have objects."""
    precision_RK = curves.precision_TRKA[IOU_THRESHOLDS.index(iou), :, :, AREAS.index("all")]
    return precision_RK[:, _has_objects(curves)]


def _has_objects(curves: PrecisionRecall) -> NDArray[np.bool_]:
    return ~np.isnan(mean_precision(curves))
