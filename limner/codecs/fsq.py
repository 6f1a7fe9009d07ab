"""The small convolutional codec of the default model: picture -> grid of codes -> picture.

Shapes: B batch, H and W the picture's height and width, h = H / 8 and w = W / 8 the grid's, G codes
a cell.
"""

from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from limner.codecs.base import CodecBase
from limner.codecs.quantize import FiniteScalar, VectorQuantizer
from limner.errors import ConfigError
from limner.nn.conv import Downsample, ResidualBlock, Upsample

STAGES = 3  # each halves height and width
VOCABULARY_LIMIT = 2**24  # codes are summed in fp32, which counts no further


@dataclass(frozen=True)
class FSQConfig:
    """Shape of the codec: three levels of resolution, a grid cell every 8 pixels.

    Each cell has `groups` codes of `len(levels)` dimensions each (product quantisation): twice the
    bits of one code without a vocabulary of their product.
    `levels` are those of finite scalar quantisation; `codebook` > 0 takes in its place a learned
    codebook of so many unit vectors of `len(levels)` dimensions.
    """

    size: int = 64
    levels: tuple[int, ...] = (8, 5, 5, 5, 4)
    codebook: int = 0
    groups: int = 1
    encoder_channels: tuple[int, ...] = (48, 96, 192)
    decoder_channels: tuple[int, ...] = (256, 128, 64)
    encoder_blocks: tuple[int, ...] = (0, 1, 1)
    decoder_blocks: tuple[int, ...] = (2, 1, 1)

    def __post_init__(self) -> None:
        if self.size < 16 or self.size % 8:
            raise ConfigError(f"size is {self.size}; expected a multiple of 8, at least 16")
        if not self.levels or min(self.levels) < 2:
            raise ConfigError(f"levels is {list(self.levels)}; expected some, each at least 2")
        if prod(self.levels) > VOCABULARY_LIMIT:
            raise ConfigError(
                f"levels is {list(self.levels)}; their product, the vocabulary, may be at most "
                f"{VOCABULARY_LIMIT}: take fewer, or more groups"
            )
        if self.codebook < 0 or self.codebook == 1 or self.codebook > VOCABULARY_LIMIT:
            raise ConfigError(
                f"codebook is {self.codebook}; expected 2 to {VOCABULARY_LIMIT}, or 0 for none"
            )
        if self.groups < 1:
            raise ConfigError(f"groups is {self.groups}; expected at least 1")
        for part in ("encoder", "decoder"):
            _check_stages(part, getattr(self, f"{part}_channels"), getattr(self, f"{part}_blocks"))


def _check_stages(part: str, channels: tuple[int, ...], blocks: tuple[int, ...]) -> None:
    for name, values in (("channels", channels), ("blocks", blocks)):
        if len(values) != STAGES:
            raise ConfigError(
                f"{part}_{name} is {list(values)}; expected {STAGES} numbers, one a stage"
            )
    for width in channels:
        if width < 4 or width % (4 if width < 128 else 32):
            raise ConfigError(
                f"{part}_channels has {width}; expected a multiple of 4, and of 32 from 128 on"
            )
    if min(blocks) < 0:
        raise ConfigError(f"{part}_blocks is {list(blocks)}; expected numbers of at least 0")


class FSQCodec(CodecBase):
    """Convolutional autoencoder with finite scalar quantisation (arXiv 2309.15505)."""

    def __init__(self, config: FSQConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)
        self.quantizer: FiniteScalar | VectorQuantizer = (
            VectorQuantizer(config.codebook, len(config.levels))
            if config.codebook
            else FiniteScalar(config.levels)
        )

    @property
    def maps(self) -> tuple[tuple[int, int], ...]:
        """Rows and columns of codes of one picture."""
        return ((self.config.size // 8, self.config.size // 8),)

    @property
    def groups(self) -> int:
        """How many codes one cell has."""
        return self.config.groups

    @property
    def vocabulary(self) -> int:
        """How many different values one code has."""
        return self.quantizer.vocabulary

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Map images (B, 3, H, W) in [-1, 1] to reconstructions, codes and an auxiliary loss."""
        z, codes, auxiliary = self._quantize(self.encoder(images))
        return self.decoder(z), codes, auxiliary

    def encode(self, images: Tensor) -> Tensor:
        """Return codes int64 of images in [-1, 1]: (B, h, w), or (B, h, w, G) with groups."""
        return self._quantize(self.encoder(images))[1]

    def embed(self, codes: Tensor) -> Tensor:
        """Return the quantised vectors (B, G * D, h, w) of codes (B, h, w) or (B, h, w, G)."""
        if codes.ndim == 3:
            return self.quantizer.embed(codes)
        return torch.cat([self.quantizer.embed(group) for group in codes.unbind(-1)], dim=1)

    def _quantize(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        if self.config.groups == 1:
            quantised: tuple[Tensor, Tensor, Tensor] = self.quantizer(z)
            return quantised
        parts = [self.quantizer(part) for part in z.chunk(self.config.groups, dim=1)]
        values, codes, losses = zip(*parts, strict=True)
        return torch.cat(values, dim=1), torch.stack(codes, dim=-1), torch.stack(losses).mean()

    def decode(self, codes: Tensor) -> Tensor:
        """Return images (B, 3, H, W) in [-1, 1] of codes (B, h, w) or (B, h, w, G)."""
        images: Tensor = self.decoder(self.embed(codes))
        return images.float().clamp(-1, 1)


class Encoder(nn.Module):
    """Pixels (B, 3, H, W) to vectors (B, D, h, w), D the number of quantised dimensions."""

    def __init__(self, config: FSQConfig) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for width, blocks in zip(config.encoder_channels, config.encoder_blocks, strict=True):
            layers.append(Downsample(channels, width))
            if channels == 3:
                layers.append(nn.Conv2d(width, width, 3, padding=1))
            layers.extend(ResidualBlock(width) for _ in range(blocks))
            channels = width
        self.body = nn.Sequential(*layers)
        self.head = nn.Sequential(
            nn.GroupNorm(min(32, channels // 4), channels),
            nn.SiLU(),
            nn.Conv2d(channels, config.groups * len(config.levels), 1),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Map images in [-1, 1] to vectors before quantisation."""
        z: Tensor = self.head(self.body(images.contiguous(memory_format=torch.channels_last)))
        return z


class Decoder(nn.Module):
    """Quantised vectors (B, D, h, w) to pixels (B, 3, H, W)."""

    def __init__(self, config: FSQConfig) -> None:
        super().__init__()
        widths = config.decoder_channels
        layers: list[nn.Module] = [
            nn.Conv2d(config.groups * len(config.levels), widths[0], 3, padding=1)
        ]
        for index, (width, blocks) in enumerate(zip(widths, config.decoder_blocks, strict=True)):
            if index:
                layers.append(Upsample(widths[index - 1], width))
            layers.extend(ResidualBlock(width) for _ in range(blocks))
        self.body = nn.Sequential(*layers)
        self.norm = nn.GroupNorm(min(32, widths[-1] // 4), widths[-1])
        self.out = Upsample(widths[-1], 3)

    def forward(self, z: Tensor) -> Tensor:
        """Map quantised vectors to images, nominally in [-1, 1]."""
        h = self.body(z.contiguous(memory_format=torch.channels_last))
        images: Tensor = self.out(F.silu(self.norm(h)))
        return images
