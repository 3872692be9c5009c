"""What was found in one picture: boxes, scores and labels, checked once and never changed."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, NamedTuple, Self, overload

import numpy as np
from numpy.typing import NDArray

from groundling.errors import ConfigError, DatasetError, PromptError
from groundling.pictures.drawing import save_picture
from groundling.structures import detections_shown, mask_pictures
from groundling.structures.checks import checked_labels, checked_size, frozen_array, index_array, is_number
from groundling.structures.detections_checks import check_masks, check_values
from groundling.structures.detections_dict import check_item_labels, plain_dict, read_fields
from groundling.structures.masks import Masks

if TYPE_CHECKING:
    import pandas
    import PIL.Image
    import supervision
    from matplotlib.axes import Axes

    from groundling.structures.detections_shown import Drawable

Index = int | np.integer[Any] | slice | Sequence[int] | Sequence[bool] | NDArray[np.bool_] | NDArray[np.integer[Any]]


class Detection(NamedTuple):
    """One object that was found.

    Attributes:
        box_xyxy: left, top, right and bottom in pixels of the original picture.
        label: the caller's word for it.
        label_id: index of the label in the caller's list.
        score: how sure the model is, 0 to 1.
        track_id: number of the object in its video, or None if it was not tracked.
        mask_score: how good the segmenter thinks its mask is, 0 to 1, or None if it has none.
    """

    box_xyxy: tuple[float, float, float, float]
    label: str
    label_id: int
    score: float
    track_id: int | None = None
    mask_score: float | None = None


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
        track_ids: which object of a video each box is, 0 or more, the same from frame to frame, int64 [N]; None where
            nothing was tracked. With no boxes there is no difference.
        masks: the pixels of each thing, N of them in the picture's size; None where nothing was segmented.
        mask_scores: how good the segmenter thinks each mask is (its guess of the IoU), 0 to 1, float32 [N]; None where
            it did not say.

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
    track_ids: NDArray[np.int64] | None = None
    masks: Masks | None = None
    mask_scores: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        put = object.__setattr__  # the dataclass is frozen
        put(self, "labels", checked_labels(self.labels))
        put(self, "image_wh", checked_size(self.image_wh))
        put(self, "source", None if self.source is None else os.fspath(self.source))
        boxes = frozen_array("boxes_xyxy", self.boxes_xyxy, np.float32, columns=4)
        put(self, "boxes_xyxy", boxes)
        put(self, "scores", frozen_array("scores", self.scores, np.float32, rows=len(boxes)))
        put(self, "label_ids", frozen_array("label_ids", self.label_ids, np.int64, rows=len(boxes)))
        if self.label_scores is not None:
            shape = {"rows": len(boxes), "columns": len(self.labels)}
            put(self, "label_scores", frozen_array("label_scores", self.label_scores, np.float32, **shape))
        if self.track_ids is not None:
            put(self, "track_ids", frozen_array("track_ids", self.track_ids, np.int64, rows=len(boxes)))
        if self.mask_scores is not None:
            put(self, "mask_scores", frozen_array("mask_scores", self.mask_scores, np.float32, rows=len(boxes)))
        check_values(self)
        check_masks(self)

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
        rows = index if isinstance(index, slice) else index_array(index, len(self), what="detections")
        return replace(
            self,
            boxes_xyxy=self.boxes_xyxy[rows],
            scores=self.scores[rows],
            label_ids=self.label_ids[rows],
            label_scores=None if self.label_scores is None else self.label_scores[rows],
            track_ids=None if self.track_ids is None else self.track_ids[rows],
            masks=None if self.masks is None else self.masks[rows],
            mask_scores=None if self.mask_scores is None else self.mask_scores[rows],
        )

    def _one(self, row: int) -> Detection:
        if not -len(self) <= row < len(self):
            raise IndexError(f"There is no detection {row}: there are {len(self)}.")
        left, top, right, bottom = self.boxes_xyxy[row].tolist()
        label_id = int(self.label_ids[row])
        track_id = None if self.track_ids is None else int(self.track_ids[row])
        mask_score = None if self.mask_scores is None else float(self.mask_scores[row])
        box, label, score = (left, top, right, bottom), self.labels[label_id], float(self.scores[row])
        return Detection(box, label, label_id, score, track_id, mask_score)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Detections):
            return NotImplemented
        names = {field.name for field in fields(self)}
        if len(self) == len(other) == 0:
            names -= {"track_ids", "masks", "mask_scores"}
        return all(_same(getattr(self, name), getattr(other, name)) for name in names)

    def __repr__(self) -> str:
        width, height = self.image_wh
        where = f"{width}x{height}" + (f" {self.source!r}" if self.source is not None else "")
        shown = [f"{item.label!r} {item.score:.2f} at {tuple(round(x) for x in item.box_xyxy)}" for item in self[:3]]
        rest = [f"{len(self) - 3} more"] if len(self) > 3 else []
        return f"Detections({len(self)} in {where}" + (": " if shown else "") + "; ".join(shown + rest) + ")"

    def _repr_html_(self) -> str:
        """Show picture and table in a notebook; without the picture's file only the table."""
        return detections_shown.as_html(self)

    def __reduce__(self) -> tuple[type[Self], tuple[Any, ...]]:
        # Through the constructor, because numpy forgets on the way that an array was read-only.
        return type(self), tuple(getattr(self, field.name) for field in fields(self))

    # Choosing

    def above(self, threshold: float) -> "Detections":
        """Keep the detections whose score is greater than `threshold` (0 to 1).

        Raises:
            ConfigError: the threshold is not between 0 and 1.
        """
        if not is_number(threshold) or not 0 <= threshold <= 1:
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

    def resized(self, image_wh: tuple[int, int]) -> "Detections":
        """Return the same detections for the picture in another size.

        Args:
            image_wh: its width and height in pixels.

        Raises:
            DatasetError: that is no size of a picture.
        """
        width, height = checked_size(image_wh)
        scale = np.array([width, height, width, height]) / np.array([*self.image_wh, *self.image_wh])
        return replace(
            self,
            boxes_xyxy=(self.boxes_xyxy * scale).astype(np.float32),
            image_wh=(width, height),
            masks=None if self.masks is None else self.masks.resized((width, height)),
        )

    def tightened(self) -> "Detections":
        """Return the same detections with boxes tight around their masks; where a mask is empty the box stays.

        Raises:
            DatasetError: there are no masks.
        """
        masks = mask_pictures.masks_of(self, "to tighten the boxes to")
        boxes = np.where(masks.areas[:, None] > 0, masks.boxes_xyxy, self.boxes_xyxy)
        return replace(self, boxes_xyxy=boxes)

    # To other forms

    def to_supervision(self) -> "supervision.Detections":
        """Convert to supervision's type, with words in `data["class_name"]`, track ids in `tracker_id`, masks whole."""
        import supervision

        names = np.array([item.label for item in self], dtype=np.str_)
        return supervision.Detections(
            xyxy=self.boxes_xyxy.copy(),
            mask=None if self.masks is None else self.masks.to_array(),
            confidence=self.scores.copy(),
            class_id=self.label_ids.copy(),
            tracker_id=None if self.track_ids is None else self.track_ids.copy(),
            data={"class_name": names},
        )

    def to_pandas(self) -> "pandas.DataFrame":
        """Convert to a table with a row for each box.

        Returns:
            The columns label (text), label_id (int64), score, left, top, right and bottom (float32, pixels); where
            there are track ids, track_id (int64); where there are masks, mask_area (int64, pixels) and, unless the
            segmenter did not say, mask_score (float32).

        Raises:
            MissingExtraError: pandas is not installed.
        """
        return detections_shown.as_table(self)

    def to_dict(self) -> dict[str, Any]:
        """Convert to plain lists, strings and numbers; `from_dict` gives back an equal object."""
        return plain_dict(self)

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Self:
        """Build from what `to_dict` wrote.

        Raises:
            DatasetError: a key is missing or unknown, or a value does not fit.
        """
        found = cls(**read_fields(value))
        check_item_labels(found, value["detections"])
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

    # Showing

    def draw(self, image: "Drawable | None" = None) -> "PIL.Image.Image":
        """Draw boxes, labels and scores on a copy of the picture, and below them the masks where there are some.

        Each track has its colour, otherwise each label.

        Args:
            image: the picture that was searched, of any PIL mode, or an array of bytes [H, W, 3], or its path; None
                opens `source`. Its EXIF orientation is applied, as it was when it was searched.

        Returns:
            A new RGB picture of size `image_wh`. Of a file that is too large to be held whole, which Pillow refuses or
            warns of, a copy that is scaled down to at most 16 million pixels.

        Raises:
            ImageError: the picture is of another size or cannot be read, or none is given and there is no `source`.
            MissingExtraError: the file is too large to be held whole, and pyvips is not installed.
        """
        return detections_shown.drawn(self, image)

    def cutouts(self, image: "Drawable | None" = None) -> "list[PIL.Image.Image]":
        """Cut each thing out of the picture along its mask.

        Args:
            image: see `draw`.

        Returns:
            An RGBA picture for each detection, as large as the tight box around its mask, transparent outside the mask;
            where a mask is empty, one transparent pixel.

        Raises:
            DatasetError: there are no masks.
            ImageError: see `draw`, or the picture is too large to be held whole.
        """
        return list(mask_pictures.cutouts(self, image))

    def label_map(self) -> NDArray[np.uint16]:
        """Return for each pixel the label_id + 1 of the best thing there, 0 where there is nothing, uint16 [H, W].

        Raises:
            DatasetError: there are no masks, or more than 65,535 labels.
        """
        return mask_pictures.label_map(self)

    def instance_map(self) -> NDArray[np.uint16]:
        """Return for each pixel the row + 1 of the best thing there, 0 where there is nothing, uint16 [H, W].

        Raises:
            DatasetError: there are no masks, or more than 65,535 detections.
        """
        return mask_pictures.instance_map(self)

    def save(self, path: str | os.PathLike[str], image: "Drawable | None" = None) -> None:
        """Draw on a copy of the picture, scaled down as by `draw`, and write it; the ending of `path` says the format.

        Args:
            path: where to write, such as "found.png"; an existing file is replaced only by a complete one.
            image: see `draw`.

        Raises:
            ImageError: see `draw`, or the ending is not a picture format.
            MissingExtraError: see `draw`.
            OSError: the file cannot be written.
        """
        save_picture(self.draw(image), path)

    def plot(self, image: "Drawable | None" = None, ax: "Axes | None" = None) -> "Axes":
        """Show what `draw` draws with matplotlib.

        Args:
            image: see `draw`.
            ax: where to show it; None makes a new figure.

        Returns:
            The axes, in pixels of the original picture.

        Raises:
            ImageError: see `draw`.
            MissingExtraError: matplotlib is not installed, or see `draw`.
        """
        return detections_shown.plotted(self, image, ax)


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return np.array_equal(one, other)
    return type(one) is type(other) and bool(one == other)
