"""Drawing with a decoder that looks at the text, which is no part of what it draws.

Shapes: B pictures, T text positions, S cells, D width.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from limner.priors.decoding import CellDecoder, guidance_of_rows
from limner.sampling.tokens import TokenSampling
from limner.types import LogitsProcessor


class CrossDecoder(CellDecoder):
    """One drawing in progress; rows that guidance compares with look at the empty text."""

    prior: Any  # of `limner.priors.bart`

    def __init__(
        self,
        prior: Any,
        text: Tensor,
        sampling: TokenSampling,
        count: int,
        processors: Sequence[LogitsProcessor] = (),
        guidance: Sequence[float] = (),
    ) -> None:
        """Read `text` (batch_rows, T), as CellDecoder does."""
        self.prior, self.sampling, self.processors = prior, sampling, processors
        engine = prior.engine()
        # Stock products give a row the same numbers only among as many rows; the kernel always.
        self.pictures = count if engine.native else len(text)
        text = text[: self.pictures]
        self.guidance = guidance_of_rows(guidance, sampling, self.pictures)
        memory, lengths = prior.read(text)
        if self.guidance[0]:
            # The empty text is read once, and every row that is compared with looks at it.
            empty, places = prior.read(torch.zeros_like(text[:1]))
            memory = torch.cat([memory, empty.expand_as(memory)])
            lengths = lengths + places * self.pictures
        self.prefix = 0  # cells stand alone in the cache
        self.session = engine.begin([0] * len(memory), prior.length, None, memory, lengths)
        self.codes = text.new_zeros(self.pictures, 0, 1)
        self.caught_up = 0

    def input(self, before: Tensor, cell: int) -> Tensor:
        """Return what predicts a cell (B, D): the code (B, 1) before it, and which one it is."""
        prior = self.prior
        codes = before[:, 0] if cell else before.new_full((len(before),), prior.config.begin)
        found: Tensor = prior.embed_norm(prior.embed(codes) + prior.placed.weight[cell])
        return found
