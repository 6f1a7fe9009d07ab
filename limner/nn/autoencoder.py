"""The convolutional encoder and decoder that codecs share.

Shapes: B batch, H and W the picture's height and width, h and w the grid's, D channels at the grid.
Each stage halves or doubles height and width; with `attention`, the cells of the coarsest one look
at one another.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from limner.errors import ConfigError
from limner.nn.conv import (
    Downsample,
    ResidualBlock,
    SpatialAttention,
    Upsample,
    normaliser,
)


def check_stages(part: str, channels: Sequence[int], blocks: Sequence[int], stages: int) -> None:
    """Raise ConfigError unless `part` has a usable width and number of blocks for each stage."""
    for name, values in (("channels", channels), ("blocks", blocks)):
        if len(values) != stages:
            raise ConfigError(
                f"{part}_{name} is {list(values)}; expected {stages} numbers, one a stage"
            )
    for width in channels:
        if width < 4 or width % (4 if width < 128 else 32):
            raise ConfigError(
                f"{part}_channels has {width}; expected a multiple of 4, and of 32 from 128 on"
            )
    if min(blocks) < 0:
        raise ConfigError(f"{part}_blocks is {list(blocks)}; expected numbers of at least 0")


def check_autoencoder(config: Any) -> None:
    """Raise ConfigError unless a codec config's size and its stages, one or more, fit one another.

    It reads `size` and `encoder_` and `decoder_` `channels` and `blocks`.
    """
    stages = max(1, len(config.encoder_channels))
    for part in ("encoder", "decoder"):
        channels, blocks = getattr(config, f"{part}_channels"), getattr(config, f"{part}_blocks")
        check_stages(part, channels, blocks, stages)
    cell = 2**stages
    if config.size < 2 * cell or config.size % cell:
        raise ConfigError(
            f"size is {config.size}; expected a multiple of {cell}, at least {2 * cell}"
        )


class Encoder(nn.Module):
    """Pixels (B, 3, H, W) to vectors (B, D, h, w); `channels` and `blocks` from fine to coarse."""

    def __init__(
        self,
        channels: Sequence[int],
        blocks: Sequence[int],
        dimensions: int,
        pixels: int = 3,
        attention: bool = False,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        previous = pixels
        for index, (width, count) in enumerate(zip(channels, blocks, strict=True)):
            layers.append(Downsample(previous, width))
            if index == 0:
                layers.append(nn.Conv2d(width, width, 3, padding=1))
            layers.extend(ResidualBlock(width) for _ in range(count))
            previous = width
        if attention:
            layers.append(SpatialAttention(previous))
        self.body = nn.Sequential(*layers)
        self.head = nn.Sequential(
            nn.GroupNorm(min(32, previous // 4), previous),
            nn.SiLU(),
            nn.Conv2d(previous, dimensions, 1),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Map images in [-1, 1] to vectors."""
        z: Tensor = self.head(self.body(images.contiguous(memory_format=torch.channels_last)))
        return z


class Decoder(nn.Module):
    """Vectors (B, D, h, w) to pixels (B, 3, H, W); `channels` and `blocks` from coarse to fine."""

    def __init__(
        self,
        channels: Sequence[int],
        blocks: Sequence[int],
        dimensions: int,
        pixels: int = 3,
        attention: bool = False,
    ) -> None:
        super().__init__()
        self.dimensions = dimensions
        layers: list[nn.Module] = [nn.Conv2d(dimensions, channels[0], 3, padding=1)]
        for index, (width, count) in enumerate(zip(channels, blocks, strict=True)):
            if index:
                layers.append(Upsample(channels[index - 1], width))
            layers.extend(ResidualBlock(width) for _ in range(count))
            if attention and not index:
                layers.append(SpatialAttention(width))
        self.body = nn.Sequential(*layers)
        self.norm = nn.GroupNorm(min(32, channels[-1] // 4), channels[-1])
        self.out = Upsample(channels[-1], pixels)

    def forward(self, z: Tensor) -> Tensor:
        """Map vectors to images, nominally in [-1, 1]."""
        h = self.body(z.contiguous(memory_format=torch.channels_last))
        images: Tensor = self.out(F.silu(self.norm(h)))
        return images


class FinerDecoder(Decoder):
    """A decoder that draws a small picture and adds what a larger one has beside it.

    The small picture is that of `Decoder`, under the same names of weights, enlarged by `factor`. A
    second way goes on from what stands before the last coarse stage: `fine_channels` and
    `fine_blocks` are of stages that double height and width; the last one's pixels are added. They
    begin as nothing, so the weights of a decoder of small pictures draw at once as they did.
    """

    def __init__(
        self,
        channels: Sequence[int],
        blocks: Sequence[int],
        dimensions: int,
        fine_channels: Sequence[int],
        fine_blocks: Sequence[int],
        factor: int,
    ) -> None:
        super().__init__(channels, blocks, dimensions)
        self.factor = factor
        last = sum(blocks[-1:]) + 1  # the modules of the last coarse stage
        self.split = len(self.body) - last
        layers: list[nn.Module] = []
        previous = channels[-2]
        for width, count in zip(fine_channels, fine_blocks, strict=True):
            layers.append(Upsample(previous, width))
            # One group: many are slow on a processor where pictures are this large.
            layers.extend(ResidualBlock(width, groups=1) for _ in range(count))
            previous = width
        self.fine = nn.Sequential(*layers)
        self.fine_norm = normaliser(previous, groups=1)
        rest = 4 * factor // 2 ** len(fine_channels)
        self.fine_out = Upsample(previous, self.out.conv.out_channels // 4, factor=rest)
        nn.init.zeros_(self.fine_out.conv.weight)
        nn.init.zeros_(self.fine_out.conv.bias)  # type: ignore[arg-type]

    def forward(self, z: Tensor) -> Tensor:
        """Map vectors to images, nominally in [-1, 1]."""
        shared = self.body[: self.split](z.contiguous(memory_format=torch.channels_last))
        small: Tensor = self.out(F.silu(self.norm(self.body[self.split :](shared))))
        large = F.interpolate(small, scale_factor=self.factor, mode="bilinear", align_corners=False)
        added: Tensor = self.fine_out(F.silu(self.fine_norm(self.fine(shared))))
        return large + added
