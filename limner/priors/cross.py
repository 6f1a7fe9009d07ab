"""Drawing with a decoder that looks at the text, which is no part of what it draws.

Shapes: B pictures, T text positions, S cells, D width.
"""

import torch
from torch import Tensor

from limner.nn.engine import DecoderEngine
from limner.priors import raster


class CrossDecoder(raster.EngineDecoder):
    """One drawing in progress; rows that guidance compares with look at the empty text."""

    def _read(self, engine: DecoderEngine, text: Tensor) -> None:
        """As EngineDecoder; the prior is one of `limner.priors.bart`."""
        memory, lengths = self.prior.read(text)
        if self.guidance[0]:
            # The empty text is read once, and every row that is compared with looks at it.
            empty, places = self.prior.read(torch.zeros_like(text[:1]))
            memory = torch.cat([memory, empty.expand_as(memory)])
            lengths = lengths + places * self.pictures
        self.prefix = 0  # cells stand alone in the cache
        self.session = engine.begin([0] * len(memory), self.prior.length, None, memory, lengths)

    def input(self, before: Tensor, cell: int) -> Tensor:
        """Return what predicts a cell (B, D): the code (B, 1) before it, and which one it is."""
        prior = self.prior
        codes = before[:, 0] if cell else before.new_full((len(before),), prior.config.begin)
        found: Tensor = prior.embed_norm(prior.embed(codes) + prior.placed.weight[cell])
        return found
