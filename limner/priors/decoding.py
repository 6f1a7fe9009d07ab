"""Drawing with a prior, one cell a step, from a cache of what the steps before computed.

Shapes: B pictures, T text positions, S cells, G codes a cell, V values of a code, D width.
"""

import os
from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor

from limner.nn.fast import TorchRun
from limner.nn.graphs import Graphed, graphs_wanted
from limner.nn.stack import Stack, StackShape, Weights, feed_forward_of, layers_of, prepare
from limner.nn.transformer import rotary_angles
from limner.priors.base import text_coordinates
from limner.priors.codes import embed_cells
from limner.sampling.tokens import TokenSampling, choose, guidance_at, guide, process
from limner.types import LogitsProcessor

if TYPE_CHECKING:
    from limner.priors.gpt import GPT

Kind = tuple[int, int, TokenSampling]  # pictures, text positions, and how codes are chosen
Graphs = dict[tuple[bool, int, int], Graphed]


class Prepared:
    """A prior's weights as drawing wants them, made again when they change.

    `precision` is that of the products: fp32, bf16 or int8. A change made through `.data` alone is
    not seen. Copies of a prior start without it, and it is in no file.

    Where drawing goes by CUDA graphs, the last drawing leaves its cache and graphs here for the
    next of the same kind, which then captures nothing. Whoever draws has them alone.
    """

    def __init__(self) -> None:
        self.precision = "fp32"
        self._state: object = None
        self._parts: tuple[Stack, Tensor] | None = None
        self._left: list[tuple[Kind, Any, Graphs]] = []

    def parts(self, prior: "GPT") -> tuple[Stack, Tensor]:
        """Return the decoder and the table of the codes' input vectors (M * G, V, D)."""
        weights = [
            (weight.data_ptr(), None if weight.is_inference() else weight._version)
            for weight in prior.parameters()
        ]
        asked = [os.environ.get(name) for name in ("LIMNER_NATIVE", "LIMNER_GRAPHS")]
        state = (self.precision, asked, weights)
        if self._parts is None or state != self._state:
            self._parts = None  # the old decoder's memory first
            self._left.clear()
            sizes, heads = prior.transformer.config, list(_heads_of(prior))
            shape = StackShape(
                sizes.width, sizes.layers, sizes.heads, sizes.hidden, groups=len(heads)
            )
            with torch.no_grad():
                layers, device = layers_of(prior.transformer), prior.begin.device
                stack = prepare(shape, layers, heads, self.precision, device)
                self._parts = stack, prior.codes()
            self._state = state
        return self._parts

    def take(self, kind: "Kind") -> tuple[Any, "Graphs"] | None:
        """Return the run and the graphs that a drawing of this kind has left, if any."""
        try:
            held, run, graphs = self._left.pop()
        except IndexError:
            return None
        return (run, graphs) if held == kind else None

    def leave(self, kind: "Kind", run: Any, graphs: "Graphs") -> None:
        """Keep a run and its graphs for the next drawing, in the place of those before."""
        self._left[:] = [(kind, run, graphs)]

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return type(self)()

    def __reduce__(self) -> tuple[type[Self], tuple[()]]:
        return type(self), ()


def _heads_of(prior: "GPT") -> Iterator[Weights]:
    head: Any = prior.head
    for number, (table, bias) in enumerate(zip(head.table(), head.bias, strict=True)):
        weights = {"head": table, "head_bias": bias}
        if not number:
            weights["attention_norm"] = prior.transformer.norm.weight
        group = number % head.groups
        if group:
            weights |= feed_forward_of(head.norms[group - 1], head.mixers[group - 1])
        yield weights


