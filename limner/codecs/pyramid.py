"""A codec of one map whose codes are told from coarse to fine: what next-scale priors draw over.

Shapes: B batch, D dimensions of a cell's codes, G codes a cell, h and w rows and columns of the
finest map, S cells of all maps.
"""

from dataclasses import dataclass
from itertools import accumulate, pairwise

import torch
from torch import Tensor
from torch.nn import functional as F

from limner.codecs.fsq import FSQCodec, FSQConfig
from limner.errors import ConfigError, UsageError


@dataclass(frozen=True)
class PyramidConfig(FSQConfig):
    """Shape of the codec, as fsq's, and `scales`: the sides of its square maps, coarse to fine."""

    scales: tuple[int, ...] = (1, 2, 4, 6, 8)

    def __post_init__(self) -> None:
        super().__post_init__()
        finest, scales = self.seen // 8, self.scales
        rising = all(a < b for a, b in pairwise(scales))
        if len(scales) < 2 or scales[0] < 1 or not rising or scales[-1] != finest:
            raise ConfigError(
                f"scales is {list(scales)}; expected two or more rising sides of at least 1, the "
                f"last {finest}: a cell every 8 pixels"
            )


class PyramidCodec(FSQCodec):
    """fsq's codes as the finest of several maps; a coarser one says what they are in the mean.

    The finest map is the picture: its codes and the weights are those of an fsq codec, so that one
    which is trained needs no more training. Coarser maps quantise the mean of its vectors, by the
    same levels. A residual codec (`multiscale`, as in VAR) spreads a picture over all maps, and an
    error in a coarse one stays; here every map says all that it can, and the last word counts.
    """

    config: PyramidConfig

    @property
    def maps(self) -> tuple[tuple[int, int], ...]:
        """Rows and columns of each token map, coarse to fine."""
        return tuple((side, side) for side in self.config.scales)

    def embed(self, codes: Tensor) -> Tensor:
        """Return the vectors (B, D, h, w) of the last whole map of codes (B, S) or (B, S, G).

        Of the first maps alone that is a preview, enlarged. Raises UsageError for codes that do not
        end with a map.
        """
        sizes = [rows * columns for rows, columns in self.maps]
        ends = list(accumulate(sizes))
        if codes.shape[1] not in ends:
            raise UsageError(
                f"{codes.shape[1]} codes are no whole maps; expected one of {ends} codes"
            )
        which = ends.index(codes.shape[1])
        values = super().embed(codes[:, -sizes[which] :].unflatten(1, self.maps[which]))
        if self.maps[which] == self.grid:
            return values
        return F.interpolate(values, self.grid, mode="bilinear", align_corners=False)

    def nearest(self, values: Tensor) -> Tensor:
        """Return the codes (B, S[, G]) of all maps nearest to vectors (B, D, h, w)."""
        return self._with_coarser(values, super().nearest(values))

    def quantize(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the finest map's values, the codes (B, S[, G]) of all maps, and the loss (0)."""
        values, codes, loss = super().quantize(features)
        return values, self._with_coarser(values, codes), loss

    def _with_coarser(self, values: Tensor, finest: Tensor) -> Tensor:
        maps = [
            super(PyramidCodec, self).nearest(F.adaptive_avg_pool2d(values, side))
            for side in self.maps[:-1]
        ]
        return torch.cat([each.flatten(1, 2) for each in (*maps, finest)], dim=1)
