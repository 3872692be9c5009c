"""The segmenter that comes with the package, on drawn scenes that it was not trained on."""

import numpy as np
import pytest

from groundling.data.scenes import Scene, make_scene
from groundling.segmentation import EncodedPicture, MaskOptions, Segmenter
from groundling.structures.masks import Masks

LEAST_IOU = 0.90
"""Mean IoU of the masks of true boxes: a little below the 0.91 and 0.92 of docs/nano_sam.md, for few scenes vary."""


@pytest.fixture(scope="module")
def seen(bundled: Segmenter) -> list[tuple[Scene, EncodedPicture]]:
    """A dozen scenes of several sizes, encoded; training has another seed."""
    scenes = [make_scene(31, number, split="seen", size=160 + 16 * (number % 4)) for number in range(12)]
    encoded = (bundled.encode([np.asarray(scene.image.convert("RGB"))])[0] for scene in scenes)
    return list(zip(scenes, encoded, strict=True))


@pytest.mark.parametrize("best_of_three", [False, True])
def test_true_boxes_give_true_masks(
    bundled: Segmenter, seen: list[tuple[Scene, EncodedPicture]], best_of_three: bool
) -> None:
    ious: list[float] = []
    predicted: list[float] = []
    for scene, encoded in seen:
        masks, scores = bundled.decode(encoded, scene.boxes_xyxy, MaskOptions(best_of_three=best_of_three))
        ious += np.diag(masks.iou(Masks.from_array(scene.masks))).tolist()
        predicted += scores.tolist()
    assert np.mean(ious) >= LEAST_IOU
    assert np.mean(predicted) == pytest.approx(np.mean(ious), abs=0.05), "the predicted IoU is off"


def test_it_is_small(bundled: Segmenter) -> None:
    size = sum(path.stat().st_size for path in bundled.folder.iterdir())
    assert size <= 8e6
