"""The VQGAN of taming-transformers in its exact architecture, to draw and encode with.

Shapes: B batch, H and W the picture's rows and columns, h and w the grid's, D dimensions of a code.
Esser 2020, arXiv 2012.09841; github.com/CompVis/taming-transformers, taming/models/vqgan.py. The
detokenizer of DALL-E mini is its decoder, trained on pixels in [0, 1]; the tokenizer of LlamaGen is
the same with codes of length 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from limner.codecs.base import CodecBase
from limner.codecs.codebook import VOCABULARY_LIMIT
from limner.codecs.lookup import nearest
from limner.errors import ConfigError
from limner.nn.checks import check_choice, check_least

_NORMED = 32  # groups of channels that are normalised together


@dataclass(frozen=True)
class TamingConfig:
    """Sizes: level i, from fine to coarse, has `multipliers[i]` times `width` channels.

    Between two levels height and width are halved, and levels in `attention` look at all of their
    cells. `latent` are the channels at the grid, `dimensions` those of a code. `quantizer` is the
    "nearest" vector, the nearest by "cosine", or "gumbel", the likeliest code. `pixels` are
    "signed", in [-1, 1], or "unit", in [0, 1]. One that does not `encode` is a decoder alone. The
    `middle` of both sides looks at all cells, or does not. `kernel` is that of the convolutions
    between the latent and the codes, 0 for none.
    """

    size: int = 256
    codebook: int = 1024
    dimensions: int = 256
    latent: int = 256
    width: int = 128
    multipliers: tuple[int, ...] = (1, 1, 2, 2, 4)
    blocks: int = 2
    attention: tuple[int, ...] = (4,)
    quantizer: str = "nearest"
    pixels: str = "signed"
    epsilon: float = 1e-6
    encode: bool = True
    middle: bool = True
    kernel: int = 1

    def __post_init__(self) -> None:
        check_choice(self, "quantizer", ("nearest", "cosine", "gumbel"))
        check_choice(self, "pixels", ("signed", "unit"))
        check_least(self, "dimensions", "latent", "blocks")
        if not 2 <= self.codebook <= VOCABULARY_LIMIT:
            raise ConfigError(f"codebook is {self.codebook}; expected 2 to {VOCABULARY_LIMIT}")
        if not self.multipliers or min(self.multipliers) < 1 or self.width < 1:
            raise ConfigError(
                f"multipliers is {list(self.multipliers)}; expected some of at least 1"
            )
        if any(self.width * each % _NORMED for each in self.multipliers):
            raise ConfigError(f"width is {self.width}; expected a multiple of {_NORMED}")
        if any(not 0 <= each < len(self.multipliers) for each in self.attention):
            raise ConfigError(
                f"attention is {list(self.attention)}; expected levels from 0 to "
                f"{len(self.multipliers) - 1}"
            )
        if self.size < self.cell or self.size % self.cell:
            raise ConfigError(f"size is {self.size}; expected a multiple of {self.cell}")
        if self.kernel < 0 or not (self.kernel % 2 or self.kernel == 0):
            raise ConfigError(f"kernel is {self.kernel}; expected an odd number, or 0 for none")
        if not 0 < self.epsilon < 1:
            raise ConfigError(f"epsilon is {self.epsilon:g}; expected a number between 0 and 1")

    @property
    def cell(self) -> int:
        """Pixels along a side of a cell."""
        return int(2 ** (len(self.multipliers) - 1))


class TamingCodec(CodecBase):
    """The VQGAN of taming-transformers, or its decoder alone, as DALL-E mini has it."""

    decoder: Any

    def __init__(self, config: TamingConfig) -> None:
        super().__init__()
        self.config = config
        self.codebook = nn.Embedding(config.codebook, config.dimensions)
        self.decoder = TamingDecoder(config)
        self.encoder = TamingEncoder(config) if config.encode else None

    @property
    def encodes(self) -> bool:
        """Whether it has its encoder, and takes pictures."""
        return self.config.encode

    @property
    def maps(self) -> tuple[tuple[int, int], ...]:
        """Rows and columns of the one token map."""
        side = self.config.size // self.config.cell
        return ((side, side),)

    @property
    def vocabulary(self) -> int:
        """How many different codes there are."""
        return self.config.codebook

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Raise ConfigError: this codec is imported, and not trained."""
        raise ConfigError(
            "this codec is imported to draw and encode with, and is not trained; train a 'vqgan'"
        )

    def encode(self, images: Tensor) -> Tensor:
        """Return codes (B, h, w) int64 of images in [-1, 1]; ConfigError without the encoder."""
        if self.encoder is None:
            raise ConfigError(
                "this codec has no encoder, because only its decoder was published with the model; "
                "import the whole VQGAN"
            )
        features = self.encoder((images + 1) / 2 if self.config.pixels == "unit" else images)
        if self.config.quantizer == "gumbel":
            return features.argmax(1)
        vectors = features.float().permute(0, 2, 3, 1)  # (B, h, w, D)
        found = nearest(self._unit(vectors.flatten(0, 2)), self._unit(self.codebook.weight))
        return found.view(vectors.shape[:3])

    def embed(self, codes: Tensor) -> Tensor:
        """Return the vectors (B, D, h, w) of codes (B, h, w)."""
        vectors = self._unit(self.codebook(codes))
        return vectors.permute(0, 3, 1, 2)

    def _unit(self, vectors: Tensor) -> Tensor:
        """Return vectors (..., D), of length 1 where they are compared by cosine."""
        return F.normalize(vectors, dim=-1) if self.config.quantizer == "cosine" else vectors

    def picture(self, output: Tensor) -> Tensor:
        """Return images, nominally in [-1, 1], of the decoder's output."""
        return 2 * output - 1 if self.config.pixels == "unit" else output


