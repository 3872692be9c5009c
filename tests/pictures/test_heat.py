"""Heat on pictures and score tables by themselves; their use is tested with explanations."""

import sys

import numpy as np
import PIL.Image
import pytest

from groundling.errors import MissingExtraError
from groundling.pictures import heat


def test_an_empty_table():
    table = heat.ScoreTable([], [], np.zeros((0, 0), np.float32), [])
    assert min(heat.draw_table(table).size) > 50


def test_no_heat_leaves_a_pale_picture():
    picture = PIL.Image.new("RGB", (40, 30), "black")
    cold = heat.lay_over(picture, np.zeros((3, 4), np.float32))
    assert cold.getextrema() == ((128, 128),) * 3
    assert picture.getextrema() == ((0, 0),) * 3


def test_more_heat_covers_more():
    picture = PIL.Image.new("RGB", (60, 20), "white")
    levels = np.asarray(heat.lay_over(picture, np.array([[0, 0.5, 1]], np.float32)))[10, [0, 30, 59], 1]
    assert levels[0] > levels[1] > levels[2]


def test_a_large_table_has_no_numbers_and_not_all_rows():
    scores = np.full((heat.MOST_ROWS + 5, 100), 0.5, np.float32)
    names = [str(row) for row in range(len(scores))]
    drawn = heat.draw_table(heat.ScoreTable(names, ["word"] * 100, scores, [[] for _ in names]))
    assert drawn.width > 5000
    assert drawn.height < 2000


@pytest.mark.parametrize(
    "use",
    [
        pytest.param(
            lambda: heat.draw_table(heat.ScoreTable([], [], np.zeros((0, 0), np.float32), [])), id="empty table"
        ),
        pytest.param(lambda: heat.lay_over(PIL.Image.new("RGB", (4, 4)), np.ones((2, 2), np.float32)), id="overlay"),
    ],
)
def test_matplotlib_may_be_missing(monkeypatch, use):
    for name in ("matplotlib", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtraError, match=r"Drawing heat needs the package 'matplotlib'.*groundling\[eval\]"):
        use()
