"""Checks of what a caller hands over: arrays that fit each other, labels, a picture's size, indices, keys."""

from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import ArrayLike, NDArray

from groundling.errors import DatasetError


def frozen_array(
    name: str, value: ArrayLike, dtype: type[np.generic], *, rows: int | None = None, columns: int | None = None
) -> NDArray[Any]:
    """Copy into a read-only array of the given type.

    Args:
        name: how messages call it.
        value: numbers, or integers where `dtype` is int64.
        dtype: type of the copy.
        rows: how many it must have; None allows any number.
        columns: how many it must have; None means that there is one axis only.

    Raises:
        DatasetError: it is no array of that shape, or holds something else than finite numbers.
    """
    try:
        given = np.asarray(value)
    except (ValueError, TypeError, RuntimeError) as error:  # ragged lists; tensors on a device
        raise DatasetError(f"{name} cannot be read as an array: {error}") from error
    expected = f"({'N' if rows is None else rows}{',' if columns is None else f', {columns}'})"
    ndim = 1 if columns is None else 2
    wrong_rows = rows is not None and given.shape[:1] != (rows,)
    wrong_columns = columns is not None and given.shape[1:] != (columns,)
    if given.ndim != ndim or wrong_rows or wrong_columns:
        raise DatasetError(
            f"{name} must have the shape {expected}, but has {given.shape}. Every box needs one row in each array; "
            "nothing found is boxes_xyxy of shape (0, 4) and empty scores and label_ids."
        )
    allowed = "iu" if dtype is np.int64 and given.size else "iuf"
    if given.dtype.kind not in allowed:
        raise DatasetError(f"{name} must hold {'integers' if allowed == 'iu' else 'numbers'}, but holds {given.dtype}.")
    if not np.isfinite(given).all():
        raise DatasetError(f"{name} holds NaN or infinity. Drop those detections or look for a broken input.")
    array = given.astype(dtype)
    array.flags.writeable = False
    return array


def is_number(value: object) -> TypeGuard[float]:
    """Say whether a value is one real number, of Python or of numpy; a truth value is none."""
    return isinstance(value, Real) and not isinstance(value, bool)


def checked_labels(labels: Sequence[str]) -> tuple[str, ...]:
    """Return the labels as a tuple.

    Raises:
        DatasetError: they are no list of strings.
    """
    if isinstance(labels, str) or not isinstance(labels, Sequence) or any(not isinstance(x, str) for x in labels):
        raise DatasetError(f"labels must be a list of strings, got {labels!r}.")
    return tuple(labels)


def check_corners(boxes_xyxy: NDArray[np.floating[Any]]) -> None:
    """Refuse boxes [N, 4] that end before they begin.

    Raises:
        DatasetError: there is one.
    """
    is_inverted = (boxes_xyxy[:, 2:] < boxes_xyxy[:, :2]).any(axis=1)
    if is_inverted.any():
        row = int(is_inverted.argmax())
        raise DatasetError(
            f"boxes_xyxy[{row}] is {boxes_xyxy[row].tolist()}: right is left of left, or bottom above top. "
            "Give corners as left, top, right, bottom; centre-size boxes must be converted first."
        )


def checked_size(image_wh: tuple[int, int]) -> tuple[int, int]:
    """Return a picture's width and height.

    Raises:
        DatasetError: they are not two whole numbers of at least 1.
    """
    try:
        width, height = (int(side) for side in image_wh if side == int(side))
    except (TypeError, ValueError, OverflowError) as error:
        raise DatasetError(f"image_wh must be two whole numbers, width and height, got {image_wh!r}.") from error
    if width < 1 or height < 1:
        raise DatasetError(f"image_wh must be at least 1 x 1 pixels (width, height), got {image_wh!r}.")
    return width, height


def index_array(index: Any, length: int, *, what: str) -> NDArray[np.bool_] | NDArray[np.int64]:
    """Turn a list or array of booleans or integers into an array that can index `length` rows.

    Args:
        index: what a caller wrote between the brackets.
        length: how many rows there are.
        what: how messages call them, in the plural.

    Raises:
        TypeError: it is something else.
        IndexError: there are no such rows.
    """
    array = np.asarray(index)
    if array.ndim == 1 and array.size == 0 and array.dtype.kind != "b":
        return np.zeros(0, np.int64)
    if array.ndim != 1 or array.dtype.kind not in "biu":
        raise TypeError(
            f"{what.capitalize()} are indexed by a whole number, a slice, a boolean mask or a list of indices, "
            f"got {index!r}."
        )
    if array.dtype.kind == "b":
        if len(array) != length:
            raise IndexError(f"The boolean mask has {len(array)} values, but there are {length} {what}.")
        return array
    rows = array.astype(np.int64)
    if rows.min() < -length or rows.max() >= length:
        raise IndexError(f"The indices reach from {rows.min()} to {rows.max()}, but there are {length} {what}.")
    return rows


def check_keys(name: str, value: Any, expected: tuple[str, ...], optional: tuple[str, ...] = ()) -> None:
    """Check the keys of a mapping.

    Raises:
        DatasetError: it is no mapping, a key is missing, or one is unknown.
    """
    if not isinstance(value, Mapping) or set(value) - set(optional) != set(expected):
        got = sorted(map(str, value)) if isinstance(value, Mapping) else type(value).__name__
        raise DatasetError(f"{name} must be an object with the keys {', '.join(expected)}, got {got}.")
