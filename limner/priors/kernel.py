"""Drawing with a prior by the native kernel: a cell of every picture is one call (kernels/cell.h).

Shapes: B pictures, n rows, which are B or with guidance 2B, S cells, G codes a cell, V values of a
code, D width.
"""

import ctypes
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from limner.nn.engine import DecoderEngine
from limner.nn.native import NativeSession
from limner.priors.choosing import Choice, choice_of, chooses
from limner.priors.decoding import CellDecoder, is_guided
from limner.priors.packed import CellPrior
from limner.sampling.tokens import TokenSampling


class _Cell(ctypes.Structure):
    """`Cell` of kernels/cell.h, field by field."""

    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("model", "call")),
        *((name, ctypes.c_int) for name in ("pictures", "groups", "head")),
        *((name, ctypes.c_void_p) for name in ("before", "drawn", "last", "next", "table")),
        *((name, ctypes.c_void_p) for name in ("uniforms", "known", "logits", "codes")),
        ("choice", Choice),
    ]


def draws_cells(prior: CellPrior, sampling: TokenSampling) -> bool:
    """Tell whether the kernel draws whole cells of a prior, by such sampling."""
    engine, inputs = prior.packed.parts(prior)
    kept = (each.detach() for each in (inputs, prior.begin, prior.placed, prior.target))
    return engine.native and all(chooses(each, sampling) for each in kept)


class KernelDecoder(CellDecoder):
    """One drawing in progress, of a prior and sampling for which `draws_cells`."""

    session: NativeSession

    def _begin(self, engine: DecoderEngine, first: Sequence[int], text: Tensor) -> NativeSession:
        """Return a session as CellDecoder does, and make once what every cell is told."""
        session, prior, rows = super()._begin(engine, first, text), self.prior, len(first)
        assert isinstance(session, NativeSession), "the kernel's engine has the kernel's sessions"
        # The kernel is told addresses, so all of it is held here.
        values, width = self.inputs.shape[1:]
        self.x, self.known = torch.empty(rows, width), torch.empty(rows, width)
        self.of_all, self.scratch = torch.empty(rows, values), torch.empty(3 * values).double()
        self.scales, self.chosen = torch.zeros(rows), torch.zeros(rows, dtype=torch.int64)
        kept = (prior.begin, prior.placed, prior.target, self.inputs)
        self.begun, self.placed, self.target, self.table = (
            each.detach().contiguous() for each in kept
        )
        self.places = np.zeros((4, rows), np.int32)  # rows, positions, what they see: [first, end)
        self.places[0], self.places[2] = range(rows), first
        self.job = _Cell(
            model=engine.model,  # type: ignore[attr-defined]
            call=ctypes.addressof(session.call),
            pictures=self.pictures,
            groups=prior.config.groups,
            known=self.known.data_ptr(),
            logits=self.of_all.data_ptr(),
            choice=choice_of(self.sampling, self.pictures, values, self.scratch),
        )
        self.job.choice.scales = self.scales.data_ptr()
        self.job.choice.chosen = self.chosen.data_ptr()
        return session

    def _draw(self, cell: int, uniforms: Tensor, scale: float | Tensor) -> Tensor:
        """Return the codes (B, G) of a cell."""
        guided, prior, job = is_guided(scale), self.prior, self.job
        if guided and self.caught_up != cell:  # rows without text have cells to read first
            return super()._draw(cell, uniforms, scale)
        # 1. What the cell is predicted from; `held` keeps what the kernel reads until it returns.
        held = [uniforms.T.double().contiguous()]
        if cell:
            held.append(self.codes[:, cell - 1].contiguous())
            job.before, job.drawn = held[1].data_ptr(), self._table(cell - 1)
            job.last = self.placed[cell - 1].data_ptr()
        else:
            job.before, job.drawn = None, self.begun.data_ptr()
        job.next, job.uniforms = self.target[cell].data_ptr(), held[0].data_ptr()
        # 2. Where it stands, and how far guidance pushes each picture.
        tokens, at = self.pictures * (1 + guided), self.prefix + cell
        self.places[1], self.places[3] = at, at + 1
        self.session.aim(self.x[:tokens], self.places)
        if guided:
            self.scales[: self.pictures] = torch.as_tensor(scale).flatten()
            self.caught_up = cell + 1
        # 3. The cell's codes, by the head of its map.
        found = self.codes.new_empty(self.pictures, job.groups)
        job.table, job.codes = self._table(cell), found.data_ptr()
        job.head = prior.map_of(cell) * job.groups
        self.session.engine.library.limner_cell(ctypes.byref(job))
        return found

    def _table(self, cell: int) -> int:
        """Return where the vectors of a cell's codes lie."""
        return self.table[self.prior.map_of(cell) * self.job.groups].data_ptr()
