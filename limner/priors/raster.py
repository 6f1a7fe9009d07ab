"""Priors of published weights that draw one map, one code a cell, in raster order.

Shapes: B pictures, T text positions, S cells.
"""

from collections.abc import Iterator, Sequence
from typing import ClassVar

from torch import Tensor

from limner.priors import base
from limner.priors.decoding import CellDecoder
from limner.sampling.tokens import TokenSampling
from limner.types import LogitsProcessor


class RasterPrior(base.PriorBase):
    """A prior is this, `begin_drawing` and what the drawing that it returns asks of it."""

    takes_processors: ClassVar[bool] = True
    mixes_guidance: ClassVar[bool] = True

    def map_of(self, cell: int) -> int:
        """Return which map a cell belongs to: the only one."""
        return 0

    def begin_drawing(
        self,
        text: Tensor,
        sampling: TokenSampling,
        count: int,
        processors: Sequence[LogitsProcessor],
        guidance: Sequence[float],
    ) -> CellDecoder:
        """Return a drawing that has read text (batch_rows, T), of which `count` rows are wanted."""
        raise NotImplementedError

    def stream(
        self,
        text: Tensor,
        sampling: TokenSampling,
        seeds: Sequence[int],
        known: base.Known | None = None,
        processors: Sequence[LogitsProcessor] = (),
        guidance: Sequence[float] = (),
    ) -> Iterator[Tensor]:
        """Draw codes in raster order, yielding after every cell; as PriorBase.

        `guidance` is that of each picture, in place of that of `sampling`: all above 0, or all 0.
        """
        count, text = len(text), self.fill(text)
        noise = self.noise(seeds, self.length, 1, text.device)
        held = self.known_rows(known)
        drawing = self.begin_drawing(text, sampling, count, processors, guidance)
        for cell in range(self.length):
            yield self.unpad(drawing.step(noise[:, cell], held), count)