class _Block(nn.Module):
    """Two convolutions, each behind a norm and SiLU, added to x or a product of it."""

    def __init__(self, inputs: int, width: int, epsilon: float) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(_NORMED, inputs, epsilon)
        self.conv1 = nn.Conv2d(inputs, width, 3, padding=1)
        self.norm2 = nn.GroupNorm(_NORMED, width, epsilon)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        self.skip = nn.Conv2d(inputs, width, 1) if inputs != width else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, h, w) to (B, W, h, w): two convolutions around a skip."""
        inner = self.conv1(F.silu(self.norm1(x)))
        out: Tensor = self.skip(x) + self.conv2(F.silu(self.norm2(inner)))
        return out


class _Attention(nn.Module):
    """Attention of one head among all cells."""

    def __init__(self, width: int, epsilon: float) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(_NORMED, width, epsilon)
        self.query, self.key, self.value, self.out = (nn.Conv2d(width, width, 1) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, W, h, w) to the same shape, every cell having looked at all."""
        normed = self.norm(x)
        parts = (self.query(normed), self.key(normed), self.value(normed))
        q, k, v = (each.flatten(2).transpose(1, 2)[:, None] for each in parts)  # (B, 1, h * w, D)
        mixed = F.scaled_dot_product_attention(q, k, v)[:, 0]
        out: Tensor = x + self.out(mixed.transpose(1, 2).reshape(x.shape))
        return out


