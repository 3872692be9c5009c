"""Position encodings of pixels, tokens and boxes.

Shapes: B image, H height, W width, T text token, Q query, D width.
"""

import math

import torch
from torch import Tensor, nn

from groundling.errors import ImageError

TOKEN_TEMPERATURE = 10_000.0
BOX_TEMPERATURE = 10_000.0
LEARNED_CELLS = 50
"""Rows and columns that the learned encoding has."""


def sine_encoding(coordinate: Tensor, width: int, temperature: float) -> Tensor:
    """Encode numbers as interleaved sines and cosines of 2π x / temperature^(2⌊j/2⌋ / width).

    Args:
        coordinate: any shape; one unit is a full turn of the first sine.
        width: how many numbers encode one coordinate; even.
        temperature: ratio of the longest to the shortest wavelength.

    Returns:
        The shape of `coordinate` with a last axis of `width`, float32.
    """
    exponent = 2 * (torch.arange(width, device=coordinate.device, dtype=torch.float32) // 2) / width
    angle = coordinate.float()[..., None] * (2 * math.pi) / temperature**exponent
    return torch.stack([angle[..., 0::2].sin(), angle[..., 1::2].cos()], dim=-1).flatten(-2)


def token_position_encoding(position_BT: Tensor, width: int) -> Tensor:
    """Encode the place of each token in its phrase, [B, T, D]."""
    return sine_encoding(position_BT, width, TOKEN_TEMPERATURE)


def box_position_encoding(box_BQ4: Tensor, width: int) -> Tensor:
    """Encode boxes (cx, cy, w, h), [B, Q, 2 * width]; the parts come in the order cy, cx, w, h."""
    cx_BQ, cy_BQ, width_BQ, height_BQ = box_BQ4.unbind(dim=-1)
    parts_BQ4 = torch.stack([cy_BQ, cx_BQ, width_BQ, height_BQ], dim=-1)
    return sine_encoding(parts_BQ4, width // 2, BOX_TEMPERATURE).flatten(-2)


class SinePositionEncoding(nn.Module):
    """Encode each cell of a map by its place within the un-padded picture (DETR, Carion et al. 2020)."""

    def __init__(self, *, width: int, temperature: float) -> None:
        super().__init__()
        self.width = width
        self.temperature = temperature

    def forward(self, valid_BHW: Tensor) -> Tensor:
        """Return the encoding [B, H, W, D] in float32, the half for y first.

        Args:
            valid_BHW: True where a cell is picture.
        """
        y_BHW = valid_BHW.cumsum(1).float()
        x_BHW = valid_BHW.cumsum(2).float()
        y_BHW = y_BHW / (y_BHW[:, -1:, :] + 1e-6)
        x_BHW = x_BHW / (x_BHW[:, :, -1:] + 1e-6)
        parts = [sine_encoding(part, self.width // 2, self.temperature) for part in (y_BHW, x_BHW)]
        return torch.cat(parts, dim=-1)


class LearnedPositionEncoding(nn.Module):
    """Encode each cell by learned vectors of its column and row; maps of up to 50 by 50 cells."""

    def __init__(self, *, width: int) -> None:
        super().__init__()
        self.row_embedding = nn.Embedding(LEARNED_CELLS, width // 2)
        self.column_embedding = nn.Embedding(LEARNED_CELLS, width // 2)

    def forward(self, valid_BHW: Tensor) -> Tensor:
        """Return the encoding [B, H, W, D], the half for x first.

        Args:
            valid_BHW: only its shape is used.

        Raises:
            ImageError: the map has more rows or columns than there are learned vectors.
        """
        batch, height, width = valid_BHW.shape
        if max(height, width) > LEARNED_CELLS:
            raise ImageError(
                f"The picture gives a feature map of {height} x {width} cells, but learned position encodings have "
                f"{LEARNED_CELLS} rows and columns. Use smaller pictures or position_embedding_type='sine'."
            )
        x_WC = self.column_embedding.weight[:width]
        y_HC = self.row_embedding.weight[:height]
        x_HWC = x_WC[None].expand(height, -1, -1)
        y_HWC = y_HC[:, None].expand(-1, width, -1)
        return torch.cat([x_HWC, y_HWC], dim=-1)[None].expand(batch, -1, -1, -1)
