"""Which pixels of a picture belong to each of several things."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from groundling.errors import DatasetError
from groundling.structures.checks import checked_size, index_array, is_number

MOST = 2**31
"""Sizes and run lengths are below it."""

MOST_PIXELS = 16_000_000
"""When masks are compared, parts of about so many pixels are decoded at a time."""

Rows = slice | Sequence[int] | Sequence[bool] | NDArray[np.bool_] | NDArray[np.integer[Any]]


@dataclass(frozen=True, repr=False)
class Masks:
    """Masks of one picture, kept as run lengths: a thousand of them take little more memory than one.

    It is a sequence: an integer index gives one mask as an array, a slice, a boolean mask or a list of indices gives
    other `Masks`. Nothing in it changes.

    Attributes:
        counts: run lengths of each mask as COCO compresses them; see `to_coco`.
        image_wh: width and height of the picture in pixels.

    Raises:
        DatasetError: that is no size of a picture, or counts are no strings.
    """

    counts: tuple[str, ...]
    image_wh: tuple[int, int]

    def __post_init__(self) -> None:
        put = object.__setattr__  # the dataclass is frozen
        put(self, "image_wh", checked_size(self.image_wh))
        is_list = isinstance(self.counts, Iterable) and not isinstance(self.counts, str)
        put(self, "counts", tuple(self.counts) if is_list else (None,))
        if not all(isinstance(counts, str) for counts in self.counts):
            raise DatasetError("The counts of masks must be strings. Use Masks.from_array or Masks.from_coco.")

    # From other forms

    @classmethod
    def from_array(cls, masks: ArrayLike, image_wh: tuple[int, int] | None = None) -> Self:
        """Build from an array [N, H, W] of truth values, or of numbers of which those above 0 are inside.

        Args:
            masks: the masks; nothing may be an empty list if `image_wh` is given.
            image_wh: width and height that they must have; None takes those of the array.

        Raises:
            DatasetError: it is no such array, or of another size.
        """
        from supervision import mask_to_rle

        try:
            array = np.asarray(masks)
        except (ValueError, TypeError, RuntimeError) as error:  # ragged lists; tensors on a device
            raise DatasetError(f"masks cannot be read as an array [N, H, W]: {error}") from error
        if array.size == 0 and image_wh is not None:
            return cls((), image_wh)
        if array.ndim != 3 or array.dtype.kind not in "biuf":
            raise DatasetError(f"masks must be numbers of the shape [N, H, W], but are {array.dtype} {array.shape}.")
        size = (array.shape[2], array.shape[1])
        if image_wh is not None and size != checked_size(image_wh):
            raise DatasetError(
                f"The masks have {size[0]} x {size[1]} pixels, but the picture has {image_wh[0]} x {image_wh[1]}."
            )
        return cls(tuple(str(mask_to_rle(mask > 0, compressed=True)) for mask in array), size)

    @classmethod
    def from_coco(cls, items: Sequence[Mapping[str, Any]], image_wh: tuple[int, int] | None = None) -> Self:
        """Build from COCO's run lengths, compressed or as lists.

        Args:
            items: dictionaries with "size" (height and width) and "counts".
            image_wh: width and height of the picture; None takes those of the first mask.

        Raises:
            DatasetError: something else is given, a mask is of another size or damaged, or there is neither a mask nor
                `image_wh`.
        """
        if isinstance(items, str | bytes | Mapping) or not isinstance(items, Iterable):
            raise DatasetError(f"Masks must be a list of objects with 'size' and 'counts', got {str(items)[:80]}.")
        width, height = _size_of_first(items) if image_wh is None else checked_size(image_wh)
        masks = []
        for row, item in enumerate(items):
            size, counts = _size_and_counts(item, row)
            if size != [height, width]:
                raise DatasetError(f"Mask {row} has the size (height, width) {size}, the picture {[height, width]}.")
            # Written anew one by one, so that all of them have one spelling and never stand in memory together.
            masks.append(cls.from_array(_decoded(counts, (width, height), row)[None]))
        return cls.joined(masks, (width, height))

    @classmethod
    def joined(cls, parts: Sequence["Masks"], image_wh: tuple[int, int]) -> Self:
        """Build from several, one after the other.

        Raises:
            DatasetError: one belongs to a picture of another size.
        """
        for part in parts:
            if not isinstance(part, Masks):
                raise DatasetError(f"Only Masks can be joined, got {type(part).__name__}.")
            if part.image_wh != tuple(image_wh):
                raise DatasetError(f"Masks of {part.image_wh} and {tuple(image_wh)} pixels cannot stand together.")
        return cls(tuple(counts for part in parts for counts in part.counts), image_wh)

    # Reading

    def __len__(self) -> int:
        return len(self.counts)

    def __iter__(self) -> Iterator[NDArray[np.bool_]]:
        for row in range(len(self)):
            yield self[row]

    @overload
    def __getitem__(self, index: int | np.integer[Any]) -> NDArray[np.bool_]: ...
    @overload
    def __getitem__(self, index: Rows) -> "Masks": ...
    def __getitem__(self, index: "int | np.integer[Any] | Rows") -> "NDArray[np.bool_] | Masks":
        if isinstance(index, int | np.integer) and not isinstance(index, bool):
            row = int(index)
            if not -len(self) <= row < len(self):
                raise IndexError(f"There is no mask {row}: there are {len(self)}.")
            return _decoded(self.counts[row], self.image_wh, row)
        rows = np.arange(len(self))[index if isinstance(index, slice) else index_array(index, len(self), what="masks")]
        return Masks(tuple(self.counts[row] for row in rows.tolist()), self.image_wh)

    def __repr__(self) -> str:
        return f"Masks({len(self)} in {self.image_wh[0]}x{self.image_wh[1]})"

    def to_array(self) -> NDArray[np.bool_]:
        """Return all masks at once, [N, H, W]; mind the memory where there are many."""
        width, height = self.image_wh
        array = np.zeros((len(self), height, width), np.bool_)
        for row, mask in enumerate(self):
            array[row] = mask
        return array

    def to_coco(self) -> list[dict[str, Any]]:
        """Return COCO's compressed run lengths: dictionaries with "size" (height, width) and "counts" (text)."""
        width, height = self.image_wh
        return [{"size": [height, width], "counts": counts} for counts in self.counts]

    def crop(self, row: int) -> tuple[int, int, NDArray[np.bool_]]:
        """Return left, top and the part [h, w] of a mask inside its tight box; the part of an empty mask is [0, 0]."""
        left, top, right, bottom = self.boxes_xyxy[row].astype(int).tolist()
        return left, top, self[row][top:bottom, left:right].copy()  # a view would keep the whole mask in memory

    @property
    def areas(self) -> NDArray[np.int64]:
        """Pixels in each mask, int64 [N]."""
        return self._measured[1]

    @property
    def boxes_xyxy(self) -> NDArray[np.float32]:
        """Tight boxes around the masks, pixels, float32 [N, 4]; right and bottom lie behind the last pixel.

        All four are 0 where a mask is empty.
        """
        return self._measured[0]

    @cached_property
    def _measured(self) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        boxes, areas = np.zeros((len(self), 4), np.float32), np.zeros(len(self), np.int64)
        for row, mask in enumerate(self):
            areas[row] = mask.sum()
            if areas[row]:
                rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
                boxes[row] = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
        boxes.flags.writeable = areas.flags.writeable = False
        return boxes, areas

    # Computing

    def iou(self, others: "Masks") -> NDArray[np.float64]:
        """Return intersection over union of each mask with each of `others`, [N, M], 0..1; empty ones have 0.

        Raises:
            DatasetError: they are no Masks, or belong to a picture of another size.
        """
        if not isinstance(others, Masks):
            raise DatasetError(
                f"Masks are compared with Masks only, got {type(others).__name__}. Use Masks.from_array for an array."
            )
        if others.image_wh != self.image_wh:
            raise DatasetError(f"Masks of {self.image_wh} and {others.image_wh} pixels cannot be compared.")
        shared = np.zeros((len(self), len(others)), np.float64)
        first, second = self.boxes_xyxy.astype(int), others.boxes_xyxy.astype(int)
        corner = np.maximum(first[:, None, :2], second[None, :, :2])
        end = np.minimum(first[:, None, 2:], second[None, :, 2:])
        meeting = np.argwhere((end > corner).all(axis=-1))
        columns = np.unique(meeting[:, 1])
        block_of = (second[:, 2:] - second[:, :2]).prod(axis=1)[columns].cumsum() // MOST_PIXELS
        for block in np.unique(block_of):
            parts = {column: others.crop(column) for column in columns[block_of == block].tolist()}
            for row in np.unique(meeting[np.isin(meeting[:, 1], list(parts)), 0]).tolist():
                mask = self[row]
                for column in parts.keys() & set(meeting[meeting[:, 0] == row, 1].tolist()):
                    left, top, part = parts[column]
                    shared[row, column] = (mask[top : top + part.shape[0], left : left + part.shape[1]] & part).sum()
        either = self.areas[:, None] + others.areas[None] - shared
        return shared / np.maximum(either, 1)

    def resized(self, image_wh: tuple[int, int]) -> "Masks":
        """Return the masks of the picture in another size.

        A pixel is inside where more than half of it was; what is thinner than that in the smaller picture is lost.

        Raises:
            DatasetError: that is no size of a picture.
        """
        import cv2

        size = checked_size(image_wh)
        if size == self.image_wh:
            return self
        way = cv2.INTER_AREA if size[0] * size[1] < self.image_wh[0] * self.image_wh[1] else cv2.INTER_LINEAR
        resized = (cv2.resize(mask * np.uint8(255), size, interpolation=way) > 128 for mask in self)
        return Masks.joined([Masks.from_array(mask[None]) for mask in resized], size)


