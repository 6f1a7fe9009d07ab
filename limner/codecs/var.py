"""The multi-scale VQ-VAE of VAR in its exact architecture, to draw and encode with.

Shapes: B batch, S cells of all maps, D dimensions of a code, h and w rows and columns of the
finest map. Tian 2024, arXiv 2404.02905; github.com/FoundationVision/VAR, models/vqvae.py and
quant.py: the networks of taming-transformers around residual maps that share one codebook.
"""

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from limner.codecs.lookup import nearest
from limner.codecs.multiscale import ResidualCodec, check_scales
from limner.codecs.taming import TamingCodec, TamingConfig
from limner.nn.checks import check_least
from limner.nn.maps import Phi, phi_of_map

SCALES = (1, 2, 3, 4, 5, 6, 8, 10, 13, 16)  # of the published models of 256 pixels


@dataclass(frozen=True)
class VARCodecConfig(TamingConfig):
    """Sizes of the networks; `scales` are the sides of the maps, which share a few `phis`."""

    scales: tuple[int, ...] = SCALES
    phis: int = 4
    kernel: int = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        check_least(self, "phis")
        check_scales(self.scales, self.size // self.cell, len(self.multipliers) - 1)


class VARCodec(ResidualCodec, TamingCodec):
    """Residual maps of the nearest vectors of one codebook."""

    config: VARCodecConfig

    def __init__(self, config: VARCodecConfig) -> None:
        super().__init__(config)
        self.dimensions = config.dimensions
        self.phi = nn.ModuleList(Phi(config.dimensions) for _ in range(config.phis))

    @property
    def maps(self) -> tuple[tuple[int, int], ...]:
        """Rows and columns of each token map, coarse to fine."""
        return tuple((side, side) for side in self.config.scales)

    def encode(self, images: Tensor) -> Tensor:
        """Return codes (B, S) int64 of images in [-1, 1]."""
        return self.quantize(self.encoder(images))[1]

    def _look(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        vectors = features.permute(0, 2, 3, 1)  # (B, h, w, D)
        codes = nearest(vectors.flatten(0, 2), self.codebook.weight).view(vectors.shape[:3])
        return self._vectors(codes), codes, features.new_zeros(())

    def _vectors(self, codes: Tensor) -> Tensor:
        return F.embedding(codes, self.codebook.weight).permute(0, 3, 1, 2)

    def _phi(self, index: int) -> nn.Module:
        return self.phi[phi_of_map(index, len(self.config.scales), self.config.phis)]
