"""Priors that draw one whole token map at a time, coarse to fine (VAR, arXiv 2404.02905).

Shapes: B pictures, T text positions, S cells of all maps, N of one, G codes a cell, V values of a
code.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from limner.priors import base
from limner.sampling.tokens import TokenSampling, choose, guidance_at, guide_halves, process
from limner.types import LogitsProcessor

Pick = Callable[[Tensor, int], Tensor]  # logits of a code of every cell, and which code


class MapPrior(base.PriorBase):
    """A prior is this, `slices`, `begin_drawing` and what the drawing that it returns does.

    All cells of a map are drawn at once, each without knowing its neighbours: over one map alone,
    or with few, pictures fall apart.
    """

    nll_kind: ClassVar[str] = "each map's codes after those of the maps before it"
    takes_processors: ClassVar[bool] = True
    slices: list[slice]  # where the cells of each map stand among all

    @property
    def steps(self) -> int:
        """How often `stream` yields: once a map."""
        return len(self.maps)

    def begin_drawing(
        self, text: Tensor, sampling: TokenSampling, processors: Sequence[LogitsProcessor]
    ) -> "MapDrawing":
        """Return a drawing that has read text (batch_rows, T)."""
        raise NotImplementedError

    def stream(
        self,
        text: Tensor,
        sampling: TokenSampling,
        seeds: Sequence[int],
        known: base.Known | None = None,
        processors: Sequence[LogitsProcessor] = (),
    ) -> Iterator[Tensor]:
        """Draw codes map by map, yielding after each; guidance may grow by map; as PriorBase."""
        count, groups = len(text), self.config.groups
        text, held = self.fill(text), self.known_rows(known)
        noise = self.noise(seeds, self.length, groups, text.device)
        drawing = self.begin_drawing(text, sampling, processors)
        codes = text.new_zeros(len(text), 0, groups)
        for which, cells in enumerate(self.slices):
            chosen = drawing.draw(which, noise[:, cells])
            if held is not None:
                given, keep = held
                chosen = torch.where(keep[:, cells], given[:, cells], chosen)
            drawing.take(which, chosen)
            codes = torch.cat([codes, chosen], dim=1)
            yield self.unpad(codes, count)


class MapDrawing:
    """One drawing in progress: how the codes of a map are chosen.

    A drawing is this, `draw` and what `take` does besides. Where it is `guided`, rows that do not
    know the text stand behind those that do.
    """

    def __init__(
        self,
        prior: Any,
        text: Tensor,
        sampling: TokenSampling,
        processors: Sequence[LogitsProcessor] = (),
    ) -> None:
        self.prior, self.sampling, self.processors = prior, sampling, processors
        self.before = text.new_zeros(len(text), 0)  # the codes of the maps drawn so far
        self.guided = sampling.guidance != 0

    def draw(self, which: int, noise: Tensor) -> Tensor:
        """Return the codes (B, N, G) of a map by uniform numbers (B, N, G)."""
        raise NotImplementedError

    def take(self, which: int, codes: Tensor) -> None:
        """Let the maps that follow know the codes (B, N, G) of a map."""
        self.before = torch.cat([self.before, codes.flatten(1)], dim=1)

    def told(self, text: Tensor) -> Tensor:
        """Return text (B, T) and, where it is guided, as many rows without any."""
        return torch.cat([text, torch.zeros_like(text)]) if self.guided else text

    def picker(self, which: int, noise: Tensor) -> Pick:
        """Return what chooses the codes of a map's cells by uniform numbers (B, N, G).

        It is given logits (B or 2B times N, V) of one code of every cell, in the order of codes,
        and returns as many codes. They are guided and changed by processors as one cell's would be.
        A processor is told the codes of the maps before, and those of the cell itself: its
        neighbours in the map are drawn in the same moment.
        """
        sampling = self.sampling
        scale = guidance_at(
            sampling.guidance_schedule, sampling.guidance, which, len(self.prior.maps)
        )
        size = noise.shape[1]
        drawn = [self.before.repeat_interleave(size, dim=0)] if self.processors else []

        def pick(logits: Tensor, group: int) -> Tensor:
            logits = guide_halves(logits, scale) if self.guided else logits
            if self.processors:
                logits = process(logits, torch.cat(drawn, dim=1), self.processors)
            chosen = choose(logits, sampling, noise[..., group].flatten())
            drawn.append(chosen[:, None])
            return chosen.repeat(2) if self.guided else chosen

        return pick