def _size_of_first(items: Sequence[Mapping[str, Any]]) -> tuple[int, int]:
    if not len(items):
        raise DatasetError("There is no mask that says how large the picture is. Give image_wh.")
    size, _ = _size_and_counts(items[0], 0)
    if len(size) != 2:
        raise DatasetError(f"Mask 0 must have a 'size' of two numbers, height and width, got {size}.")
    return checked_size((size[1], size[0]))


def _size_and_counts(item: Mapping[str, Any], row: int) -> tuple[list[int], str | list[int]]:
    """Return what one dictionary of COCO says, with whole numbers where it must have them.

    Raises:
        DatasetError: it is no such dictionary.
    """
    if not isinstance(item, Mapping) or "size" not in item or "counts" not in item:
        raise DatasetError(f"Mask {row} must have 'size' and 'counts', got {str(item)[:80]}.")
    size, counts = item["size"], item["counts"]
    if not _are_whole(size):
        raise DatasetError(
            f"Mask {row} must have a 'size' of two whole numbers, height and width, got {str(size)[:80]}."
        )
    if isinstance(counts, str | bytes):
        return [int(side) for side in size], counts if isinstance(counts, str) else counts.decode("ascii", "replace")
    if not _are_whole(counts):
        raise DatasetError(
            f"The run lengths of mask {row} are damaged: they must be text or a list of whole numbers, 0 or more, got "
            f"{str(counts)[:80]}."
        )
    return [int(side) for side in size], [int(count) for count in counts]


def _are_whole(values: object) -> bool:
    """Say whether this is a list of whole numbers, 0 or more; truth values and infinity are none."""
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
        return False
    return all(is_number(value) and 0 <= value < MOST and value == int(value) for value in values)


def _decoded(counts: str | list[int], image_wh: tuple[int, int], row: int) -> NDArray[np.bool_]:
    from supervision import rle_to_mask

    try:
        mask: NDArray[np.bool_] = rle_to_mask(counts, image_wh)
    except (ValueError, TypeError, IndexError, OverflowError, AssertionError, UnicodeError) as error:
        raise DatasetError(
            f"The run lengths of mask {row} are damaged or belong to another picture than one of {image_wh[0]} x "
            f"{image_wh[1]} pixels: {error}"
        ) from error
    return mask