class Decoder:
    """One drawing in progress, of `pictures` pictures.

    Rows 0, .., B - 1 of the cache have read the text. Rows B, .. have not; they are computed at the
    steps alone that guidance needs them for, with all cells drawn since they were last.

    On a GPU a step that reads one cell is one CUDA graph, of which there are at most two for each
    map: with guidance and without.
    """

    def __init__(
        self,
        prior: "GPT",
        text: Tensor,
        sampling: TokenSampling,
        count: int,
        processors: Sequence[LogitsProcessor] = (),
    ) -> None:
        """Read `text` (batch_rows, T), of which the first `count` rows are wanted."""
        self.prior, self.sampling, self.processors = prior, sampling, processors
        stack, self.inputs = prior.prepared.parts(prior)
        # Stock products give a row the same numbers only among as many rows; the kernel always.
        self.pictures = count if stack.native else len(text)
        features, text = prior.text(text)[: self.pictures], text[: self.pictures]
        self.prefix = text.shape[1]
        first = (text == 0).sum(1).tolist()
        if sampling.guidance:
            first += [self.prefix] * self.pictures
        self.kind: Kind = (self.pictures, self.prefix, sampling)
        # A graph repeats what it recorded; a function of somebody else's may do something new.
        by_graphs = not (stack.native or processors) and graphs_wanted(prior.begin.device)
        left = prior.prepared.take(self.kind) if by_graphs else None
        self.graphs: Graphs | None = {} if by_graphs else None
        if left is not None:
            self.run, self.graphs = left
            left[0].begin_at(first)
        else:
            self.run = stack.begin(first, self.prefix + prior.length, self._rotary(text))
        self.run.extend(features, 0, slice(self.pictures), causal=False)
        self.unguided = 0  # cells that the rows without text have seen

    def close(self) -> None:
        """Leave what the next drawing can use."""
        if self.graphs is not None:
            self.prior.prepared.leave(self.kind, self.run, self.graphs)

    def step(self, codes: Tensor, uniforms: Tensor) -> Tensor:
        """Return the codes (B, G) of the cell after `codes` (B, <= S, G) by uniforms (B, G)."""
        cell, sampling = codes.shape[1], self.sampling
        scale = guidance_at(sampling.guidance_schedule, sampling.guidance, cell, self.prior.length)
        caught_up = not scale or self.unguided == cell
        if self.graphs is not None and cell and caught_up:
            if scale:
                self.unguided = cell + 1
            return self._by_graph(self.graphs, codes[:, -1], cell, uniforms, scale)
        features = self._features(codes, cell, guided=scale != 0)
        return self._choose(features, self.prior.map_of(cell), uniforms, scale, codes.flatten(1))

    def _choose(
        self,
        features: Tensor,
        which: int,
        uniforms: Tensor,
        scale: float | Tensor,
        before: Tensor | None = None,
    ) -> Tensor:
        """Return the codes (B, G) of a cell of map `which` by its features (B or 2B, D).

        `before` (B, K) are the codes of all cells before it, where processors want them.
        """
        groups, guided = self.prior.config.groups, len(features) > self.pictures
        first = which * groups
        chosen: list[Tensor] = []
        for group in range(groups):
            known = None
            if chosen:
                known = embed_cells(self.inputs[first : first + group], torch.stack(chosen, dim=-1))
                known = known.repeat(len(features) // len(known), 1)
            logits = self.run.logits(features, first + group, known)
            if guided:
                with_text, without = logits.chunk(2)
                logits = guide(with_text, without, scale)
            if self.processors and before is not None:
                drawn = torch.cat([before, *(each[:, None] for each in chosen)], dim=1)
                logits = process(logits, drawn, self.processors)
            chosen.append(choose(logits, self.sampling, uniforms[:, group]))
        return torch.stack(chosen, dim=-1)

    def _by_graph(
        self, graphs: "Graphs", codes: Tensor, cell: int, uniforms: Tensor, scale: float
    ) -> Tensor:
        """Return what `step` does after the codes (B, G) of the cell before."""
        before, which = self.prior.map_of(cell - 1), self.prior.map_of(cell)
        inputs = (
            codes,
            torch.full((1,), cell, device=codes.device),
            uniforms,
            torch.full((1,), float(scale), device=codes.device),
        )
        key = (bool(scale), before, which)
        if key not in graphs:
            graphs[key] = Graphed(partial(self._cell, *key), *inputs)
        return graphs[key](*inputs).clone()

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
        prior, run = self.prior, self.run
        last = embed_cells(self.inputs[prior.head.rows(before)], codes)
        last = last + prior.placed.index_select(0, cell - 1)
        x = (last + prior.target.index_select(0, cell))[:, None]
        rows = slice(None) if guided else slice(self.pictures)
        assert isinstance(run, TorchRun), "graphs are of the decoder in stock torch"
        features = run.extend_at(x.repeat(1 + guided, 1, 1), cell + self.prefix, rows)
        return self._choose(features[:, 0], which, uniforms, scale)

    def _rotary(self, text: Tensor) -> tuple[Tensor, Tensor]:
        """Return the cosines and sines (T + S, K / 2) of where text and cells are."""
        sizes = self.prior.transformer.config
        where = torch.cat([text_coordinates(text[:1])[0], self.prior.image_coordinates])
        angles = rotary_angles(where, sizes.width // sizes.heads)
        return angles.cos(), angles.sin()

    def _features(self, codes: Tensor, cell: int, *, guided: bool) -> Tensor:
        """Return features (B, D), or (2B, D) with those without text after those with it."""
        at, last = self.prefix + cell, self._input(codes, cell)
        if not guided:
            return self.run.extend(last, at, slice(self.pictures))[:, 0]
        start, self.unguided = self.unguided, cell + 1
        if start == cell:
            return self.run.extend(last.repeat(2, 1, 1), at)[:, 0]
        missed = [self._input(codes, each) for each in range(start, cell)]
        with_text = self.run.extend(last, at, slice(self.pictures))
        without = self.run.extend(
            torch.cat([*missed, last], dim=1), self.prefix + start, slice(self.pictures, None)
        )
        return torch.cat([with_text[:, 0], without[:, -1]])

    def _input(self, codes: Tensor, cell: int) -> Tensor:
        """Return what predicts a cell (B, 1, D): the cell before it, and which one it is."""
        prior = self.prior
        if cell:
            before = prior.embed_cell(self.inputs, codes[:, cell - 1], cell - 1)
        else:
            before = prior.begin.expand(self.pictures, -1)
        return (before + prior.target[cell])[:, None]
