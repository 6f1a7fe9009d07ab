"""Convolutional blocks. Shapes: B batch, C channels, H height, W width."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def normaliser(channels: int) -> nn.GroupNorm:
    """Return the normalisation of groups of four channels or more, 32 groups at most."""
    return nn.GroupNorm(min(32, channels // 4), channels)


class PixelNorm(nn.Module):
    """Scale each pixel's channels to unit root mean square (Karras 2017, arXiv 1710.10196, 4.2).

    A part of a picture is normalised as it is in the whole, which group normalisation does not do.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to the same shape."""
        last = x.permute(0, 2, 3, 1)  # as channels-last pictures lie in memory
        scaled = F.rms_norm(last, (x.shape[1],), self.weight.to(x.dtype), 1e-6)
        return scaled.permute(0, 3, 1, 2)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions around a skip, pre-normalised (He 2016, arXiv 1603.05027)."""

    def __init__(self, channels: int, norm: Callable[[int], nn.Module] = normaliser) -> None:
        super().__init__()
        self.norm1 = norm(channels)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm2 = norm(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.conv2.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to the same shape."""
        h = self.conv1(F.silu(self.norm1(x)))  # (B, C, H, W)
        return x + self.conv2(F.silu(self.norm2(h)))


class SpatialAttention(nn.Module):
    """Every cell looks at every other: one head of attention around a skip, pre-normalised.

    As in the VQGAN's coarsest stage (Esser 2020, arXiv 2012.09841, table 7).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(min(32, channels // 4), channels)
        self.queries_keys_values = nn.Conv2d(channels, channels * 3, 1)
        self.out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to the same shape."""
        parts = self.queries_keys_values(self.norm(x)).flatten(2).mT.chunk(3, dim=2)
        mixed = F.scaled_dot_product_attention(*parts)  # (B, H * W, C)
        return x + self.out(mixed.mT.unflatten(2, x.shape[2:]))


class Downsample(nn.Module):
    """Halve height and width: 2x2 pixels into channels, then a 1x1 convolution."""

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels * 4, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, out_channels, H/2, W/2)."""
        return self.conv(F.pixel_unshuffle(x, 2))


class Upsample(nn.Module):
    """Multiply height and width: a convolution, then channels into pixels (arXiv 1609.05158)."""

    def __init__(self, channels: int, out_channels: int, kernel: int = 3, factor: int = 2) -> None:
        super().__init__()
        self.factor = factor
        self.conv = nn.Conv2d(channels, out_channels * factor**2, kernel, padding=kernel // 2)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, out_channels, factor * H, factor * W)."""
        return F.pixel_shuffle(self.conv(x), self.factor)
