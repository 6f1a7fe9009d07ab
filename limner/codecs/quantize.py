"""Finite scalar quantisation: continuous vectors (B, D, H, W) to codes (B, H, W) int64 and back.

A quantiser has `forward(z) -> (quantised z with a gradient for z, codes, auxiliary loss)`,
`embed(codes) -> z` and a `vocabulary`; that of learned codes is in `codebook`.
"""

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor, nn


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
        half = self._column(self.levels // 2)  # the level that stands for zero
        codes = ((bounded.round() + half) * self._column(self.strides)).sum(1).long()
        return rounded / half, codes, z.new_zeros(())

    def embed(self, codes: Tensor) -> Tensor:
        """Return the values (B, D, H, W) in [-1, 1] that stand for codes (B, H, W)."""
        digits = codes[:, None] // self._column(self.strides) % self._column(self.levels)
        half = self._column(self.levels // 2)
        return (digits - half) / half

    def nearest(self, values: Tensor) -> Tensor:
        """Return the codes (B, H, W) whose values are nearest to some (B, D, H, W)."""
        half = self._column(self.levels // 2)
        digits = (values * half + half).round().clamp_min(0)
        digits = torch.minimum(digits, self._column(self.levels) - 1)
        return (digits * self._column(self.strides)).sum(1).long()

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
