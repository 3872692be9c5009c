"""What was found in one picture: boxes, scores and labels, checked once and never changed."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from groundling.errors import ConfigError, DatasetError, ImageError, PromptError
from groundling.pictures.drawing import draw_boxes, save_picture

if TYPE_CHECKING:
    import PIL.Image
    import supervision

Index = int | np.integer[Any] | slice | Sequence[int] | Sequence[bool] | NDArray[np.bool_] | NDArray[np.integer[Any]]
_DICT_KEYS = ("source", "width", "height", "labels", "label_scores", "detections")
_ITEM_KEYS = ("label", "label_id", "score", "box_xyxy")


class Detection(NamedTuple):
    """One object that was found.

    Attributes:
        box_xyxy: left, top, right and bottom in pixels of the original picture.
        label: the caller's word for it.
        label_id: index of the label in the caller's list.
        score: how sure the model is, 0 to 1.
    """

    box_xyxy: tuple[float, float, float, float]
    label: str
    label_id: int
    score: float


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Detections:
    """Everything that was found in one picture.

    It is a sequence of `Detection`. An integer index gives one of them; a slice, a boolean mask or a list of indices
    gives another `Detections`. Arrays are read-only copies.

    Attributes:
        boxes_xyxy: left, top, right, bottom of N boxes in pixels of the original picture, float32 [N, 4].
        scores: how sure the model is of each box's label, 0 to 1, float32 [N].
        label_ids: index into `labels` for each box, int64 [N].
        labels: the caller's whole list of labels, found or not.
        image_wh: width and height of the original picture in pixels.
        label_scores: score of every label for each box, float32 [N, L], or None where they were not kept.
        source: path or address of the picture, or None if it came from memory.

    Raises:
        DatasetError: the arrays do not fit each other, or hold values that no detection can have.
    """

    boxes_xyxy: NDArray[np.float32]
    scores: NDArray[np.float32]
    label_ids: NDArray[np.int64]
    labels: tuple[str, ...]
    image_wh: tuple[int, int]
    label_scores: NDArray[np.float32] | None = None
    source: str | None = None

    def __post_init__(self) -> None:
        put = object.__setattr__  # the dataclass is frozen
        put(self, "labels", _checked_labels(self.labels))
        put(self, "image_wh", _checked_size(self.image_wh))
        put(self, "source", None if self.source is None else os.fspath(self.source))
        boxes = _frozen_array("boxes_xyxy", self.boxes_xyxy, np.float32, columns=4)
        put(self, "boxes_xyxy", boxes)
        put(self, "scores", _frozen_array("scores", self.scores, np.float32, rows=len(boxes)))
        put(self, "label_ids", _frozen_array("label_ids", self.label_ids, np.int64, rows=len(boxes)))
        if self.label_scores is not None:
            shape = {"rows": len(boxes), "columns": len(self.labels)}
            put(self, "label_scores", _frozen_array("label_scores", self.label_scores, np.float32, **shape))
        self._check_values()

    def _check_values(self) -> None:
        inverted = (self.boxes_xyxy[:, 2:] < self.boxes_xyxy[:, :2]).any(axis=1)
        if inverted.any():
            row = int(inverted.argmax())
            raise DatasetError(
                f"boxes_xyxy[{row}] is {self.boxes_xyxy[row].tolist()}: right is left of left, or bottom above top. "
                "Give corners as left, top, right, bottom; centre-size boxes must be converted first."
            )
        for name, values in (("scores", self.scores), ("label_scores", self.label_scores)):
            if values is not None and values.size and not (values.min() >= 0 and values.max() <= 1):
                raise DatasetError(
                    f"{name} must be between 0 and 1, but they reach from {values.min():g} to {values.max():g}. "
                    "Raw logits need a sigmoid first."
                )
        wrong = (self.label_ids < 0) | (self.label_ids >= len(self.labels))
        if wrong.any():
            raise DatasetError(
                f"label_ids holds {int(self.label_ids[wrong][0])}, but there are {len(self.labels)} labels. "
                f"Each id must be an index into labels, 0 to {len(self.labels) - 1}."
            )

    # Reading

    def __len__(self) -> int:
        return len(self.scores)

    def __iter__(self) -> Iterator[Detection]:
        for row in range(len(self)):
            yield self[row]

    @overload
    def __getitem__(self, index: int | np.integer[Any]) -> Detection: ...
    @overload
    def __getitem__(
        self, index: slice | Sequence[int] | Sequence[bool] | NDArray[np.bool_] | NDArray[np.integer[Any]]
    ) -> "Detections": ...
    def __getitem__(self, index: Index) -> "Detection | Detections":
        if isinstance(index, int | np.integer) and not isinstance(index, bool):
            return self._one(int(index))
        rows = index if isinstance(index, slice) else _index_array(index, len(self))
        return replace(
            self,
            boxes_xyxy=self.boxes_xyxy[rows],
            scores=self.scores[rows],
            label_ids=self.label_ids[rows],
            label_scores=None if self.label_scores is None else self.label_scores[rows],
        )

    def _one(self, row: int) -> Detection:
        if not -len(self) <= row < len(self):
            raise IndexError(f"There is no detection {row}: there are {len(self)}.")
        left, top, right, bottom = self.boxes_xyxy[row].tolist()
        label_id = int(self.label_ids[row])
        return Detection((left, top, right, bottom), self.labels[label_id], label_id, float(self.scores[row]))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Detections):
            return NotImplemented
        return all(_same(getattr(self, field.name), getattr(other, field.name)) for field in fields(self))

    def __repr__(self) -> str:
        width, height = self.image_wh
        where = f"{width}x{height}" + (f" {self.source!r}" if self.source is not None else "")
        shown = [f"{item.label!r} {item.score:.2f} at {tuple(round(x) for x in item.box_xyxy)}" for item in self[:3]]
        rest = [f"{len(self) - 3} more"] if len(self) > 3 else []
        return f"Detections({len(self)} in {where}" + (": " if shown else "") + "; ".join(shown + rest) + ")"

    def __reduce__(self) -> tuple[type[Self], tuple[Any, ...]]:
        # Through the constructor, because numpy forgets on the way that an array was read-only.
        return type(self), tuple(getattr(self, field.name) for field in fields(self))

    # Choosing

    def above(self, threshold: float) -> "Detections":
        """Keep the detections whose score is greater than `threshold` (0 to 1).

        Raises:
            ConfigError: the threshold is not between 0 and 1.
        """
        if not 0 <= threshold <= 1:
            raise ConfigError(f"threshold must be between 0 and 1, got {threshold!r}.")
        return self[self.scores > np.float32(threshold)]

    def only(self, *labels: str | Sequence[str]) -> "Detections":
        """Keep the detections that have one of these labels, spelled as in `labels`; a list of labels will do.

        Raises:
            PromptError: a word is not one of the labels.
        """
        names = [name for label in labels for name in ([label] if isinstance(label, str) else label)]
        for name in names:
            if name not in self.labels:
                raise PromptError(f"{name!r} is not one of the labels: {', '.join(map(repr, self.labels))}.")
        wanted = [label_id for label_id, label in enumerate(self.labels) if label in names]
        return self[np.isin(self.label_ids, wanted)]

    def sorted(self) -> "Detections":
        """Order by score, best first; equal scores keep their order."""
        return self[np.argsort(-self.scores, kind="stable")]

    def best(self, count: int = 1) -> "Detections":
        """Keep the `count` detections with the highest scores, best first.

        Raises:
            ConfigError: the count is negative.
        """
        if count < 0:
            raise ConfigError(f"count must be 0 or more, got {count}.")
        return self.sorted()[:count]

    # To other forms

    def to_supervision(self) -> "supervision.Detections":
        """Convert to supervision's type, with the words in `data["class_name"]`."""
        import supervision

        names = np.array([item.label for item in self], dtype=np.str_)
        return supervision.Detections(
            xyxy=self.boxes_xyxy.copy(),
            confidence=self.scores.copy(),
            class_id=self.label_ids.copy(),
            data={"class_name": names},
        )

    def to_dict(self) -> dict[str, Any]:
        """Convert to plain lists, strings and numbers; `from_dict` gives back an equal object."""
        width, height = self.image_wh
        items = [
            dict(zip(_ITEM_KEYS, (item.label, item.label_id, _plain(score), _plain(box)), strict=True))
            for item, score, box in zip(self, self.scores, self.boxes_xyxy, strict=True)
        ]
        label_scores = None if self.label_scores is None else _plain(self.label_scores)
        values = (self.source, width, height, list(self.labels), label_scores, items)
        return dict(zip(_DICT_KEYS, values, strict=True))

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Self:
        """Build from what `to_dict` wrote.

        Raises:
            DatasetError: a key is missing or unknown, or a value does not fit.
        """
        _check_keys("The dictionary", value, _DICT_KEYS)
        items = value["detections"]
        if not isinstance(items, Sequence) or isinstance(items, str):
            raise DatasetError(f"'detections' must be a list, got {type(items).__name__}.")
        for row, item in enumerate(items):
            _check_keys(f"detections[{row}]", item, _ITEM_KEYS)
        labels = _checked_labels(value["labels"])
        label_scores = value["label_scores"]
        if label_scores is not None and not items:
            label_scores = np.zeros((0, len(labels)))
        columns: dict[str, Any] = {key: [item[key] for item in items] for key in _ITEM_KEYS}
        found = cls(
            boxes_xyxy=columns["box_xyxy"] if items else np.zeros((0, 4), np.float32),
            scores=columns["score"],
            label_ids=columns["label_id"],
            labels=labels,
            image_wh=(value["width"], value["height"]),
            label_scores=label_scores,
            source=value["source"],
        )
        for row, item in enumerate(items):
            if found[row].label != item["label"]:
                raise DatasetError(
                    f"detections[{row}] has the label {item['label']!r}, but its label_id {item['label_id']} "
                    f"means {found[row].label!r}. Correct one of them."
                )
        return found

    def to_json(self) -> str:
        """Convert to one line of JSON, without a line end."""
        return json.dumps(self.to_dict(), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Build from what `to_json` wrote.

        Raises:
            DatasetError: the text is not JSON or not of that form.
        """
        try:
            value = json.loads(text)
        except ValueError as error:
            raise DatasetError(f"This is not valid JSON: {error}. Give what Detections.to_json wrote.") from error
        return cls.from_dict(value)

    def draw(
        self, image: "PIL.Image.Image | NDArray[np.uint8] | str | os.PathLike[str] | None" = None
    ) -> "PIL.Image.Image":
        """Draw boxes, labels and scores on a copy of the picture.

        Args:
            image: the picture that was searched, of any PIL mode, or an array of bytes [H, W, 3], or its path; None
                opens `source`. Its EXIF orientation is applied, as it was when it was searched.

        Returns:
            A new RGB picture of size `image_wh`.

        Raises:
            ImageError: the picture is of another size or cannot be read, or none is given and there is no `source`.
        """
        import PIL.Image

        if image is None:
            image = self.source
        if image is None:
            raise ImageError("These detections do not know their picture's file. Give the picture to draw on.")
        last_on_top = self.sorted()[::-1]
        captions = [(item.label, f"{item.score:.2f}") for item in last_on_top]
        if isinstance(image, np.ndarray):
            image = PIL.Image.fromarray(image)
        picture = Path(image) if isinstance(image, str | os.PathLike) else image
        return draw_boxes(picture, last_on_top.boxes_xyxy, last_on_top.label_ids, captions, image_wh=self.image_wh)

    def save(
        self,
        path: str | os.PathLike[str],
        image: "PIL.Image.Image | NDArray[np.uint8] | str | os.PathLike[str] | None" = None,
    ) -> None:
        """Draw on a copy of the picture and write it; the ending of `path` says the format.

        Args:
            path: where to write, such as "found.png"; an existing file is replaced only by a complete one.
            image: see `draw`.

        Raises:
            ImageError: see `draw`, or the ending is not a picture format.
            OSError: the file cannot be written.
        """
        save_picture(self.draw(image), path)


def _frozen_array(
    name: str, value: ArrayLike, dtype: type[np.generic], *, rows: int | None = None, columns: int | None = None
) -> NDArray[Any]:
    """Copy into a read-only array of the given type, checking shape and values."""
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


def _checked_labels(labels: Sequence[str]) -> tuple[str, ...]:
    if isinstance(labels, str) or not isinstance(labels, Sequence) or any(not isinstance(x, str) for x in labels):
        raise DatasetError(f"labels must be a list of strings, got {labels!r}.")
    return tuple(labels)


def _checked_size(image_wh: tuple[int, int]) -> tuple[int, int]:
    try:
        width, height = (int(side) for side in image_wh if side == int(side))
    except (TypeError, ValueError) as error:
        raise DatasetError(f"image_wh must be two whole numbers, width and height, got {image_wh!r}.") from error
    if width < 1 or height < 1:
        raise DatasetError(f"image_wh must be at least 1 x 1 pixels (width, height), got {image_wh!r}.")
    return width, height


def _index_array(index: Any, length: int) -> NDArray[np.bool_] | NDArray[np.int64]:
    """Turn a list or array of booleans or integers into an array that can index `length` rows."""
    array = np.asarray(index)
    if array.ndim == 1 and array.size == 0 and array.dtype.kind != "b":
        return np.zeros(0, np.int64)
    if array.ndim != 1 or array.dtype.kind not in "biu":
        raise TypeError(
            f"Detections are indexed by a whole number, a slice, a boolean mask or a list of indices, got {index!r}."
        )
    if array.dtype.kind == "b":
        if len(array) != length:
            raise IndexError(f"The boolean mask has {len(array)} values, but there are {length} detections.")
        return array
    rows = array.astype(np.int64)
    if rows.min() < -length or rows.max() >= length:
        raise IndexError(f"The indices reach from {rows.min()} to {rows.max()}, but there are {length} detections.")
    return rows


def _check_keys(name: str, value: Any, expected: tuple[str, ...]) -> None:
    if not isinstance(value, Mapping) or set(value) != set(expected):
        got = sorted(map(str, value)) if isinstance(value, Mapping) else type(value).__name__
        raise DatasetError(f"{name} must be an object with the keys {', '.join(expected)}, got {got}.")


def _plain(array: NDArray[np.float32] | np.float32) -> Any:
    """Convert float32 values to the shortest Python numbers that turn back into the same float32 values."""
    return np.asarray(array).astype(np.str_).astype(np.float64).tolist()


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return np.array_equal(one, other)
    return type(one) is type(other) and bool(one == other)
