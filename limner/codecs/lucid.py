"""The discrete VAE of DALLE-pytorch, in its exact architecture, to draw and encode with.

Shapes: B batch, V vocabulary, D dimensions of a code, h and w the grid's rows and columns.
github.com/lucidrains/DALLE-pytorch 1.6, `DiscreteVAE`: each layer halves or doubles the sides by a
convolution of 4 x 4, residual blocks stand at the grid, and pixels go in and come out in [-1, 1].
"""

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from limner.codecs.base import CodecBase
from limner.codecs.dvae import VOCABULARY_LIMIT
from limner.errors import ConfigError
from limner.nn.checks import check_least


@dataclass(frozen=True)
class LucidDVAEConfig:
    """Sizes: `layers` halvings of both sides, `blocks` at the grid, `width` channels in between."""

    size: int = 256
    vocabulary: int = 512
    dimensions: int = 512
    layers: int = 3
    blocks: int = 0
    width: int = 64

    def __post_init__(self) -> None:
        check_least(self, "dimensions", "layers", "width")
        check_least(self, "blocks", least=0)
        if not 2 <= self.vocabulary <= VOCABULARY_LIMIT:
            raise ConfigError(f"vocabulary is {self.vocabulary}; expected 2 to {VOCABULARY_LIMIT}")
        if self.layers > 12 or self.size < 2**self.layers or self.size % 2**self.layers:
            raise ConfigError(f"size is {self.size}; expected a multiple of {2**self.layers}")


class _Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.path = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1), nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, width, 1),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.path(x)
        return out


class LucidDVAECodec(CodecBase):
    """The discrete VAE of DALLE-pytorch."""

    decoder: Any

    def __init__(self, config: LucidDVAEConfig) -> None:
        super().__init__()
        self.config = config
        width, count = config.width, config.layers
        self.codebook = nn.Embedding(config.vocabulary, config.dimensions)
        # 1. Down: 4 x 4 convolutions that halve the sides, blocks, then logits.
        halvings = [nn.Conv2d(width if at else 3, width, 4, 2, 1) for at in range(count)]
        self.encoder = nn.Sequential(
            *(nn.Sequential(each, nn.ReLU()) for each in halvings),
            *(_Block(width) for _ in range(config.blocks)),
            nn.Conv2d(width, config.vocabulary, 1),
        )
        # 2. Up: to the width and blocks where there are any, then the same the other way.
        inner = width if config.blocks else config.dimensions
        doublings = [nn.ConvTranspose2d(width if at else inner, width, 4, 2, 1)
                     for at in range(count)]  # fmt: skip
        entry = [nn.Conv2d(config.dimensions, width, 1)] if config.blocks else []
        self.decoder = nn.Sequential(
            *entry,
            *(_Block(width) for _ in range(config.blocks)),
            *(nn.Sequential(each, nn.ReLU()) for each in doublings),
            nn.Conv2d(width, 3, 1),
        )

    @property
    def maps(self) -> tuple[tuple[int, int], ...]:
        """Rows and columns of the one token map."""
        side = self.config.size // 2**self.config.layers
        return ((side, side),)

    @property
    def vocabulary(self) -> int:
        """How many different codes there are."""
        return self.config.vocabulary

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Raise ConfigError: this codec is imported, and not trained."""
        raise ConfigError(
            "the codec 'lucid_dvae' is imported to draw and encode with, and is not trained; train "
            "a 'dvae'"
        )

    def encode(self, images: Tensor) -> Tensor:
        """Return the likeliest codes (B, h, w) int64 of images in [-1, 1]."""
        logits: Tensor = self.encoder(images)
        return logits.argmax(1)

    def embed(self, codes: Tensor) -> Tensor:
        """Return the vectors (B, D, h, w) of codes (B, h, w)."""
        vectors: Tensor = self.codebook(codes)
        return vectors.permute(0, 3, 1, 2)
