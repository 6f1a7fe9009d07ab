"""Drawing with a prior, one cell a step, from a cache of what the steps before computed.

Shapes: B pictures, T text positions, S cells, G codes a cell, V values of a code.
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from limner.nn.transformer import KeyValueCache
from limner.priors.codes import embed_cells
from limner.sampling.tokens import TokenSampling, choose, guidance_at, guide

if TYPE_CHECKING:
    from limner.priors.gpt import GPT


class Decoder:
    """One drawing in progress: the cache, and what every step needs again."""

    def __init__(self, prior: "GPT", text: Tensor, sampling: TokenSampling) -> None:
        self.prior, self.sampling = prior, sampling
        self.guided = sampling.guidance != 0
        text = torch.cat([text, torch.zeros_like(text)]) if self.guided else text
        self.rows, self.prefix = text.shape
        sizes, length = prior.transformer.config, self.prefix + prior.length
        self.cache = KeyValueCache(sizes, self.rows, length, text.device)
        self.inputs, self.outputs = prior.codes(), prior.head.table()
        mask = prior.mask(text)
        self.visible = mask[:, :, -1:]
        start = mask[:, :, : self.prefix, : self.prefix]
        prior.transformer(prior.text(text), prior.text_coordinates(text), start, self.cache)

    def step(self, codes: Tensor, uniforms: Tensor) -> Tensor:
        """Return the codes (B, G) of the cell after `codes` (B, <= S, G) by uniforms (B, G)."""
        cell = codes.shape[1]
        features = self._features(codes, cell)
        scale = guidance_at(
            self.sampling.guidance_schedule, self.sampling.guidance, cell, self.prior.length
        )

        def pick(logits: Tensor, group: int) -> Tensor:
            if not self.guided:
                return choose(logits, self.sampling, uniforms[:, group])
            with_text, without_text = logits.chunk(2)
            guided = guide(with_text, without_text, scale)
            return choose(guided, self.sampling, uniforms[:, group]).repeat(2)

        chosen = self.prior.head.draw(features, pick, self.inputs, self.outputs)
        return chosen[: len(codes)]

    def _features(self, codes: Tensor, cell: int) -> Tensor:
        prior = self.prior
        if cell:
            last = embed_cells(self.inputs, codes[:, -1]) + prior.placed[cell - 1]
            last = last.repeat(self.rows // len(codes), 1)
        else:
            last = prior.begin.expand(self.rows, -1)
        x = (last + prior.target[cell])[:, None]
        seen = self.visible[..., : self.prefix + cell + 1]
        where = prior.image_coordinates[cell].view(1, 1, 2)
        features: Tensor = prior.transformer(x, where, seen, self.cache)[:, 0]
        return features
