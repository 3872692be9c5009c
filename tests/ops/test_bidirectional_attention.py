import pytest
import torch
from torch import Tensor

from groundling.ops import chunks
from groundling.ops.bidirectional_attention import bidirectional_attention, bidirectional_weights


def random_inputs(batch: int, images: int, texts: int, spread: float = 5.0) -> tuple[Tensor, ...]:
    torch.manual_seed(images)
    # large scores: sums must be scaled down on the way
    image, key = torch.randn(batch, images, 6) * spread, torch.randn(batch, 2, texts, 6) * spread
    offset = torch.randn(batch, 2, texts, 1)
    if texts > 1:
        offset[:, :, -1] = -torch.inf
    return tuple(x.double() for x in (image, key, offset, torch.randn(batch, 2, texts, 6)))


def naive(image: Tensor, key: Tensor, offset: Tensor, value: Tensor, valid: Tensor | None) -> tuple[Tensor, Tensor]:
    to_text, to_image = bidirectional_weights(image, key, offset, valid)
    return torch.einsum("bhts,bhtd->bsd", to_text, value), torch.einsum("bhts,bsd->bhtd", to_image, image)


@pytest.mark.parametrize(
    ("batch", "images", "texts"), [(1, 1, 1), (1, 7, 3), (1, 8, 1), (2, 40, 5)], ids=["one", "one chunk", "even", "two"]
)
@pytest.mark.parametrize("padded", [False, True])
def test_equals_the_weights(batch: int, images: int, texts: int, padded: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "ROWS", 4)
    inputs = random_inputs(batch, images, texts)
    valid = torch.rand(batch, images) < 0.7 if padded else None
    if valid is not None:
        valid[:, 0] = True
    with torch.no_grad():
        for found, expected in zip(bidirectional_attention(*inputs, valid), naive(*inputs, valid), strict=True):
            torch.testing.assert_close(found, expected)


def test_a_first_chunk_of_padding_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "ROWS", 4)
    inputs, valid = random_inputs(1, 9, 3), torch.arange(9)[None] >= 6
    with torch.no_grad():
        for found, expected in zip(bidirectional_attention(*inputs, valid), naive(*inputs, valid), strict=True):
            torch.testing.assert_close(found, expected)


def test_each_image_token_shares_out_what_the_texts_tell() -> None:
    image, key, offset, _ = random_inputs(1, 5, 4)
    to_text, to_image = bidirectional_weights(image, key, offset, None)
    torch.testing.assert_close(to_text.sum(dim=2), torch.ones(1, 2, 5, dtype=torch.float64))
    torch.testing.assert_close(to_image.sum(dim=3), torch.ones(1, 2, 4, dtype=torch.float64))
    assert (to_text[:, :, -1] == 0).all(), "padding is not looked at"


def test_half_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "ROWS", 4)
    inputs = tuple(x.bfloat16() for x in random_inputs(1, 30, 3, spread=1.0))
    with torch.no_grad():
        found = bidirectional_attention(*inputs, None)
        expected = naive(*(x.double() for x in inputs), None)
    for ours, exact in zip(found, expected, strict=True):
        assert ours.dtype == torch.bfloat16
        # scores of up to 8 are rounded by up to 2 ** -6, and so, relatively, are the weights
        torch.testing.assert_close(ours.double(), exact, rtol=0, atol=0.03)