class _Level(nn.Module):
    """Blocks of one resolution, each with attention behind it or none, then a change of it."""

    def __init__(
        self, inputs: int, width: int, count: int, config: TamingConfig, *, sees: bool
    ) -> None:
        super().__init__()
        widths = [inputs, *[width] * count]
        self.blocks = nn.ModuleList(
            _Block(widths[at], width, config.epsilon) for at in range(count)
        )
        self.attentions = nn.ModuleList(
            _Attention(width, config.epsilon) for _ in range(count if sees else 0)
        )
        self.resample: nn.Conv2d | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, h, w) to (B, W, h, w) through the blocks of one size."""
        for at, block in enumerate(self.blocks):
            x = block(x)
            x = self.attentions[at](x) if self.attentions else x
        return x


def _middle(width: int, config: TamingConfig) -> nn.Sequential:
    looks = _Attention(width, config.epsilon) if config.middle else nn.Identity()
    blocks = (_Block(width, width, config.epsilon) for _ in range(2))
    return nn.Sequential(next(blocks), looks, next(blocks))


def _widths(config: TamingConfig) -> list[int]:
    return [config.width * each for each in config.multipliers]


class TamingEncoder(nn.Module):
    """Pixels (B, 3, H, W) to what is quantised: vectors (B, D, h, w), or logits of codes."""

    def __init__(self, config: TamingConfig) -> None:
        super().__init__()
        widths = _widths(config)
        self.input = nn.Conv2d(3, config.width, 3, padding=1)
        self.levels = _levels(config, [config.width, *widths], widths, config.blocks)
        for level, width in list(zip(self.levels, widths, strict=True))[:-1]:
            level.resample = nn.Conv2d(width, width, 3, stride=2)
        self.middle = _middle(widths[-1], config)
        self.norm = nn.GroupNorm(_NORMED, widths[-1], config.epsilon)
        self.output = nn.Conv2d(widths[-1], config.latent, 3, padding=1)
        self.quantized = _between(config.latent, config.dimensions, config)
        gumbel = config.quantizer == "gumbel"
        self.logits = nn.Conv2d(config.dimensions, config.codebook, 1) if gumbel else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map pictures (B, 3, H, W) in [-1, 1] to vectors (B, D, h, w), not quantised."""
        x = self.input(x)
        for level in self.levels:
            x = level(x)
            if level.resample is not None:
                # Behind the last row and column alone, as their padding is.
                x = level.resample(F.pad(x, (0, 1, 0, 1)))  # type: ignore[operator]
        x = self.output(F.silu(self.norm(self.middle(x))))
        out: Tensor = self.logits(self.quantized(x))
        return out


class TamingDecoder(nn.Module):
    """Vectors (B, D, h, w) of codes to pixels (B, 3, H, W)."""

    def __init__(self, config: TamingConfig) -> None:
        super().__init__()
        widths = _widths(config)
        self.dimensions = config.dimensions
        self.embedded = _between(config.dimensions, config.latent, config)
        self.input = nn.Conv2d(config.latent, widths[-1], 3, padding=1)
        self.middle = _middle(widths[-1], config)
        # Levels are numbered from fine to coarse, as those of the encoder, and go the other way.
        self.levels = _levels(config, [*widths[1:], widths[-1]], widths, config.blocks + 1)
        for level, width in list(zip(self.levels, widths, strict=True))[1:]:
            level.resample = nn.Conv2d(width, width, 3, padding=1)
        self.norm = nn.GroupNorm(_NORMED, widths[0], config.epsilon)
        self.output = nn.Conv2d(widths[0], 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map vectors of codes (B, D, h, w) to pictures (B, 3, H, W), nominally in [-1, 1]."""
        x = self.embedded(x.contiguous(memory_format=torch.channels_last))
        x = self.middle(self.input(x))
        for level in reversed(self.levels):
            x = level(x)
            if level.resample is not None:
                x = F.interpolate(x, scale_factor=2.0, mode="nearest")
                x = level.resample(x)  # type: ignore[operator]
        out: Tensor = self.output(F.silu(self.norm(x)))
        return out


def _between(inputs: int, outputs: int, config: TamingConfig) -> nn.Module:
    if not config.kernel:
        return nn.Identity()
    return nn.Conv2d(inputs, outputs, config.kernel, padding=config.kernel // 2)


def _levels(
    config: TamingConfig, inputs: Sequence[int], widths: Sequence[int], count: int
) -> nn.ModuleList:
    return nn.ModuleList(
        _Level(inputs[at], width, count, config, sees=at in config.attention)
        for at, width in enumerate(widths)
    )
