"""Drawing with a prior on a GPU: a step that reads one cell is one CUDA graph.

Shapes: B pictures, G codes a cell, D width.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from limner.nn.engine import DecoderEngine
from limner.nn.graphs import Graphed, graphs_wanted
from limner.nn.torch_engine import TorchSession
from limner.priors.codes import embed_cells
from limner.priors.decoding import CellDecoder, is_guided
from limner.priors.kernel import KernelDecoder, draws_cells
from limner.priors.packed import CellPrior, Graphs, Kind
from limner.sampling.tokens import TokenSampling
from limner.types import LogitsProcessor


def begin_drawing(
    prior: CellPrior,
    text: Tensor,
    sampling: TokenSampling,
    count: int,
    processors: Sequence[LogitsProcessor] = (),
    guidance: Sequence[float] = (),
) -> CellDecoder:
    """Read `text` (batch_rows, T), of which `count` rows are wanted; by what draws them fastest."""
    # A kernel or a graph does what it knows; a function of somebody else's may do something new.
    if not processors and draws_cells(prior, sampling):
        return KernelDecoder(prior, text, sampling, count, guidance=guidance)
    if not processors and graphs_wanted(prior.begin.device):
        return GraphedDecoder(prior, text, sampling, count, guidance=guidance)
    return CellDecoder(prior, text, sampling, count, processors, guidance)


class GraphedDecoder(CellDecoder):
    """A drawing whose graphs are at most two for each map: with guidance and without.

    The last drawing leaves its session and graphs with the prior for the next of the same kind,
    which then captures nothing.
    """

    session: TorchSession
    kind: Kind
    graphs: Graphs

    def _begin(self, engine: DecoderEngine, first: Sequence[int], text: Tensor) -> TorchSession:
        # Graphs are told the guidance each time; what they are made for is whether there is any.
        self.kind = (
            self.pictures,
            self.prefix,
            replace(self.sampling, guidance=float(self.guidance[0] > 0)),
        )
        held = self.prior.packed.checkout(self.kind)
        if held is not None:
            session, self.graphs = held
            session.begin_at(first)
            return session
        self.graphs = {}
        fresh = super()._begin(engine, first, text)
        assert isinstance(fresh, TorchSession), "graphs are of the engine in stock torch"
        return fresh

    def close(self) -> None:
        """Leave session and graphs to the next drawing."""
        self.prior.packed.checkin(self.kind, self.session, self.graphs)

    def _draw(self, cell: int, uniforms: Tensor, scale: float | Tensor) -> Tensor:
        guided = is_guided(scale)
        # The first cell has none before it, and catching up reads several: neither repeats.
        if not cell or (guided and self.caught_up != cell):
            return super()._draw(cell, uniforms, scale)
        if guided:
            self.caught_up = cell + 1
        codes = self.codes[:, -1]  # (B, G)
        inputs = (
            codes,
            torch.full((1,), cell, device=codes.device),
            uniforms,
            torch.as_tensor(scale, dtype=torch.float32, device=codes.device).expand(len(codes), 1),
        )
        key = (guided, self.prior.map_of(cell - 1), self.prior.map_of(cell))
        if key not in self.graphs:
            self.graphs[key] = Graphed(partial(self._cell, *key), *inputs)
        return self.graphs[key](*inputs).clone()

    def _cell(
        self,
        guided: bool,
        before: int,
        which: int,
        codes: Tensor,
        cell: Tensor,
        uniforms: Tensor,
        scale: Tensor,
    ) -> Tensor:
        """Return the codes (B, G) of the cell (1,), the same work for every cell of a map."""
        prior = self.prior
        last = embed_cells(self.inputs[prior.head.rows(before)], codes)  # (B, D)
        last = last + prior.placed.index_select(0, cell - 1)
        x = (last + prior.target.index_select(0, cell))[:, None]  # (B, 1, D)
        rows = slice(None) if guided else slice(self.pictures)
        features = self.session.extend_at(x.repeat(1 + guided, 1, 1), cell + self.prefix, rows)
        return self._choose(features[:, 0], which, uniforms, scale)
