"""What every reader yields: one picture and what is known to be in it.

Shapes: N labelled object, L label.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from groundling.errors import DatasetError
from groundling.pictures.reading import open_picture
from groundling.structures.masks import Masks
from groundling.structures.prompt import Caption


@dataclass(frozen=True, slots=True, eq=False)
class Record:
    """One picture with its labelled objects.

    Attributes:
        key: names the picture in its data set; unique there.
        picture: its file, or the picture itself, upright RGB.
        image_wh: width and height in pixels, upright.
        labels: the names, phrases or expressions that mean something in this picture, each once.
        boxes_xyxy: boxes of the objects [N, 4], float32, pixels.
        positive_NL: which labels mean which object [N, L], bool; a label can mean several objects and an object can
            have several labels.
        absent: names that are known to mean nothing in this picture; None means every other name of the data set.
        caption: the sentence whose phrases the labels are; None where the labels are names.
        crowd_N: True for a box around a group that nobody counted; it is neither learned nor counted as a mistake.
        partial: names of which only some things are labelled here, so that a thing without a box may well be one of
            them; they are neither learned nor counted as mistakes.
        score_N: how sure a model is of each box, 0..1 [N]; None where people have drawn the boxes.
        masks: which pixels belong to each object, one mask for each box, in the size of the picture; None where nobody
            knows. A mask may be empty.
    """

    key: str
    picture: Path | Image.Image
    image_wh: tuple[int, int]
    labels: tuple[str, ...]
    boxes_xyxy: NDArray[np.float32]
    positive_NL: NDArray[np.bool_]
    absent: tuple[str, ...] | None = None
    caption: Caption | None = None
    crowd_N: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, np.bool_))
    partial: tuple[str, ...] = ()
    score_N: NDArray[np.float32] | None = None
    masks: Masks | None = None

    def __post_init__(self) -> None:
        count = len(self.boxes_xyxy)
        if not len(self.crowd_N):
            object.__setattr__(self, "crowd_N", np.zeros(count, np.bool_))
        if self.boxes_xyxy.shape != (count, 4) or self.crowd_N.shape != (count,):
            raise DatasetError(
                f"{self.key}: boxes_xyxy must have the shape [N, 4] and crowd_N [N], "
                f"but they have {self.boxes_xyxy.shape} and {self.crowd_N.shape}."
            )
        if self.score_N is not None and self.score_N.shape != (count,):
            raise DatasetError(f"{self.key}: score_N must have the shape [{count}], but has {self.score_N.shape}.")
        if self.masks is not None and (len(self.masks), self.masks.image_wh) != (count, self.image_wh):
            raise DatasetError(
                f"{self.key}: masks must be {count} of {self.image_wh[0]} x {self.image_wh[1]} pixels, one for each "
                f"box, but are {self.masks}."
            )
        if self.positive_NL.shape != (count, len(self.labels)):
            raise DatasetError(
                f"{self.key}: positive_NL must have the shape {(count, len(self.labels))}, one row for each box and "
                f"one column for each label, but has {self.positive_NL.shape}."
            )
        corners = self.boxes_xyxy
        if not (np.isfinite(corners).all() and (corners[:, :2] <= corners[:, 2:]).all()):
            raise DatasetError(
                f"{self.key}: boxes_xyxy must be finite, with left <= right and top <= bottom, but is "
                f"{corners.tolist()!s:.200}."
            )
        if self.caption is None and len(set(self.labels)) < len(self.labels):
            raise DatasetError(f"{self.key}: each label must stand once, but they are {self.labels!r:.200}.")
        if self.caption is not None and self.caption.phrases != self.labels:
            raise DatasetError(f"{self.key}: the labels {self.labels} are not the phrases of the caption.")

    def open(self) -> Image.Image:
        """Return the picture as upright RGB.

        Raises:
            ImageError: the file is missing or broken.
        """
        return open_picture(self.picture) if isinstance(self.picture, Path) else self.picture


class Dataset(Protocol):
    """Records by number.

    Attributes:
        names: the vocabulary that detection labels come from; empty where labels are phrases of captions.
    """

    @property
    def names(self) -> tuple[str, ...]:
        """The vocabulary."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Record: ...


def one_label_each(label_ids: Sequence[int], num_labels: int) -> NDArray[np.bool_]:
    """Return `positive_NL` for objects that have exactly one label each."""
    positive_NL = np.zeros((len(label_ids), num_labels), np.bool_)
    positive_NL[np.arange(len(label_ids)), np.asarray(label_ids, np.int64)] = True
    return positive_NL
