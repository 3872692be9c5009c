"""What a data set may know beside its records, and what stands in for it where it does not."""

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from groundling.data.record import Dataset, Record


@runtime_checkable
class _HasIds(Protocol):
    @property
    def category_ids(self) -> Sequence[int]: ...

    def image_id(self, index: int) -> int | str: ...


@runtime_checkable
class _HasAreas(Protocol):
    def areas(self, index: int) -> NDArray[np.floating]: ...


@runtime_checkable
class _HasFrequencies(Protocol):
    @property
    def frequencies(self) -> Mapping[str, str]: ...


@runtime_checkable
class _HasCountedNames(Protocol):
    @property
    def counted_names(self) -> Collection[str] | None: ...


class Facts:
    """The data set's own ids, areas and marks.

    Args:
        dataset: any data set; a reader may offer `category_ids` and `image_id(index)`, `areas(index)`,
            `frequencies` and `counted_names`.
    """

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset

    def image_id(self, index: int) -> int | str:
        """Return the picture's id in the annotation file; its number where it has none."""
        return self._dataset.image_id(index) if isinstance(self._dataset, _HasIds) else index

    def category_ids(self, categories: Sequence[str]) -> tuple[int, ...]:
        """Return an id for each category: its own, or its place from 1."""
        if isinstance(self._dataset, _HasIds) and tuple(categories) == tuple(self._dataset.names):
            return tuple(self._dataset.category_ids)
        return tuple(range(1, len(categories) + 1))

    @property
    def areas_are_given(self) -> bool:
        """Whether areas come from the annotations, where they are those of masks."""
        return isinstance(self._dataset, _HasAreas)

    def areas(self, index: int, record: Record) -> NDArray[np.float64]:
        """Return the area of each object of a record in pixels [N]."""
        if isinstance(self._dataset, _HasAreas):
            return np.asarray(self._dataset.areas(index), np.float64)
        boxes: NDArray[np.float64] = record.boxes_xyxy.astype(np.float64)
        size: NDArray[np.float64] = boxes[:, 2:] - boxes[:, :2]
        return size[:, 0] * size[:, 1]

    @property
    def counted_names(self) -> frozenset[str] | None:
        """The names whose average precision is the data set's; None is all. The others are asked for all the same."""
        names = self._dataset.counted_names if isinstance(self._dataset, _HasCountedNames) else None
        return None if names is None else frozenset(names)

    def frequencies(self, categories: Sequence[str]) -> tuple[str, ...]:
        """Return "rare", "common" or "frequent" for each category; an empty string where it is not known."""
        if not isinstance(self._dataset, _HasFrequencies):
            return ("",) * len(categories)
        by_name = self._dataset.frequencies
        return tuple(by_name.get(name, "") for name in categories)
