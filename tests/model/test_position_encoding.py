import math

import pytest
import torch

from groundling.model.position_encoding import (
    LearnedPositionEncoding,
    SinePositionEncoding,
    box_position_encoding,
    sine_encoding,
    token_position_encoding,
)


def naive_sine(x: float, width: int, temperature: float) -> list[float]:
    angles = [2 * math.pi * x / temperature ** (2 * (j // 2) / width) for j in range(width)]
    return [math.cos(angle) if j % 2 else math.sin(angle) for j, angle in enumerate(angles)]


@pytest.mark.parametrize("x", [0.0, 0.5, 1.0, 3.25])
def test_sine_encoding(x: float) -> None:
    found = sine_encoding(torch.tensor([x]), 8, 10_000.0)[0]
    torch.testing.assert_close(found, torch.tensor(naive_sine(x, 8, 10_000.0)), atol=1e-5, rtol=0)


def test_known_values() -> None:
    expected = torch.tensor([-8.7e-8, -1.0, 0.0314108, 0.9995066])
    torch.testing.assert_close(sine_encoding(torch.tensor(0.5), 4, 10_000.0), expected, atol=1e-6, rtol=0)


def test_box_parts_come_in_the_order_of_the_reference() -> None:
    box = torch.tensor([[[0.1, 0.2, 0.3, 0.4]]])
    parts = [naive_sine(x, 4, 10_000.0) for x in (0.2, 0.1, 0.3, 0.4)]
    torch.testing.assert_close(box_position_encoding(box, 8)[0, 0], torch.tensor(parts).flatten(), atol=1e-5, rtol=0)


def test_pixels_are_counted_within_the_picture_not_the_padding() -> None:
    encode = SinePositionEncoding(width=8, temperature=20.0)
    small = encode(torch.ones(1, 2, 3, dtype=torch.bool))
    padded_valid = torch.zeros(1, 4, 5, dtype=torch.bool)
    padded_valid[:, :2, :3] = True
    torch.testing.assert_close(encode(padded_valid)[:, :2, :3], small, atol=1e-5, rtol=0)
    y, x = 2 / (2 + 1e-6), 1 / (3 + 1e-6)
    expected = torch.tensor([*naive_sine(y, 4, 20.0), *naive_sine(x, 4, 20.0)])
    torch.testing.assert_close(small[0, 1, 0], expected, atol=1e-4, rtol=0)


def test_learned_encoding_has_columns_first() -> None:
    encode = LearnedPositionEncoding(width=4)
    found = encode(torch.ones(2, 3, 5, dtype=torch.bool))
    assert found.shape == (2, 3, 5, 4)
    assert torch.equal(found[1, 2, 4], torch.cat([encode.column_embedding.weight[4], encode.row_embedding.weight[2]]))


def test_token_positions() -> None:
    found = token_position_encoding(torch.tensor([[0, 3]]), 6)
    torch.testing.assert_close(found[0, 1], torch.tensor(naive_sine(3.0, 6, 10_000.0)), atol=1e-5, rtol=0)
