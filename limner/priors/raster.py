"""Priors of published weights that draw one map, one code a cell, in raster order.

Shapes: B pictures, T text positions, S cells, L new positions, D width.
"""

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

from torch import Tensor

from limner.nn.engine import DecoderEngine
from limner.priors import base
from limner.priors.decoding import CellDecoder, is_guided
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


class EngineDecoder(CellDecoder):
    """One drawing in progress of a prior that has an `engine`; what it reads is its `_read`."""

    prior: Any

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
        engine = prior.engine()
        # Stock products give a row the same numbers only among as many rows; the kernel always.
        text = text[: count if engine.native else len(text)]
        self._accept(prior, text, sampling, processors, guidance)
        self._read(engine, text)

    def _read(self, engine: DecoderEngine, text: Tensor) -> None:
        """Begin a session that has read text (B, T), or is to look at it."""
        raise NotImplementedError


class StreamDecoder(EngineDecoder):
    """One drawing in progress of a prior whose text and cells are one causal stream.

    It begins with `begun` (B or 2B, D), which predicts the first cell, and with `prefix`, where
    that cell will stand; the prior's `cells` gives the vectors of codes.
    """

    begun: Tensor

    def extend(self, x: Tensor, at: int) -> Tensor:
        """Map x (B or 2B, L, D) at positions `at`, .. to features of the same shape."""
        return self.session.extend(x, at)

    def _draw(self, cell: int, uniforms: Tensor, scale: float | Tensor) -> Tensor:
        """Return the codes (B, 1) of a cell; every row is computed, guided or not."""
        features = self.begun
        if cell:
            x = self.prior.cells(self.codes[:, -1], cell - 1)  # (B, 1, D)
            x = x.repeat(len(self.begun) // self.pictures, 1, 1)
            features = self.extend(x, self.prefix + cell - 1)[:, 0]
        if not is_guided(scale):
            features = features[: self.pictures]
        return self._choose(features, 0, uniforms, scale)
