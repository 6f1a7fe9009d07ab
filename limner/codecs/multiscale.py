"""Residual token maps from coarse to fine, all of one vocabulary: the codec of next-scale models.

Shapes: B batch, D dimensions of a code, h and w rows and columns of the finest map, S cells of all
maps. Tian 2024, "Visual autoregressive modeling" (VAR), arXiv 2404.02905, algorithms 1 and 2.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from math import prod
from typing import ClassVar

import torch
from torch import Tensor, nn

from limner.codecs.base import CodecBase
from limner.codecs.codebook import VectorQuantizer
from limner.codecs.quantize import FiniteScalar
from limner.errors import ConfigError, UsageError
from limner.nn.autoencoder import AutoencoderConfig, check_autoencoder, encoder_of
from limner.nn.decoders import decoder_of
from limner.nn.maps import Phi, lower_map, raise_map

VOCABULARY_LIMIT = 2**24  # codes are summed in fp32, which counts no further


@dataclass(frozen=True)
class MultiscaleConfig(AutoencoderConfig):
    """Shape of the codec; each number of encoder channels is a halving of height and width.

    `scales` are the sides of the square token maps, coarse to fine. `levels` are those of finite
    scalar quantisation; `codebook` > 0 takes in its place a learned codebook of so many vectors of
    `len(levels)` dimensions.
    """

    scales: tuple[int, ...] = (1, 2, 3, 4, 6, 8)
    levels: tuple[int, ...] = (8, 5, 5, 5, 4)
    codebook: int = 0

    def __post_init__(self) -> None:
        check_autoencoder(self)
        finest = self.seen // 2 ** len(self.encoder_channels)
        check_scales(self.scales, finest, len(self.encoder_channels))
        if not self.levels or min(self.levels) < 2 or prod(self.levels) > VOCABULARY_LIMIT:
            raise ConfigError(
                f"levels is {list(self.levels)}; expected some, each at least 2, their product at "
                f"most {VOCABULARY_LIMIT}"
            )
        if self.codebook < 0 or self.codebook == 1 or self.codebook > VOCABULARY_LIMIT:
            raise ConfigError(
                f"codebook is {self.codebook}; expected 2 to {VOCABULARY_LIMIT}, or 0 for none"
            )


def check_scales(scales: Sequence[int], finest: int, halvings: int) -> None:
    """Raise ConfigError unless sides of square maps rise to the `finest`."""
    rising = all(a < b for a, b in pairwise(scales))
    if not scales or scales[0] < 1 or not rising or scales[-1] != finest:
        raise ConfigError(
            f"scales is {list(scales)}; expected rising sides of at least 1, the last "
            f"{finest}: the size halved {halvings} times"
        )


class ResidualCodec(CodecBase):
    """Each map quantises what the coarser ones leave; the decoder gets the sum of all.

    A codec has `maps`, `dimensions`, `quantizer` and `phi`, or says for itself how one map is
    quantised (`_look`), what codes stand for (`_vectors`) and which phi is a map's (`_phi`).
    """

    residual: ClassVar[bool] = True
    dimensions: int
    phi: nn.ModuleList

    def embed(self, codes: Tensor) -> Tensor:
        """Return the sum (B, D, h, w) of all maps of codes (B, S[, G]), or of the first ones alone.

        Algorithm 2. Raises UsageError for codes that do not end with a map.
        """
        # Codes of the first maps alone are a preview: what the finer ones would add is left out.
        sizes = [rows * columns for rows, columns in self.maps]
        ends = list(accumulate(sizes))
        if codes.shape[1] not in ends:
            raise UsageError(
                f"{codes.shape[1]} codes are no whole maps; expected one of {ends} codes"
            )
        count = ends.index(codes.shape[1]) + 1
        known = codes.new_zeros(len(codes), self.dimensions, *self.grid).float()
        for index, part in enumerate(codes.split(sizes[:count], dim=1)):
            values = self._vectors(part.unflatten(1, self.maps[index]))
            known = known + self._raise(values, index)  # (B, D, h, w)
        return known

    def lower(self, known: Tensor, index: int) -> Tensor:
        """Return features (B, D, h, w) at the size of map `index`: what a prior sees before it."""
        return lower_map(known, self.maps[index])

    def quantize(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the sum of all maps, codes (B, S[, G]) and the auxiliary loss: algorithm 1."""
        features = features.float()
        known, codes, losses = torch.zeros_like(features), [], []
        for index in range(len(self.maps)):
            # A map says what the coarser ones left, seen at its own size.
            values, found, loss = self._look(self.lower(features - known.detach(), index))
            known = known + self._raise(values, index)
            codes.append(found.flatten(1, 2))
            losses.append(loss)
        return known, torch.cat(codes, dim=1), torch.stack(losses).mean()

    def encode_after(self, images: Tensor, codes: Tensor, which: int) -> Tensor:
        """Return codes (B, N[, G]) of a map: what codes (B, .[, G]) of the coarser maps left."""
        features = self.encoder(images).float()
        if which:
            features = features - self.embed(codes.flatten(1) if self.groups == 1 else codes)
        found: Tensor = self._look(self.lower(features, which))[1]
        return found.flatten(1, 2)

    def _raise(self, values: Tensor, index: int) -> Tensor:
        return raise_map(values, self._phi(index), self.grid)

    def _look(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return vectors, codes (B, h, w[, G]) and the loss of one map of features (B, D, h, w)."""
        found: tuple[Tensor, Tensor, Tensor] = self.quantizer(features)
        return found

    def _vectors(self, codes: Tensor) -> Tensor:
        """Return the vectors (B, D, h, w) of codes (B, h, w[, G]) of one map."""
        vectors: Tensor = self.quantizer.embed(codes)
        return vectors

    def _phi(self, index: int) -> nn.Module:
        return self.phi[index]


class MultiscaleCodec(ResidualCodec):
    """Residual maps that are trained here, each with a phi of its own.

    The gradient goes through the quantiser of every map, where VAR has one straight-through step
    around the sum and a loss on features; so each phi learns from the picture, and the features
    grow until the levels are fine beside them.
    """

    def __init__(self, config: MultiscaleConfig) -> None:
        super().__init__()
        self.config = config
        dimensions = self.dimensions = len(config.levels)
        self.encoder = encoder_of(config, dimensions)
        self.decoder = decoder_of(config, dimensions)
        self.quantizer: FiniteScalar | VectorQuantizer = (
            VectorQuantizer(config.codebook, dimensions)
            if config.codebook
            else FiniteScalar(config.levels)
        )
        self.phi = nn.ModuleList(Phi(dimensions) for _ in config.scales)

    @property
    def maps(self) -> tuple[tuple[int, int], ...]:
        """Rows and columns of each token map, coarse to fine."""
        return tuple((side, side) for side in self.config.scales)

    @property
    def levels(self) -> tuple[int, ...]:
        """How many values each digit of a code has; none with a learned codebook."""
        return () if self.config.codebook else self.config.levels
