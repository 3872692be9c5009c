"""What the model found in one picture of a data set."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from groundling.structures.masks import Masks


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """Boxes of one picture, best first.

    Attributes:
        index: number of the picture in the data set.
        boxes_xyxy: corners in pixels of the original picture, float32 [N, 4].
        scores: 0..1, float32 [N].
        label_ids: which of the labels that the picture was asked for, int64 [N].
        masks: what a segmenter makes of these boxes, N of them; None where none was asked.
        true_box_masks: what it makes of the boxes of the record, one for each; None where none was asked.
    """

    index: int
    boxes_xyxy: NDArray[np.float32]
    scores: NDArray[np.float32]
    label_ids: NDArray[np.int64]
    masks: Masks | None = None
    true_box_masks: Masks | None = None

    def __len__(self) -> int:
        return len(self.scores)
