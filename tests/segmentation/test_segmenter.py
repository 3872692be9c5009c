"""Boxes in, masks out: any number of them, in any batch, from any thread."""

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from groundling.errors import ConfigError, DatasetError, GroundlingError, ImageError
from groundling.segmentation import MaskOptions, Segmenter
from groundling.segmentation import segmenter as module
from groundling.structures.masks import Masks
from random_segmenters import KINDS, picture, some_boxes

SegmenterOf = Callable[[str], Segmenter]
ONE_EACH = ("sam", "sam_hq", "sam2", "edgetam")


def _alike(one: Masks, other: Masks) -> None:
    """Masks that differ by the rounding of floating numbers at most."""
    assert one.image_wh == other.image_wh
    assert len(one) == len(other)
    differing = np.count_nonzero(one.to_array() != other.to_array())
    assert differing <= 1e-3 * len(one) * one.image_wh[0] * one.image_wh[1]


@pytest.fixture
def no_decoder(segmenter_of: SegmenterOf, monkeypatch: pytest.MonkeyPatch) -> Segmenter:
    """A segmenter whose decoder must not be used."""
    segmenter = segmenter_of("sam")
    monkeypatch.setattr(segmenter.model, "forward", lambda **_: pytest.fail("the decoder was used"))
    return segmenter


# Boxes


@pytest.mark.parametrize(
    "boxes", [[], np.zeros((0, 4)), np.zeros((0, 4), np.float32)], ids=["list", "float64", "float32"]
)
def test_no_boxes(no_decoder: Segmenter, boxes: Any) -> None:
    masks, scores = no_decoder.decode(no_decoder.encode([picture(40, 30)])[0], boxes)
    assert masks == Masks((), (40, 30))
    assert scores.shape == (0,)
    assert scores.dtype == np.float32


@pytest.mark.parametrize("kind", ONE_EACH)
@pytest.mark.parametrize("chunk", [1, 3, 8])
def test_chunks_change_no_result(kind: str, chunk: int, segmenter_of: SegmenterOf) -> None:
    segmenter, boxes = segmenter_of(kind), some_boxes(7, 90, 60)
    (encoded,) = segmenter.encode([picture(90, 60)])
    masks, scores = segmenter.decode(encoded, boxes)
    parts, part_scores = segmenter.decode(encoded, boxes, MaskOptions(chunk=chunk))
    _alike(parts, masks)
    np.testing.assert_allclose(part_scores, scores, atol=1e-5)
    assert scores.dtype == np.float32
    assert (scores >= 0).all()
    assert (scores <= 1).all()


def test_masks_are_enlarged_a_few_at_a_time(segmenter_of: SegmenterOf, monkeypatch: pytest.MonkeyPatch) -> None:
    segmenter, boxes = segmenter_of("sam"), some_boxes(9, 90, 60)
    (encoded,) = segmenter.encode([picture(90, 60)])
    whole, _ = segmenter.decode(encoded, boxes)
    sizes = []
    restored = type(segmenter.preparation).restored

    def noted(self: Any, logits: torch.Tensor, image_wh: tuple[int, int]) -> torch.Tensor:
        sizes.append(len(logits))
        return restored(self, logits, image_wh)

    monkeypatch.setattr(type(segmenter.preparation), "restored", noted)
    monkeypatch.setattr(module, "MOST_PIXELS", 4 * 90 * 60 + 1)
    assert segmenter.decode(encoded, boxes)[0] == whole
    assert sizes == [4, 4, 1]


@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        pytest.param([[]], "boxes_xyxy must have the shape (N, 4)", id="empty row"),
        pytest.param([1, 2, 3, 4], "boxes_xyxy must have the shape (N, 4)", id="one box without a list"),
        pytest.param([[1, 2, 3]], "boxes_xyxy must have the shape (N, 4)", id="three numbers"),
        pytest.param([[1, 2, 3, np.nan]], "NaN or infinity", id="not a number"),
        pytest.param([[1, 2, np.inf, 4]], "NaN or infinity", id="infinity"),
        pytest.param(
            [[1, 2, 3, 4], [9, 2, 3, 4]], "boxes_xyxy[1] is [9.0, 2.0, 3.0, 4.0]: right is left", id="inverted"
        ),
        pytest.param([["1", "2", "3", "4"]], "boxes_xyxy must hold numbers", id="text"),
    ],
)
def test_impossible_boxes(no_decoder: Segmenter, boxes: Any, message: str) -> None:
    (encoded,) = no_decoder.encode([picture(40, 30)])
    with pytest.raises(DatasetError, match=re.escape(message)):
        no_decoder.decode(encoded, boxes)


