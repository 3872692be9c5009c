"""Image backbone: Swin Transformer (Liu et al. 2021), pixels to multi-scale feature maps.

Shapes: B image, C channel, H height, W width, N token of a window, G window of all images, A head.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from groundling.model.layers import DropPath, FeedForward, Linear, MultiHeadAttention

SHIFT_MASK = -100.0
"""Added to the scores between regions that only the cyclic shift made neighbours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SwinBlockOptions:
    """What all blocks of a Swin Transformer have in common.

    Attributes:
        window_size: side of an attention window in cells; it is not shrunk for small maps.
        mlp_ratio: hidden width of the feed-forward network over the width.
        qkv_bias: whether query, key and value projections have a bias.
        activation: name of the feed-forward network's activation.
        dropout: chance to drop an activation.
        attention_dropout: chance to drop an attention weight.
        norm_eps: epsilon of the blocks' norms.
    """

    window_size: int
    mlp_ratio: float
    qkv_bias: bool
    activation: str
    dropout: float
    attention_dropout: float
    norm_eps: float


class SwinTransformer(nn.Module):
    """Swin Transformer that returns the maps of chosen stages.

    Args:
        patch_size: (height, width) of a patch in pixels.
        num_channels: colour channels of the picture.
        widths: width of each stage.
        depths: blocks of each stage.
        num_heads: attention heads of each stage.
        out_stages: 1-based numbers of the stages whose maps are returned.
        drop_path: chance that the last block is skipped in training; earlier blocks linearly less.
        block: what all blocks have in common.
    """

    def __init__(
        self,
        *,
        patch_size: tuple[int, int],
        num_channels: int,
        widths: list[int],
        depths: list[int],
        num_heads: list[int],
        out_stages: list[int],
        drop_path: float,
        block: SwinBlockOptions,
    ) -> None:
        super().__init__()
        self.window_size = block.window_size
        self.out_stages = tuple(out_stages)
        self.patch_embedding = PatchEmbedding(
            patch_size=patch_size, num_channels=num_channels, width=widths[0], dropout=block.dropout
        )
        last_block = max(sum(depths) - 1, 1)
        rates = [drop_path * index / last_block for index in range(sum(depths))]
        self.stages = nn.ModuleList()
        for stage, (width, depth, heads) in enumerate(zip(widths, depths, num_heads, strict=True)):
            stage_rates = [rates.pop(0) for _ in range(depth)]
            last = stage == len(widths) - 1
            self.stages.append(
                SwinStage(width=width, num_heads=heads, drop_paths=stage_rates, downsample=not last, block=block)
            )
        self.output_norms = nn.ModuleDict({f"stage{s}": nn.LayerNorm(widths[s - 1]) for s in out_stages})
        # The norm before Swin's classification head: part of every file, never used for detection.
        self.final_norm = nn.LayerNorm(widths[-1]).requires_grad_(False)

    def forward(self, pixel_BCHW: Tensor) -> list[Tensor]:
        """Return one map [B, C, H, W] for each of `out_stages`, finest first."""
        x_BHWC = self.patch_embedding(pixel_BCHW)
        index_NN = relative_position_index(self.window_size, pixel_BCHW.device)
        maps = []
        for number, stage in enumerate(self.stages, start=1):
            assert isinstance(stage, SwinStage)
            x_BHWC = stage(x_BHWC, index_NN)
            if number in self.out_stages:
                map_BHWC = self.output_norms[f"stage{number}"](x_BHWC)
                maps.append(map_BHWC.permute(0, 3, 1, 2).contiguous())
            if stage.downsample is not None:
                x_BHWC = stage.downsample(x_BHWC)
        return maps


class PatchEmbedding(nn.Module):
    """Cut the picture into patches and project each to a token."""

    def __init__(self, *, patch_size: tuple[int, int], num_channels: int, width: int, dropout: float) -> None:
        super().__init__()
        self.projection = nn.Conv2d(num_channels, width, kernel_size=patch_size, stride=patch_size)
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, pixel_BCHW: Tensor) -> Tensor:
        """Return the tokens [B, H, W, C]; a picture that does not divide is padded with zeros right and below."""
        patch_height, patch_width = self.projection.kernel_size
        height, width = pixel_BCHW.shape[-2:]
        padded = F.pad(pixel_BCHW, (0, -width % patch_width, 0, -height % patch_height))
        x_BHWC: Tensor = self.dropout(self.norm(self.projection(padded).permute(0, 2, 3, 1)))
        return x_BHWC


