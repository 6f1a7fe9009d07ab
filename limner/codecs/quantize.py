"""Quantisers: continuous vectors (B, D, H, W) to codes (B, H, W) int64 and back.

Each has `forward(z) -> (quantised z with straight-through gradient, codes, auxiliary loss)`,
`embed(codes) -> z` and a `vocabulary`.
"""

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class FiniteScalar(nn.Module):
    """Finite scalar quantisation: each dimension rounds to one of a few levels.

    Mentzer 2023, arXiv 2309.15505, section 3. The vocabulary is the product of `levels`; there is
    no codebook to learn and none to collapse.
    """

    levels: Tensor
    strides: Tensor

    def __init__(self, levels: Sequence[int]) -> None:
        super().__init__()
        self.dimensions = len(levels)
        self.vocabulary = prod(levels)
        strides = [prod(levels[:index]) for index in range(len(levels))]
        self.register_buffer("levels", torch.tensor(levels), persistent=False)
        self.register_buffer("strides", torch.tensor(strides), persistent=False)

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Quantise (B, D, H, W) to values in [-1, 1]; the auxiliary loss is zero."""
        bounded = self._bound(z.float())
        rounded = bounded + (bounded.round() - bounded).detach()
        half = self._column(self.levels // 2)
        codes = ((bounded.round() + half) * self._column(self.strides)).sum(1).long()
        return rounded / half, codes, z.new_zeros(())

    def embed(self, codes: Tensor) -> Tensor:
        """Return the values (B, D, H, W) in [-1, 1] that stand for codes (B, H, W)."""
        digits = codes[:, None] // self._column(self.strides) % self._column(self.levels)
        half = self._column(self.levels // 2)
        return (digits - half) / half

    def _bound(self, z: Tensor) -> Tensor:
        levels = self._column(self.levels)
        half = (levels - 1) * (1 - 1e-3) / 2
        offset = torch.where(levels % 2 == 0, 0.5, 0.0)
        # The shift puts zero amid a level; of two levels none is amid, and zero parts them.
        shift = torch.where(levels > 2, torch.atanh(offset / half), 0.0)
        return torch.tanh(z + shift) * half - offset

    @staticmethod
    def _column(values: Tensor) -> Tensor:
        return values[None, :, None, None]


class VectorQuantizer(nn.Module):
    """Nearest of a learned codebook on the unit sphere of a few dimensions.

    Low-dimensional, L2-normalised lookup as in ViT-VQGAN (Yu 2021, arXiv 2110.04627, section 3.2),
    with the gradient codebook and commitment losses of VQ-VAE (arXiv 1711.00937, equation 3).
    """

    def __init__(self, vocabulary: int, dimensions: int, commitment: float = 0.25) -> None:
        super().__init__()
        self.vocabulary = vocabulary
        self.dimensions = dimensions
        self.commitment = commitment
        self.codebook = nn.Parameter(F.normalize(torch.randn(vocabulary, dimensions), dim=-1))

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Quantise (B, D, H, W); the auxiliary loss is codebook + commitment."""
        unit = F.normalize(z.float(), dim=1)
        flat = unit.permute(0, 2, 3, 1)
        codes = (flat @ F.normalize(self.codebook, dim=-1).T).argmax(-1)
        chosen = self.embed(codes)
        loss = F.mse_loss(chosen, unit.detach()) + self.commitment * F.mse_loss(
            unit, chosen.detach()
        )
        return unit + (chosen - unit).detach(), codes, loss

    def embed(self, codes: Tensor) -> Tensor:
        """Return the unit vectors (B, D, H, W) that stand for codes (B, H, W)."""
        return F.embedding(codes, F.normalize(self.codebook, dim=-1)).permute(0, 3, 1, 2)
