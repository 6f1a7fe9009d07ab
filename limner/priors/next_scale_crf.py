"""GPT features to a conditional random field: coarse maps by next scale, the finest by a field.

Shapes: B pictures, T text positions, M maps, S cells of all maps, N of the finest, G codes a cell,
V values of a code, D width. As next_scale, whose transformer reads the text and draws the coarser
maps; what it makes of the finest map's cells are unary potentials, and between neighbours stand the
pairwise ones of crf (CRF-as-RNN, arXiv 1502.03240). So cells of the finest map agree with one
another, which next_scale draws each by itself.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from limner.priors import base
from limner.priors.crf import Field, FieldConfig, mean_of_unknown
from limner.priors.next_scale import Drawing, NextScale, NextScaleConfig
from limner.sampling.tokens import TokenSampling
from limner.types import LogitsProcessor


@dataclass(frozen=True)
class NextScaleCRFConfig(FieldConfig, NextScaleConfig):
    """Settings of next_scale, and of the field over the finest map."""


class NextScaleCRF(NextScale):
    """Coarser maps one after the other, each at once; the finest by Gibbs sampling of a field."""

    nll_kind: ClassVar[str] = "each map's codes after those before it, the finest by mean field"
    takes_processors: ClassVar[bool] = False
    config: NextScaleCRFConfig

    def __init__(self, config: NextScaleCRFConfig) -> None:
        super().__init__(config)
        self.field = Field(config)

    @property
    def steps(self) -> int:
        """How often `stream` yields: once a coarser map, and once a sweep."""
        return len(self.maps) - 1 + self.config.sweeps

    def sample_order(self, codes: Tensor, generator: torch.Generator, random: float) -> Any:
        """Return codes as they are seen, and which are known (B, S, G, 2), as in both parents."""
        seen = super().sample_order(codes, generator, random)
        seen = codes if seen is None else seen
        known = torch.zeros_like(seen, dtype=torch.bool).view(len(codes), self.length, -1)
        finest = self.slices[-1]
        known[:, finest] = self.field.partly_known(codes, generator)
        return torch.stack([seen.view_as(known), known.long()], dim=-1)

    def forward(self, text: Tensor, codes: Tensor, sampled: Tensor | None = None) -> Tensor:
        """Return logits (B, S, G, V), of the finest map those of mean field's marginals.

        `sampled` is what `sample_order` returns; by default the codes themselves are seen, and of
        the finest map none is known.
        """
        codes = codes.reshape(len(codes), self.length, self.config.groups)
        seen, known = (codes, None) if sampled is None else sampled.unbind(-1)
        inputs, finest = self.codes(), self.slices[-1]
        features = self.features(text, seen, inputs)
        coarse = self.head(features[:, : finest.start], codes[:, : finest.start], inputs)
        held = None if known is None else (codes[:, finest], known[:, finest].bool())
        field = self.field.mean_field(self.unary(features[:, finest]), held)
        return torch.cat([coarse, field], dim=1)

    def unary(self, features: Tensor) -> Tensor:
        """Return unary potentials (B, N, G, V) of features (B, N, D)."""
        table, nothing = self.head.table(), torch.zeros_like(features)
        mixed = [self.head.mix(features, nothing, group) for group in range(self.config.groups)]
        rows = [F.linear(x, table[g], self.head.bias[g]) for g, x in enumerate(mixed)]
        return torch.stack(rows, dim=2)

    def loss(self, text: Tensor, codes: Tensor, sampled: Tensor | None = None) -> Tensor:
        """Return the mean loss in nats a code, of the finest map's over unknown codes alone."""
        each = self.nll(text, codes, sampled)
        if sampled is None:
            return each.mean()
        finest = self.slices[-1]
        share = finest.start / self.length
        known = sampled[:, finest, :, 1].bool()
        field = mean_of_unknown(each[:, finest], known)
        if not finest.start:  # one map alone
            return field
        return share * each[:, : finest.start].mean() + (1 - share) * field

    def known_nats(self, text: Tensor, codes: Tensor, keep: Tensor) -> Tensor:
        """Return the nats (K,) of known codes given the others, as PriorBase."""
        cells = codes.reshape(len(codes), self.length, self.config.groups)
        known = ~keep[..., None].expand_as(cells)
        told = torch.stack([cells, known.long()], dim=-1)
        nats = self.nll(text.expand(len(codes), -1), codes, told).double().sum(2)
        return -(nats * keep).sum(1)

    def stream(
        self,
        text: Tensor,
        sampling: TokenSampling,
        seeds: Sequence[int],
        known: base.Known | None = None,
        processors: Sequence[LogitsProcessor] = (),
    ) -> Iterator[Tensor]:
        """Draw codes, yielding after every coarser map and every sweep; as PriorBase."""
        # 1. Uniform numbers: of the coarser maps' cells, then of each sweep and its beginning.
        config, count, finest = self.config, len(text), self.slices[-1]
        text, held = self.fill(text), self.known_rows(known)
        fine = finest.stop - finest.start
        numbers = finest.start + (config.sweeps + 1) * fine
        noise = self.noise(seeds, numbers, config.groups, text.device)
        drawing = Drawing(self, text, sampling)
        codes = text.new_zeros(len(text), 0, config.groups)
        # 2. The coarser maps, as next_scale draws them.
        for which, cells in enumerate(self.slices[:-1]):
            chosen = drawing.draw(which, noise[:, cells])
            if held is not None:
                chosen = torch.where(held[1][:, cells], held[0][:, cells], chosen)
            drawing.take(which, chosen)
            codes = torch.cat([codes, chosen], dim=1)
            yield self.unpad(codes, count)
        # 3. The field over the finest.
        unary = self.unary(drawing.features(len(self.slices) - 1, len(text)))
        told, untold = unary.chunk(2) if drawing.guided else (unary, unary)
        given = None if held is None else (held[0][:, finest], held[1][:, finest])
        sweeps = noise[:, finest.start :].unflatten(1, (config.sweeps + 1, fine)).unbind(1)
        for field in self.field.gibbs((told, untold), sampling, sweeps, given):
            yield self.unpad(torch.cat([codes, field], dim=1), count)
