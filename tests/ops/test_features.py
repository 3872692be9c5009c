"""Features of several prompts and pictures, put together and taken apart."""

import pytest
import torch

from groundling.ops.features import pad_text, stack_text, take_images
from groundling.pipeline.text_cache import text_row
from groundling.structures.features import ImageFeatures, TextFeatures


def text(length, seed=0, valid=None):
    generator = torch.Generator().manual_seed(seed)
    valid_BT = torch.arange(length)[None] < (length if valid is None else valid)
    same_BTT = torch.eye(length, dtype=torch.bool)[None]
    return TextFeatures(torch.randn(1, length, 4, generator=generator), valid_BT, same_BTT, torch.arange(length)[None])


def check_same(one, other):
    for left, right in zip(one, other, strict=True):
        assert torch.equal(left, right)


def test_stacked_rows_come_back():
    parts = [text(3), text(7, 1), text(1, 2)]
    stacked = stack_text(parts)
    assert stacked.token_BTD.shape == (3, 7, 4)
    assert stacked.valid_BT.sum(dim=1).tolist() == [3, 7, 1]
    assert stacked.same_phrase_BTT.diagonal(dim1=1, dim2=2).all()
    for row, part in enumerate(parts):
        check_same(text_row(stacked, row, part.token_BTD.shape[1]), part)


def test_one_prompt_is_not_copied():
    one = text(5)
    assert stack_text([one]) is one
    assert pad_text(one, 5) is one


def test_padding_belongs_to_no_phrase():
    padded = pad_text(text(2), 4)
    assert padded.valid_BT.tolist() == [[True, True, False, False]]
    assert torch.equal(padded.same_phrase_BTT[0], torch.eye(4, dtype=torch.bool))


@pytest.mark.parametrize("rows", [[0, 1], [1, 0], [1, 1, 0], [1]])
def test_pictures_are_taken_by_row(rows):
    token = torch.randn(2, 3, 4)
    image = ImageFeatures(token, token + 1, token[..., 0] > 0, torch.rand(2, 1, 2), torch.ones(1, 2), [(1, 3)], False)
    taken = take_images(image, rows)
    assert torch.equal(taken.token_BSD, token[rows])
    assert torch.equal(taken.position_BSD, token[rows] + 1)
    assert torch.equal(taken.valid_BS, image.valid_BS[rows])
    assert torch.equal(taken.valid_ratio_BL2, image.valid_ratio_BL2[rows])
    assert (taken is image) == (rows == [0, 1])
