"""The small convolutional codec of the default model: picture -> grid of codes -> picture.

Shapes: B batch, H and W the picture's height and width, h = H / 8 and w = W / 8 the grid's.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from limner.codecs.quantize import FiniteScalar, VectorQuantizer
from limner.nn.conv import Downsample, ResidualBlock, Upsample


@dataclass(frozen=True)
class FSQConfig:
    """Shape of the codec: three levels of resolution, a grid cell every 8 pixels.

    `levels` are those of finite scalar quantisation; `codebook` > 0 takes in its place a learned
    codebook of so many unit vectors of `len(levels)` dimensions.
    """

    size: int = 64
    levels: tuple[int, ...] = (8, 5, 5, 5, 4)
    codebook: int = 0
    encoder_channels: tuple[int, ...] = (48, 96, 192)
    decoder_channels: tuple[int, ...] = (256, 128, 64)
    encoder_blocks: tuple[int, ...] = (0, 1, 1)
    decoder_blocks: tuple[int, ...] = (2, 1, 1)


class FSQCodec(nn.Module):
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
    def grid(self) -> tuple[int, int]:
        """Rows and columns of codes of one picture."""
        return self.config.size // 8, self.config.size // 8

    @property
    def vocabulary(self) -> int:
        """How many different codes there are."""
        return self.quantizer.vocabulary

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Map images (B, 3, H, W) in [-1, 1] to reconstructions, codes (B, h, w) and a loss."""
        z, codes, auxiliary = self.quantizer(self.encoder(images))
        return self.decoder(z), codes, auxiliary

    def encode(self, images: Tensor) -> Tensor:
        """Return codes (B, h, w) int64 of images (B, 3, H, W) in [-1, 1]."""
        codes: Tensor = self.quantizer(self.encoder(images))[1]
        return codes

    def embed(self, codes: Tensor) -> Tensor:
        """Return the quantised vectors (B, D, h, w) of codes (B, h, w)."""
        return self.quantizer.embed(codes)

    def decode(self, codes: Tensor) -> Tensor:
        """Return images (B, 3, H, W) in [-1, 1] of codes (B, h, w)."""
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
            nn.Conv2d(channels, len(config.levels), 1),
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
        layers: list[nn.Module] = [nn.Conv2d(len(config.levels), widths[0], 3, padding=1)]
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
