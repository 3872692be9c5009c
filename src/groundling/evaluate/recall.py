"""Of the phrases that mean something, how many does one of the best k boxes hit?"""

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from groundling.data.record import Record
from groundling.evaluate.found import Found
from groundling.evaluate.protocol import RECALL_RANKS
from groundling.ops.boxes import pairwise_iou

HIT_IOU = 0.5


@dataclass(slots=True)
class RecallCounter:
    """Counts hits, picture by picture.

    A phrase may mean several objects. By the any-box rule a box must overlap one of them by an IoU of at least 0.5; by
    the merged-box rule it must so overlap the smallest box around all of them. Phrases that mean no object in their
    picture are not counted.

    Attributes:
        phrases: how many phrases were counted.
        without_object: how many phrases mean no object.
        any_box: for each rank k the phrases that one of the best k boxes hits, by the any-box rule.
        merged_box: the same by the merged-box rule.
    """

    phrases: int = 0
    without_object: int = 0
    any_box: dict[int, int] = field(default_factory=lambda: dict.fromkeys(RECALL_RANKS, 0))
    merged_box: dict[int, int] = field(default_factory=lambda: dict.fromkeys(RECALL_RANKS, 0))

    def add(self, record: Record, found: Found) -> None:
        """Count the phrases of one picture."""
        for label in range(len(record.labels)):
            meant = record.boxes_xyxy[record.positive_NL[:, label] & ~record.crowd_N]
            if not len(meant):
                self.without_object += 1
                continue
            self.phrases += 1
            boxes = found.boxes_xyxy[found.label_ids == label][: RECALL_RANKS[-1]]
            merged = np.concatenate([meant[:, :2].min(axis=0), meant[:, 2:].max(axis=0)])[None]
            for truth, hits in ((meant, self.any_box), (merged, self.merged_box)):
                is_hit = overlaps(boxes, truth).max(axis=1, initial=0) >= HIT_IOU
                for rank in RECALL_RANKS:
                    hits[rank] += bool(is_hit[:rank].any())

    def numbers(self) -> dict[str, float]:
        """Return the shares by name, 0..1; NaN where no phrase was counted."""
        shares = {"accuracy@0.5": self._share(self.any_box[1])}
        shares |= {f"R@{rank}": self._share(hits) for rank, hits in self.any_box.items()}
        return shares | {f"R@{rank}_merged": self._share(hits) for rank, hits in self.merged_box.items()}

    def _share(self, hits: int) -> float:
        return hits / self.phrases if self.phrases else float("nan")


def overlaps(boxes_xyxy: NDArray[np.float32], others_xyxy: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the IoU of each box [N, 4] with each other box [M, 4] as [N, M]."""
    iou: NDArray[np.float32] = pairwise_iou(torch.from_numpy(boxes_xyxy), torch.from_numpy(others_xyxy)).numpy()
    return iou