class SwinStage(nn.Module):
    """Blocks at one resolution, with windows that shift in every second block."""

    def __init__(
        self, *, width: int, num_heads: int, drop_paths: list[float], downsample: bool, block: SwinBlockOptions
    ) -> None:
        super().__init__()
        self.window = block.window_size
        self.blocks = nn.ModuleList(
            SwinBlock(width=width, num_heads=num_heads, shifted=i % 2 == 1, drop_path=rate, options=block)
            for i, rate in enumerate(drop_paths)
        )
        self.downsample = PatchMerging(width) if downsample else None

    def forward(self, x_BHWC: Tensor, index_NN: Tensor) -> Tensor:
        """Return the stage's map before its down-sampling [B, H, W, C].

        Args:
            x_BHWC: the map.
            index_NN: see `relative_position_index`.
        """
        mask_W1NN = shift_mask(x_BHWC, self.window)
        for block in self.blocks:
            x_BHWC = block(x_BHWC, index_NN, mask_W1NN)
        return x_BHWC


class SwinBlock(nn.Module):
    """Attention within windows, then a feed-forward network; both with a norm before and a residual around."""

    def __init__(
        self, *, width: int, num_heads: int, shifted: bool, drop_path: float, options: SwinBlockOptions
    ) -> None:
        super().__init__()
        self.window = options.window_size
        self.shift = options.window_size // 2 if shifted else 0
        self.attention_norm = nn.LayerNorm(width, eps=options.norm_eps)
        self.attention = WindowAttention(
            width=width,
            num_heads=num_heads,
            window=options.window_size,
            dropout=options.attention_dropout,
            bias=options.qkv_bias,
        )
        self.dropout = nn.Dropout(options.dropout)
        self.feed_forward_norm = nn.LayerNorm(width, eps=options.norm_eps)
        self.feed_forward = FeedForward(
            width=width,
            hidden_width=int(width * options.mlp_ratio),
            activation=options.activation,
            dropout=options.dropout,
        )
        self.drop_path = DropPath(drop_path)

    def forward(self, x_BHWC: Tensor, index_NN: Tensor, mask_W1NN: Tensor) -> Tensor:
        """Return the block's output [B, H, W, C].

        Args:
            x_BHWC: the map.
            index_NN: see `relative_position_index`.
            mask_W1NN: see `shift_mask`; only blocks with shifted windows use it.
        """
        attended_BHWC = self.attend(self.attention_norm(x_BHWC), index_NN, mask_W1NN)
        x_BHWC = x_BHWC + self.drop_path(self.dropout(attended_BHWC))
        output_BHWC: Tensor = x_BHWC + self.drop_path(self.feed_forward(self.feed_forward_norm(x_BHWC)))
        return output_BHWC

    def attend(self, x_BHWC: Tensor, index_NN: Tensor, mask_W1NN: Tensor) -> Tensor:
        """Attend within (shifted) windows; padding cells take part, as in the paper's code."""
        height, width = x_BHWC.shape[1:3]
        x_BHWC = F.pad(x_BHWC, (0, 0, 0, -width % self.window, 0, -height % self.window))
        padded_height, padded_width = x_BHWC.shape[1:3]
        if self.shift:
            x_BHWC = x_BHWC.roll((-self.shift, -self.shift), dims=(1, 2))
        window_GNC = self.attention(to_windows(x_BHWC, self.window), index_NN, mask_W1NN if self.shift else None)
        x_BHWC = from_windows(window_GNC, padded_height, padded_width, self.window)
        if self.shift:
            x_BHWC = x_BHWC.roll((self.shift, self.shift), dims=(1, 2))
        return x_BHWC[:, :height, :width]


