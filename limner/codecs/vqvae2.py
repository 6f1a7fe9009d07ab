"""The VQ-VAE-2: maps of codes from coarse to fine, each level knowing what the coarser ones say.

Shapes: B batch, D dimensions of a code, L levels, S cells of all maps, C channels between levels;
level 0 is the coarsest ("top"), and each next one has twice its rows and columns.
Razavi 2019, arXiv 1906.00446, section 3.1 and algorithm 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from limner.codecs.base import CodecBase
from limner.codecs.codebook import CodebookOptions, VectorQuantizer, check_codebook
from limner.errors import ConfigError
from limner.nn.autoencoder import Decoder, Encoder, check_autoencoder, check_stages


@dataclass(frozen=True)
class VQVAE2Config(CodebookOptions):
    """Shape of the codec; each number of encoder channels is a halving towards the finest map.

    Each of `depth` levels has a codebook of its own, of `codebook` vectors of `dimensions`.
    Between the levels are `channels` and `level_blocks` residual blocks each way.
    """

    update: str = "ema"
    start: str = "kmeans"
    reset: float = 0.1
    normalised: bool = False
    size: int = 64
    depth: int = 2
    codebook: int = 512
    dimensions: int = 64
    channels: int = 96
    level_blocks: int = 1
    encoder_channels: tuple[int, ...] = (32, 64)
    decoder_channels: tuple[int, ...] = (64, 32)
    encoder_blocks: tuple[int, ...] = (0, 1)
    decoder_blocks: tuple[int, ...] = (1, 1)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_codebook(self)
        check_autoencoder(self)
        check_stages("level", (self.channels,), (self.level_blocks,), 1)
        if not 2 <= self.depth <= 8:
            raise ConfigError(f"depth is {self.depth}; expected 2 to 8; one level is a vqvae")
        cell = 2 ** (len(self.encoder_channels) + self.depth - 1)
        if self.size % cell:
            raise ConfigError(
                f"size is {self.size}; expected a multiple of {cell}, the coarsest map's cell"
            )


class VQVAE2Codec(CodecBase):
    """Features from the bottom up, codes from the top down; the decoder gets all levels' codes."""

    def __init__(self, config: VQVAE2Config) -> None:
        super().__init__()
        self.config = config
        width, blocks, dimensions = (config.channels,), (config.level_blocks,), config.dimensions
        coarser = range(config.depth - 1)
        self.encoder = Encoder(config.encoder_channels, config.encoder_blocks, config.channels)
        self.upward = nn.ModuleList(
            Encoder(width, blocks, config.channels, pixels=config.channels) for _ in coarser
        )
        self.downward = nn.ModuleList(
            Decoder(width, blocks, dimensions * (level + 1), pixels=config.channels)
            for level in coarser
        )
        self.heads = nn.ModuleList(
            nn.Conv2d(config.channels * (2 if level else 1), dimensions, 1)
            for level in range(config.depth)
        )
        self.quantizer = nn.ModuleList(
            VectorQuantizer(config.codebook, dimensions, config) for _ in range(config.depth)
        )
        self.decoder = Decoder(
            config.decoder_channels, config.decoder_blocks, dimensions * config.depth
        )

    @property
    def maps(self) -> tuple[tuple[int, int], ...]:
        """Rows and columns of each level's codes, coarse to fine."""
        finest = self.config.size // 2 ** len(self.config.encoder_channels)
        sides = [finest // 2**level for level in reversed(range(self.config.depth))]
        return tuple((side, side) for side in sides)

    @property
    def vocabulary(self) -> int:
        """How many different codes there are."""
        return self.config.codebook

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Map images (B, 3, H, W) in [-1, 1] to reconstructions, codes (B, S) and the mean loss."""
        quantised: list[Tensor] = []
        codes, losses = [], []
        for level, features in enumerate(self._features(images)):
            values, found, loss = self.quantizer[level](self._condition(features, quantised))
            quantised.append(values)
            codes.append(found.flatten(1))
            losses.append(loss)
        return self.decoder(stack_maps(quantised)), torch.cat(codes, 1), torch.stack(losses).mean()

    def encode(self, images: Tensor) -> Tensor:
        """Return codes (B, S) int64 of images in [-1, 1], level after level."""
        quantised: list[Tensor] = []
        codes = []
        for level, features in enumerate(self._features(images)):
            found = self._quantizers[level].encode(self._condition(features, quantised))
            quantised.append(self._quantizers[level].embed(found))
            codes.append(found.flatten(1))
        return torch.cat(codes, dim=1)

    def embed(self, codes: Tensor) -> Tensor:
        """Return vectors (B, L * D, h, w) of codes (B, S), all levels on the finest map."""
        parts = codes.split([rows * columns for rows, columns in self.maps], dim=1)
        return stack_maps(
            [
                quantizer.embed(part.unflatten(1, shape))
                for quantizer, part, shape in zip(self._quantizers, parts, self.maps, strict=True)
            ]
        )

    @property
    def _quantizers(self) -> list[VectorQuantizer]:
        return [cast(VectorQuantizer, each) for each in self.quantizer]

    def _features(self, images: Tensor) -> list[Tensor]:
        """Return the features (B, C, h, w) of each level, coarse to fine."""
        # Computed from fine to coarse, each from the finer one, and turned around.
        features = [self.encoder(images)]
        for encoder in self.upward:
            features.append(encoder(features[-1]))
        return features[::-1]

    def _condition(self, features: Tensor, quantised: list[Tensor]) -> Tensor:
        """Return what is to be quantised: a level's features beside the decoded coarser levels."""
        level = len(quantised)
        if level:
            decoded = self.downward[level - 1](stack_maps(quantised))
            features = torch.cat([features, decoded], dim=1)  # (B, 2C, h, w)
        return self.heads[level](features)


def stack_maps(quantised: Sequence[Tensor]) -> Tensor:
    """Return maps (B, D, h, w) as one (B, L * D, h, w) of the last one's rows and columns."""
    return torch.cat([F.interpolate(each, quantised[-1].shape[2:]) for each in quantised], dim=1)