def test_boxes_are_cut_at_the_edges(segmenter_of: SegmenterOf) -> None:
    segmenter = segmenter_of("sam")
    (encoded,) = segmenter.encode([picture(40, 30)])
    cut, cut_scores = segmenter.decode(encoded, [[-5, -5, 20, 10], [20, 10, 900, 900]])
    inside, scores = segmenter.decode(encoded, [[0, 0, 20, 10], [20, 10, 40, 30]])
    assert cut == inside
    np.testing.assert_array_equal(cut_scores, scores)


def test_a_box_outside_the_picture_has_an_empty_mask(segmenter_of: SegmenterOf) -> None:
    segmenter = segmenter_of("sam2")
    (encoded,) = segmenter.encode([picture(40, 30)])
    outside = [[-9, 1, 0, 5], [40, 1, 50, 5], [1, -9, 5, -1], [1, 30, 5, 31]]
    masks, scores = segmenter.decode(encoded, [*outside, [5, 5, 30, 20]])
    assert masks.areas[:4].tolist() == [0, 0, 0, 0]
    assert scores[:4].tolist() == [0, 0, 0, 0]
    alone, score = segmenter.decode(encoded, [[5, 5, 30, 20]])
    assert masks[4:] == alone
    assert scores[4] == pytest.approx(score[0])
    assert alone.areas[0] > 0


@pytest.mark.parametrize("box", [[7, 7, 7, 7], [7, 7, 9, 7], [7, 7, 7, 9], [0, 0, 0, 0]], ids=str)
def test_a_box_without_area_has_an_empty_mask(no_decoder: Segmenter, box: list[int]) -> None:
    masks, scores = no_decoder.decode(no_decoder.encode([picture(40, 30)])[0], [box])
    assert masks.areas.tolist() == scores.tolist() == [0]


@pytest.mark.parametrize("encoded", [None, [], picture(40, 30)], ids=["none", "list", "picture"])
def test_a_picture_must_be_encoded(no_decoder: Segmenter, encoded: Any) -> None:
    with pytest.raises(TypeError, match=r"must come from Segmenter\.encode, got"):
        no_decoder.decode(encoded, [[1, 2, 3, 4]])


# Options


@pytest.mark.parametrize("kind", ONE_EACH)
def test_the_best_of_three_is_kept(kind: str, segmenter_of: SegmenterOf) -> None:
    segmenter, boxes = segmenter_of(kind), some_boxes(6, 90, 60)
    (encoded,) = segmenter.encode([picture(90, 60)])
    _, scores = segmenter.decode(encoded, boxes, MaskOptions(best_of_three=True))
    with torch.inference_mode():
        outputs = segmenter.model(
            **segmenter.family.arguments(encoded.features),
            input_boxes=segmenter.preparation.boxes(boxes, (90, 60))[None],
            multimask_output=True,
        )
    assert outputs.iou_scores.shape == (1, 6, 3)
    np.testing.assert_allclose(scores, outputs.iou_scores[0].amax(dim=1).clamp(0, 1), atol=1e-5)


@pytest.mark.parametrize("options", [None, 3, {"chunk": 3}], ids=repr)
def test_other_options_are_refused_also_without_boxes(no_decoder: Segmenter, options: Any) -> None:
    (encoded,) = no_decoder.encode([picture(40, 30)])
    with pytest.raises(ConfigError, match="masks must be MaskOptions, got"):
        no_decoder.decode(encoded, [], options)


def test_masks_are_cleaned(segmenter_of: SegmenterOf) -> None:
    from groundling.segmentation.cleaning import clean

    segmenter, boxes = segmenter_of("sam"), some_boxes(6, 90, 60)
    (encoded,) = segmenter.encode([picture(90, 60)])
    plain, scores = segmenter.decode(encoded, boxes)
    cleaned, same_scores = segmenter.decode(encoded, boxes, MaskOptions(fill_holes=300, drop_islands=300))
    expected = np.stack([clean(mask, fill_holes=300, drop_islands=300) for mask in plain])
    np.testing.assert_array_equal(cleaned.to_array(), expected)
    np.testing.assert_array_equal(scores, same_scores)
    assert cleaned != plain, "there was nothing to clean"


# Pictures