class WindowAttention(MultiHeadAttention):
    """Attention between the cells of a window, with a learned bias for each relative position."""

    def __init__(self, *, width: int, num_heads: int, window: int, dropout: float, bias: bool) -> None:
        super().__init__(width=width, num_heads=num_heads, dropout=dropout, bias=bias)
        self.relative_position_bias = nn.Parameter(torch.zeros((2 * window - 1) ** 2, num_heads))

    def forward(  # type: ignore[override]
        self, window_GNC: Tensor, index_NN: Tensor, mask_W1NN: Tensor | None
    ) -> Tensor:
        """Return the attended windows [G, N, C].

        Args:
            window_GNC: the windows of all images, image after image.
            index_NN: see `relative_position_index`.
            mask_W1NN: added to the scores of the W windows of each image.
        """
        bias_NNA = self.relative_position_bias[index_NN]
        bias_1ANN = bias_NNA.permute(2, 0, 1)[None]
        if mask_W1NN is not None:
            images = window_GNC.shape[0] // mask_W1NN.shape[0]
            bias_1ANN = (bias_1ANN + mask_W1NN).repeat(images, 1, 1, 1)
        return super().forward(window_GNC, window_GNC, window_GNC, mask=bias_1ANN)[0]


class PatchMerging(nn.Module):
    """Join each 2 x 2 cells to one of twice the width."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * width)
        self.reduction = Linear(4 * width, 2 * width, bias=False)

    def forward(self, x_BHWC: Tensor) -> Tensor:
        """Return a map of half the height and width, rounded up, [B, H/2, W/2, 2C]."""
        height, width = x_BHWC.shape[1:3]
        x_BHWC = F.pad(x_BHWC, (0, 0, 0, width % 2, 0, height % 2))
        corners = [x_BHWC[:, row::2, column::2] for column in (0, 1) for row in (0, 1)]
        x_BHWC = self.reduction(self.norm(torch.cat(corners, dim=-1)))
        return x_BHWC


def relative_position_index(window: int, device: torch.device) -> Tensor:
    """Return the row of the bias tables for each (query, key) pair of a window's cells, [N, N]."""
    cell = torch.arange(window, device=device)
    row_N, column_N = (grid.flatten() for grid in torch.meshgrid(cell, cell, indexing="ij"))
    row_NN = row_N[:, None] - row_N + window - 1
    column_NN = column_N[:, None] - column_N + window - 1
    return row_NN * (2 * window - 1) + column_NN


def shift_mask(x_BHWC: Tensor, window: int) -> Tensor:
    """Return what is added to the scores of a map's shifted windows, [W, 1, N, N].

    Windows are shifted by half their side. The map is padded to whole windows and rolled, so that cells from opposite
    borders meet: pairs of different regions get -100.
    """
    shift = window // 2

    def region(size: int) -> Tensor:
        padded = size + -size % window
        index = torch.arange(padded, device=x_BHWC.device)
        return (index >= padded - window).long() + (index >= padded - shift).long()

    region_HW = 3 * region(x_BHWC.shape[1])[:, None] + region(x_BHWC.shape[2])
    region_WN = to_windows(region_HW[None, :, :, None], window).squeeze(-1)
    differs_WNN = region_WN[:, :, None] != region_WN[:, None, :]
    return torch.where(differs_WNN, SHIFT_MASK, 0.0).to(x_BHWC.dtype)[:, None]


def to_windows(x_BHWC: Tensor, window: int) -> Tensor:
    """Cut maps into windows, [G, N, C], image after image and row after row."""
    batch, height, width, channels = x_BHWC.shape
    grid = x_BHWC.reshape(batch, height // window, window, width // window, window, channels)
    return grid.transpose(2, 3).reshape(-1, window * window, channels)


def from_windows(window_GNC: Tensor, height: int, width: int, window: int) -> Tensor:
    """Put windows together again, [B, H, W, C]."""
    channels = window_GNC.shape[-1]
    grid = window_GNC.reshape(-1, height // window, width // window, window, window, channels)
    return grid.transpose(2, 3).reshape(-1, height, width, channels)
