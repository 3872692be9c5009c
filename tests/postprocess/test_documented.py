from types import SimpleNamespace

import pytest
import torch
from transformers.models.grounding_dino.image_processing_pil_grounding_dino import GroundingDinoImageProcessorPil

from groundling.postprocess import detect_phrases, detect_tokens, phrase_token_ids
from groundling.processing import GroundingDinoImageProcessor


def outputs(seed: int = 0, dtype=torch.float32) -> SimpleNamespace:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(3, 20, 9, generator=generator).to(dtype)
    logits[:, :, 6:] = -torch.inf
    return SimpleNamespace(logits=logits, pred_boxes=torch.rand(3, 20, 4, generator=generator).to(dtype))


SIZES = [(480, 640), (20, 30), (7, 9)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
@pytest.mark.parametrize("threshold", [0.0, 0.1, 0.8, 1.0])
@pytest.mark.parametrize("sizes", [None, SIZES, tuple(SIZES), torch.tensor(SIZES), [(4.5, 3.5)] * 3], ids=str)
def test_token_detections_equal_the_reference(dtype, threshold, sizes) -> None:
    given = outputs(dtype=dtype)
    ours = GroundingDinoImageProcessor().post_process_object_detection(given, threshold, sizes)
    theirs = GroundingDinoImageProcessorPil().post_process_object_detection(given, threshold, sizes)
    for mine, other in zip(ours, theirs, strict=True):
        assert list(mine) == list(other) == ["scores", "labels", "boxes"]
        for key, value in mine.items():
            assert value.dtype == other[key].dtype, key
            assert torch.equal(value, other[key]), key


@pytest.mark.parametrize("detect", [detect_tokens, lambda *a, **k: detect_phrases(*a, text_threshold=0.2, **k)])
@pytest.mark.parametrize(
    ("sizes", "error", "message"),
    [
        pytest.param([], ValueError, "as many target sizes as images: got 0 sizes for 3 images", id="empty"),
        (SIZES[:2], ValueError, "got 2 sizes for 3 images"),
        (torch.tensor(SIZES)[:1], ValueError, "got 1 sizes for 3 images"),
        (dict(enumerate(SIZES)), TypeError, "must be a list, tuple or torch.Tensor .*got dict"),
        (torch.ones(3, 3), ValueError, "Each target size must be"),
    ],
)
def test_bad_target_sizes(detect, sizes, error, message) -> None:
    given = outputs()
    with pytest.raises(error, match=message):
        detect(given.logits, given.pred_boxes, threshold=0.5, target_sizes=sizes)


def test_sizes_may_be_a_list_of_tensors() -> None:
    given = outputs()
    for sizes in ([torch.tensor(size) for size in SIZES], SIZES):
        found = detect_tokens(given.logits, given.pred_boxes, threshold=0.5, target_sizes=sizes)
        assert found[0].boxes.max() > 100


def test_the_threshold_is_strict() -> None:
    logits, boxes = torch.zeros(1, 1, 4), torch.rand(1, 1, 4)
    assert len(detect_tokens(logits, boxes, threshold=0.5, target_sizes=None)[0].scores) == 0
    assert len(detect_tokens(logits, boxes, threshold=0.49, target_sizes=None)[0].scores) == 1
    found = detect_phrases(logits, boxes, threshold=0.49, text_threshold=0.5, target_sizes=None)[0]
    assert not found.token_mask.any()


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        pytest.param([], [], id="empty"),
        ([[1, 1, 1, 1, 1, 1]], [[11, 12, 13]]),
        ([[0, 0, 1, 0, 0, 0], [0, 0, 0, 0, 0, 1], [1, 0, 0, 0, 0, 0]], [[12], [], []]),
    ],
)
def test_first_and_last_column_and_columns_beyond_the_prompt_are_ignored(rows, expected) -> None:
    mask = torch.tensor(rows, dtype=torch.bool).reshape(-1, 6)
    before = mask.clone()
    assert phrase_token_ids(mask, [10, 11, 12, 13]) == expected
    assert torch.equal(mask, before)


def test_the_last_column_is_ignored_where_the_prompt_fills_it() -> None:
    assert phrase_token_ids(torch.ones(1, 4, dtype=torch.bool), [10, 11, 12, 13]) == [[11, 12]]