@pytest.mark.parametrize("kind", KINDS)
def test_batch_mates_change_no_result(kind: str, segmenter_of: SegmenterOf) -> None:
    segmenter = segmenter_of(kind)
    pictures = [picture(90, 60, 0), picture(30, 80, 1), picture(64, 64, 2)]
    counts = [0, 5, 1]
    for one, encoded, count in zip(pictures, segmenter.encode(pictures), counts, strict=True):
        size = (one.shape[1], one.shape[0])
        assert encoded.image_wh == size
        masks, scores = segmenter.decode(encoded, some_boxes(count, *size))
        alone, alone_scores = segmenter.decode(segmenter.encode([one])[0], some_boxes(count, *size))
        _alike(masks, alone)
        np.testing.assert_allclose(scores, alone_scores, atol=1e-4)


def test_a_picture_is_encoded_once(segmenter_of: SegmenterOf, monkeypatch: pytest.MonkeyPatch) -> None:
    segmenter, calls = segmenter_of("sam"), []
    handle = segmenter.model.vision_encoder.register_forward_hook(lambda *_: calls.append(1))
    (encoded,) = segmenter.encode([picture(40, 30)])
    for count in (0, 1, 5):
        segmenter.decode(encoded, some_boxes(count, 40, 30), MaskOptions(chunk=2))
    handle.remove()
    assert calls == [1]


@pytest.mark.parametrize(
    ("pictures", "message"),
    [
        pytest.param([np.zeros((0, 5, 3), np.uint8)], "Picture 0 must be an RGB array", id="empty"),
        pytest.param([np.zeros((5, 5), np.uint8)], "but is uint8 (5, 5)", id="grey"),
        pytest.param([np.zeros((5, 5, 4), np.uint8)], "but is uint8 (5, 5, 4)", id="RGBA"),
        pytest.param([np.zeros((3, 5, 5), np.uint8)], "but is uint8 (3, 5, 5)", id="channels first"),
        pytest.param([np.zeros((1, 5, 5, 3), np.uint8)], "but is uint8 (1, 5, 5, 3)", id="batch"),
        pytest.param([np.zeros((5, 5, 3))], "but is float64 (5, 5, 3)", id="float"),
        pytest.param(["a.jpg"], "but is str", id="path"),
        pytest.param(np.zeros((2, 5, 5, 3), np.uint8), "must be a list of arrays, got one ndarray", id="one array"),
        pytest.param("a.jpg", "must be a list of arrays, got one str", id="one path"),
    ],
)
def test_other_pictures_are_refused(segmenter_of: SegmenterOf, pictures: Any, message: str) -> None:
    with pytest.raises(ImageError, match=re.escape(message)):
        segmenter_of("sam").encode(pictures)


def test_no_pictures(segmenter_of: SegmenterOf) -> None:
    assert segmenter_of("sam").encode([]) == []


# The whole


@pytest.mark.parametrize("kind", ONE_EACH)
def test_threads_share_a_segmenter(kind: str, segmenter_of: SegmenterOf) -> None:
    segmenter = segmenter_of(kind)

    def segment(seed: int) -> tuple[Masks, list[float]]:
        (encoded,) = segmenter.encode([picture(40, 30 + seed, seed)])
        masks, scores = segmenter.decode(encoded, some_boxes(4, 40, 30, seed), MaskOptions(chunk=2))
        return masks, scores.tolist()

    alone = [segment(seed) for seed in range(6)]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(segment, range(6))) == alone


def test_a_full_gpu_is_said_and_passed_on(segmenter_of: SegmenterOf, monkeypatch: pytest.MonkeyPatch) -> None:
    segmenter = segmenter_of("sam")
    (encoded,) = segmenter.encode([picture(40, 30)])

    def full(*_: Any, **__: Any) -> None:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(segmenter.model, "forward", full)
    with pytest.raises(torch.cuda.OutOfMemoryError, match="CUDA out of memory") as caught:
        segmenter.decode(encoded, some_boxes(2, 40, 30), MaskOptions(chunk=16))
    assert caught.value.__notes__ == ["Use a smaller chunk of boxes than 16."]
    monkeypatch.setattr(segmenter.model, "get_image_embeddings", full)
    with pytest.raises(torch.cuda.OutOfMemoryError) as caught:
        segmenter.encode([picture(40, 30)])
    assert "fewer pictures" in caught.value.__notes__[0]


def test_output_that_is_no_number_is_refused(segmenter_of: SegmenterOf) -> None:
    segmenter = segmenter_of("sam")
    (encoded,) = segmenter.encode([picture(40, 30)])
    broken = replace(encoded, features=tuple(torch.full_like(part, float("nan")) for part in encoded.features))
    with pytest.raises(GroundlingError, match="not a number"):
        segmenter.decode(broken, some_boxes(2, 40, 30))
