"""Masks of what was found, and of the true boxes."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version

import numpy as np

from groundling.data.record import Dataset, Record
from groundling.errors import ConfigError, DatasetError
from groundling.evaluate.found import Found
from groundling.evaluate.protocol import EvaluationProtocol
from groundling.pipeline.fingerprints import settings_fingerprint, weights_fingerprint
from groundling.segmentation import MaskOptions, Segmenter
from groundling.segmentation.options import USUAL_MASKS


@dataclass(frozen=True, slots=True)
class MaskMaker:
    """Gives boxes their masks.

    Attributes:
        segmenter: what makes them.
        options: how they are made and cleaned.
    """

    segmenter: Segmenter
    options: MaskOptions = USUAL_MASKS

    def add(self, records: Sequence[Record], found: Sequence[Found]) -> list[Found]:
        """Return what was found in some pictures with masks, and with those of the true boxes.

        Each picture is encoded once. Boxes that are found with several labels are segmented once.

        Args:
            records: the pictures; they are opened, and encoded together.
            found: what was found in each.

        Raises:
            ImageError: a picture cannot be read.
            GroundlingError: the segmenter's output is not a number.
        """
        if not records:
            return []
        encoded = self.segmenter.encode([np.asarray(record.open()) for record in records])
        made = []
        for record, one, picture in zip(records, found, encoded, strict=True):
            boxes = np.concatenate([one.boxes_xyxy, record.boxes_xyxy])
            different, row_of = np.unique(boxes, axis=0, return_inverse=True)
            masks, _ = self.segmenter.decode(picture, different, self.options)
            all_masks = masks[row_of.reshape(-1)]
            made.append(replace(one, masks=all_masks[: len(one)], true_box_masks=all_masks[len(one) :]))
        return made

    def describe(self, name: str) -> dict[str, object]:
        """Return everything about masks that changes figures.

        Args:
            name: what the user called the segmenter.
        """
        model = self.segmenter.model
        return {
            "name": name,
            "kind": self.segmenter.family.title,
            "weights": weights_fingerprint(model.state_dict().items()),
            "settings": settings_fingerprint(model.config.to_dict(), asdict(self.segmenter.preparation)),
            "dtype": str(self.segmenter.dtype).removeprefix("torch."),
            "best_of_three": self.options.best_of_three,
            "fill_holes": self.options.fill_holes,
            "drop_islands": self.options.drop_islands,
            "transformers": version("transformers"),
        }


def check_masks(dataset: Dataset, protocol: EvaluationProtocol) -> None:
    """Check that masks can be judged before any is made.

    Args:
        dataset: the records; there is at least one.
        protocol: how they are judged.

    Raises:
        ConfigError: phrases are judged.
        DatasetError: the first record has no masks. One after it without would be told when its figures are made:
            scenes are drawn when they are asked for, which is not done twice.
    """
    if protocol.metric == "recall":
        raise ConfigError("Masks are judged by average precision, and phrases by recall. Leave the segmenter out.")
    if dataset[0].masks is None:
        raise DatasetError(
            "The data set has no masks to judge those of a segmenter by. Open it with open_dataset(..., masks=True), "
            "or with SceneRecords(..., masks=True)."
        )
