"""The same masks as transformers, from the picture to the mask, for every family and shape of picture."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import transformers
from numpy.typing import NDArray
from PIL import Image
from transformers import SamHQProcessor, SamImageProcessorPil, SamProcessor

from groundling.segmentation import MaskOptions, Segmenter
from random_segmenters import SIDE, picture, some_boxes

SHAPES = [(64, 64), (90, 60), (50, 111), (300, 300), (64, 1), (1, 64), (200, 5)]
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

Expected = tuple[NDArray[np.bool_], NDArray[np.float32]]


def _agree(
    segmenter: Segmenter, pixels: NDArray[np.uint8], boxes: NDArray[np.float32], several: bool, expected: Expected
) -> None:
    (encoded,) = segmenter.encode([pixels])
    masks, scores = segmenter.decode(encoded, boxes, MaskOptions(best_of_three=several))
    found, (wanted, quality) = masks.to_array(), expected
    assert 0.02 < wanted.mean() < 0.98, "the masks say nothing"
    # an edge may round to the other side: Pillow, with which the reference resizes, differs by a grey level
    most = 0 if pixels.shape[:2] == (SIDE, SIDE) else max(1, 2e-3 * found.size)
    assert np.count_nonzero(found != wanted) <= most
    np.testing.assert_allclose(scores, quality.clip(0, 1), atol=2e-3)


@torch.inference_mode()
def _best(masks: list[torch.Tensor], outputs: Any) -> Expected:
    quality = outputs.iou_scores[0].numpy()
    rows = np.arange(len(quality))
    best = quality.argmax(axis=1)
    return masks[0].numpy()[rows, best], quality[rows, best]


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("wh", SHAPES, ids=str)
@pytest.mark.parametrize("kind", ["sam", "sam_hq"])
def test_padded_families(
    kind: str, wh: tuple[int, int], several: bool, segmenter_of: Callable[[str], Segmenter]
) -> None:
    """SAM and SAM-HQ: their own processor before and after the model."""
    segmenter = segmenter_of(kind)
    image_processor = SamImageProcessorPil(size={"longest_edge": SIDE}, pad_size={"height": SIDE, "width": SIDE})
    processor = (SamProcessor if kind == "sam" else SamHQProcessor)(image_processor)
    pixels, boxes = picture(*wh), some_boxes(5, *wh)
    inputs = processor(Image.fromarray(pixels), input_boxes=[boxes.tolist()], return_tensors="pt")
    with torch.inference_mode():
        outputs = segmenter.model(
            pixel_values=inputs["pixel_values"], input_boxes=inputs["input_boxes"].float(), multimask_output=several
        )
    masks = processor.post_process_masks(outputs.pred_masks, inputs["original_sizes"], inputs["reshaped_input_sizes"])
    _agree(segmenter, pixels, boxes, several, _best(masks, outputs))


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("wh", SHAPES, ids=str)
@pytest.mark.parametrize("kind", ["sam2", "sam2_video", "edgetam", "edgetam_video"])
def test_stretched_families(
    kind: str, wh: tuple[int, int], several: bool, segmenter_of: Callable[[str], Segmenter]
) -> None:
    """SAM 2 and EdgeTAM: stretched to the square, and straight back (their processor needs torchvision)."""
    segmenter = segmenter_of(kind)
    pixels, boxes = picture(*wh), some_boxes(5, *wh)
    square = np.asarray(Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.BILINEAR), np.float32) / 255
    values = torch.from_numpy(((square - MEAN) / STD).astype(np.float32)).permute(2, 0, 1)[None]
    scale = torch.tensor([SIDE / wh[0], SIDE / wh[1]] * 2)
    with torch.inference_mode():
        outputs = segmenter.model(
            pixel_values=values, input_boxes=(torch.from_numpy(boxes) * scale)[None], multimask_output=several
        )
        logits = F.interpolate(outputs.pred_masks[0], wh[::-1], mode="bilinear", align_corners=False)
    _agree(segmenter, pixels, boxes, several, _best([logits > 0], outputs))


@pytest.mark.parametrize("kind", ["sam2", "edgetam"])
def test_a_video_checkpoint_holds_the_image_model(
    kind: str, segmenter_of: Callable[[str], Segmenter], folder_of: Callable[[str], Any]
) -> None:
    """Every weight of the image model is that of the video model that was saved."""
    name = {"sam2": "Sam2VideoModel", "edgetam": "EdgeTamVideoModel"}[kind]
    saved = getattr(transformers, name).from_pretrained(folder_of(f"{kind}_video")).state_dict()
    for key, weight in segmenter_of(f"{kind}_video").model.state_dict().items():
        torch.testing.assert_close(weight, saved[key], rtol=0, atol=0)
