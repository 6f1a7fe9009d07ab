"""The bitwise tokenizer of Infinity in its exact architecture, to draw and encode with.

Shapes: B batch, S cells of all maps, D bits a cell, h and w rows and columns of the finest map.
Han 2024, arXiv 2412.04431; BSQ (Zhao 2024, arXiv 2406.07548): a code is a corner of a cube on the
unit sphere. github.com/FoundationVision/Infinity, infinity/models/bsq_vae: the networks of
taming-transformers without attention, around residual maps enlarged by linear interpolation.
"""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from limner.codecs.multiscale import ResidualCodec, check_scales
from limner.codecs.taming import TamingConfig, TamingDecoder, TamingEncoder
from limner.errors import ConfigError
from limner.nn.maps import bits_as_vectors, raise_bits

SCALES = (1, 2, 4, 6, 8, 12, 16)  # of the published model of 256 pixels


@dataclass(frozen=True)
class BitCodecConfig(TamingConfig):
    """Sizes of the networks; `scales` are the sides of the maps, `latent` the bits of a cell."""

    scales: tuple[int, ...] = SCALES
    codebook: int = 2
    dimensions: int = 16
    latent: int = 16
    multipliers: tuple[int, ...] = (1, 2, 4, 4, 4)
    attention: tuple[int, ...] = ()
    middle: bool = False
    kernel: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_scales(self.scales, self.size // self.cell, len(self.multipliers) - 1)
        if (self.codebook, self.dimensions) != (2, self.latent):
            raise ConfigError(
                f"codebook is {self.codebook} and dimensions {self.dimensions}; expected 2, and "
                f"{self.latent} as the latent has"
            )


class BitCodec(ResidualCodec):
    """Residual maps of the signs of each dimension: as many codes a cell, each 0 or 1."""

    config: BitCodecConfig
    decoder: Any

    def __init__(self, config: BitCodecConfig) -> None:
        super().__init__()
        self.config, self.dimensions = config, config.latent
        self.decoder = TamingDecoder(config)
        self.encoder = TamingEncoder(config)

    @property
    def maps(self) -> tuple[tuple[int, int], ...]:
        """Rows and columns of each token map, coarse to fine."""
        return tuple((side, side) for side in self.config.scales)

    @property
    def vocabulary(self) -> int:
        """How many different values a bit has."""
        return 2

    @property
    def groups(self) -> int:
        """How many bits one cell has."""
        return self.dimensions

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Raise ConfigError: this codec is imported, and not trained."""
        raise ConfigError(
            "this codec is imported to draw and encode with, and is not trained; train a "
            "'multiscale'"
        )

    def _raise(self, values: Tensor, index: int) -> Tensor:
        return raise_bits(values, self.grid)

    def _look(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        codes = (features > 0).long().permute(0, 2, 3, 1)  # (B, h, w, D)
        return self._vectors(codes), codes, features.new_zeros(())

    def _vectors(self, codes: Tensor) -> Tensor:
        return bits_as_vectors(codes).permute(0, 3, 1, 2)
