"""The discrete VAE that OpenAI published with DALL-E, in its exact architecture, to draw with.

Shapes: B batch, V vocabulary, D width at the grid's side of the decoder, h and w the grid's rows
and columns. Ramesh 2021, arXiv 2102.12092, appendix A.1; the layers are those of PyPI `dall-e` 0.1:
four groups of residual blocks, each with a path of four convolutions whose output is divided by the
square of the number of blocks, and max-pooling or nearest upsampling between them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from limner.codecs.base import CodecBase
from limner.codecs.dvae import VOCABULARY_LIMIT, map_pixels, unmap_pixels
from limner.errors import ConfigError
from limner.nn.checks import check_least

GROUPS = 4  # of blocks, with a halving or doubling between two
_CELL = 2 ** (GROUPS - 1)  # pixels along a side of a cell


@dataclass(frozen=True)
class OpenAIDVAEConfig:
    """Sizes: `width` is that of the finest group, `start` that of the codes' vectors.

    Those that OpenAI published are the defaults.
    """

    size: int = 256
    vocabulary: int = 8192
    width: int = 256
    start: int = 128
    blocks: int = 2

    def __post_init__(self) -> None:
        if self.size < _CELL or self.size % _CELL:
            raise ConfigError(f"size is {self.size}; expected a multiple of {_CELL}")
        if not 2 <= self.vocabulary <= VOCABULARY_LIMIT:
            raise ConfigError(f"vocabulary is {self.vocabulary}; expected 2 to {VOCABULARY_LIMIT}")
        check_least(self, "start", "blocks")
        if self.width < 4 or self.width % 4:
            raise ConfigError(f"width is {self.width}; expected a multiple of 4")


class OpenAIDVAECodec(CodecBase):
    """The discrete VAE of OpenAI's DALL-E: 8192 codes of 8 x 8 pixels each."""

    likelihood = "logit_laplace"
    decoder: Any

    def __init__(self, config: OpenAIDVAEConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = _Encoder(config)
        self.decoder = _Decoder(config)

    @property
    def maps(self) -> tuple[tuple[int, int], ...]:
        """Rows and columns of the one token map."""
        side = self.config.size // _CELL
        return ((side, side),)

    @property
    def vocabulary(self) -> int:
        """How many different codes there are."""
        return self.config.vocabulary

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Raise ConfigError: this codec is imported, and not trained."""
        raise ConfigError(
            "the codec 'openai_dvae' is imported to draw and encode with, and is not trained; "
            "train a 'dvae'"
        )

    def logits(self, images: Tensor) -> Tensor:
        """Return the logits (B, V, h, w) of the codes of images (B, 3, H, W) in [-1, 1]."""
        found: Tensor = self.encoder(map_pixels(images))
        return found

    def encode(self, images: Tensor) -> Tensor:
        """Return the likeliest codes (B, h, w) int64 of images in [-1, 1]."""
        return self.logits(images).argmax(1)

    def embed(self, codes: Tensor) -> Tensor:
        """Return the vectors (B, D, h, w) of codes (B, h, w)."""
        vectors: Tensor = self.decoder.embed(codes)
        return vectors

    def picture(self, output: Tensor) -> Tensor:
        """Return images (B, 3, H, W) of means and log scales (B, 6, H, W); scales do not show."""
        return unmap_pixels(output[:, :3].float().sigmoid())


class _Block(nn.Module):
    """x, or a product of it, plus what four convolutions make of it, divided by the square of n."""

    def __init__(self, inputs: int, width: int, kernels: Sequence[int], blocks: int) -> None:
        super().__init__()
        self.share = 1 / blocks**2
        self.skip = nn.Conv2d(inputs, width, 1) if inputs != width else nn.Identity()
        widths = [inputs, *[width // 4] * 3, width]
        self.path = nn.ModuleList(
            nn.Conv2d(widths[at], widths[at + 1], kernel, padding=kernel // 2)
            for at, kernel in enumerate(kernels)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, h, w) to (B, W, h, w): four convolutions around a skip."""
        inner = x
        for convolution in self.path:
            inner = convolution(F.relu(inner))
        out: Tensor = self.skip(x) + self.share * inner
        return out


def _groups(
    inputs: int, widths: Sequence[int], blocks: int, kernels: Sequence[int]
) -> nn.ModuleList:
    """Return groups of blocks; the first block of each leads from the width before."""
    before = [inputs, *widths]
    return nn.ModuleList(
        nn.ModuleList(
            _Block(width if at else before[group], width, kernels, GROUPS * blocks)
            for at in range(blocks)
        )
        for group, width in enumerate(widths)
    )


class _Encoder(nn.Module):
    """Pixels (B, 3, H, W) in [0.1, 0.9] to logits (B, V, h, w)."""

    def __init__(self, config: OpenAIDVAEConfig) -> None:
        super().__init__()
        width = config.width
        widths = [width * 2**group for group in range(GROUPS)]
        self.input = nn.Conv2d(3, width, 7, padding=3)
        self.groups = _groups(width, widths, config.blocks, (3, 3, 3, 1))
        self.output = nn.Conv2d(widths[-1], config.vocabulary, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map pixels (B, 3, H, W) in [0.1, 0.9] to logits (B, V, h, w)."""
        x = self.input(x)
        for at, group in enumerate(self.groups):
            x = F.max_pool2d(x, 2) if at else x
            for block in group:  # type: ignore[attr-defined]  # a ModuleList
                x = block(x)
        out: Tensor = self.output(F.relu(x))
        return out


class _Decoder(nn.Module):
    """Vectors (B, D, h, w) of codes to means and log scales (B, 6, H, W)."""

    def __init__(self, config: OpenAIDVAEConfig) -> None:
        super().__init__()
        widths = [config.width * 2**group for group in reversed(range(GROUPS))]
        self.dimensions = config.start
        self.input = nn.Conv2d(config.vocabulary, config.start, 1)
        self.groups = _groups(config.start, widths, config.blocks, (1, 3, 3, 3))
        self.output = nn.Conv2d(config.width, 6, 1)

    def embed(self, codes: Tensor) -> Tensor:
        """Return what the first convolution makes of codes, one of V inputs being 1."""
        table = self.input.weight[:, :, 0, 0].T  # (V, D)
        vectors = F.embedding(codes, table) + cast(Tensor, self.input.bias)
        return vectors.permute(0, 3, 1, 2)

    def forward(self, x: Tensor) -> Tensor:
        """Map vectors (B, D, h, w) of codes to means and log scales (B, 6, H, W)."""
        x = x.contiguous(memory_format=torch.channels_last)
        for at, group in enumerate(self.groups):
            x = F.interpolate(x, scale_factor=2.0, mode="nearest") if at else x
            for block in group:  # type: ignore[attr-defined]  # a ModuleList
                x = block(x)
        out: Tensor = self.output(F.relu(x))
        return out
