"""The mean over several data sets, as ODinW has it."""

import math
from collections.abc import Mapping
from html import escape
from pathlib import Path

import numpy as np

from groundling.evaluate.report import html_page, html_table, percent
from groundling.evaluate.run import Outcome
from groundling.files import write_json, write_text

SHOWN = ("AP", "AP50", "AP75")
MEAN = "mean"


def write_summary(folder: Path, outcomes: Mapping[str, Outcome]) -> dict[str, dict[str, float]]:
    """Write `metrics.json` and `report.html` of several data sets and return the table.

    Args:
        folder: where they go; the report of each data set is in a folder of its name there.
        outcomes: by the name of the data set; there is at least one.

    Returns:
        AP, AP50 and AP75 of each data set, 0..1, and last their mean over data sets; one without objects is left out of
        the mean.
    """
    table = {name: {key: outcome.measured.numbers[key] for key in SHOWN} for name, outcome in outcomes.items()}
    columns = {key: np.array([numbers[key] for numbers in table.values()]) for key in SHOWN}
    table[MEAN] = {key: _mean(values) for key, values in columns.items()}
    known = {
        name: {key: None if math.isnan(value) else value for key, value in numbers.items()}
        for name, numbers in table.items()
    }
    write_json(folder / "metrics.json", {"metrics": known[MEAN], "data_sets": {name: known[name] for name in outcomes}})
    rows = [[name, *(percent(value) for value in numbers.values())] for name, numbers in table.items()]
    links = "".join(f'<li><a href="{escape(name)}/report.html">{escape(name)}</a></li>' for name in outcomes)
    body = ["<h1>Evaluation of several data sets</h1>", html_table(["data set", *SHOWN], rows, numbers_from=1)]
    write_text(folder / "report.html", html_page([*body, f"<ul>{links}</ul>"]))
    return table


def _mean(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")
