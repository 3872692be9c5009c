"""Holes and islands: drawn cases, and any small mask against the naive version."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from groundling.segmentation.cleaning import clean
from reference import mask_cleaning


def drawn(text: str) -> NDArray[np.bool_]:
    """A mask of lines of '#' and '.'."""
    return np.array([[sign == "#" for sign in line] for line in text.split()])


RING = "##### #...# #.#.# #...# ####."


@pytest.mark.parametrize(
    ("before", "fill_holes", "drop_islands", "after"),
    [
        pytest.param("... ...", 9, 9, "... ...", id="empty"),
        pytest.param("### ###", 9, 9, "### ###", id="full"),
        pytest.param(RING, 0, 0, RING, id="nothing asked"),
        pytest.param("### #.# ###", 1, 0, "### ### ###", id="hole of one"),
        pytest.param("#### #..# ####", 1, 0, "#### #..# ####", id="hole too large"),
        pytest.param("#.# #.# ###", 9, 0, "#.# #.# ###", id="background at the edge is no hole"),
        pytest.param(".#. #.# .#.", 1, 0, ".#. ### .#.", id="corners close a hole"),
        pytest.param(RING, 8, 0, "##### ##### ##### ##### ####.", id="island in a hole becomes part of the mask"),
        pytest.param("#.. ... .##", 0, 2, "... ... .##", id="island"),
        pytest.param("#.. .#. ..#", 0, 3, "#.. .#. ..#", id="pixels touch at corners"),
        pytest.param("#.# ... #..", 0, 99, "#.. ... ...", id="the largest part stays, the first of equal ones"),
        pytest.param(".#.. ...# ##.#", 0, 3, ".... ...# ...#", id="the first of equal ones starts higher"),
    ],
)
def test_drawn(before: str, fill_holes: int, drop_islands: int, after: str) -> None:
    mask = drawn(before)
    kept = mask.copy()
    np.testing.assert_array_equal(clean(mask, fill_holes=fill_holes, drop_islands=drop_islands), drawn(after))
    np.testing.assert_array_equal(mask, kept, err_msg="the mask that was given was changed")


@settings(max_examples=80, deadline=None)
@given(
    mask=arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=9)),
    fill_holes=st.integers(0, 12),
    drop_islands=st.integers(0, 12),
)
def test_any_mask_against_the_naive_version(mask: NDArray[np.bool_], fill_holes: int, drop_islands: int) -> None:
    cleaned = clean(mask, fill_holes=fill_holes, drop_islands=drop_islands)
    np.testing.assert_array_equal(cleaned, mask_cleaning.clean(mask, fill_holes, drop_islands))
