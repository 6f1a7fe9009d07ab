"""Drawing with a prior, one cell a step, from a cache of what the steps before computed.

Shapes: B pictures, T text positions, S cells, G codes a cell, V values of a code, D width.
"""

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor

from limner.nn.stack import Stack, StackShape, Weights, feed_forward_of, layers_of, prepare
from limner.nn.transformer import rotary_angles
from limner.priors.base import text_coordinates
from limner.priors.codes import embed_cells
from limner.sampling.tokens import TokenSampling, choose, guidance_at, guide

if TYPE_CHECKING:
    from limner.priors.gpt import GPT


class Prepared:
    """A prior's weights as drawing wants them, made again when they change.

    `precision` is that of the products: fp32, bf16 or int8. A change made through `.data` alone is
    not seen. Copies of a prior start without it, and it is in no file.
    """

    def __init__(self) -> None:
        self.precision = "fp32"
        self._state: object = None
        self._parts: tuple[Stack, Tensor] | None = None

    def parts(self, prior: "GPT") -> tuple[Stack, Tensor]:
        """Return the decoder and the table of the codes' input vectors (M * G, V, D)."""
        weights = [
            (weight.data_ptr(), None if weight.is_inference() else weight._version)
            for weight in prior.parameters()
        ]
        state = (self.precision, os.environ.get("LIMNER_NATIVE"), weights)
        if self._parts is None or state != self._state:
            self._parts = None  # the old decoder's memory first
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
    """

    def __init__(self, prior: "GPT", text: Tensor, sampling: TokenSampling, count: int) -> None:
        """Read `text` (rows_at_once, T), of which the first `count` rows are wanted."""
        self.prior, self.sampling = prior, sampling
        stack, self.inputs = prior.prepared.parts(prior)
        # Stock products give a row the same numbers only among as many rows; the kernel always.
        self.pictures = count if stack.native else len(text)
        features, text = prior.text(text)[: self.pictures], text[: self.pictures]
        self.prefix = text.shape[1]
        where = torch.cat([text_coordinates(text[:1])[0], prior.image_coordinates])
        angles = rotary_angles(
            where, prior.transformer.config.width // prior.transformer.config.heads
        )
        first = (text == 0).sum(1).tolist()
        if sampling.guidance:
            first += [self.prefix] * self.pictures
        length = self.prefix + prior.length
        self.run = stack.begin(first, length, (angles.cos(), angles.sin()))
        self.run.extend(features, 0, slice(self.pictures), causal=False)
        self.unguided = 0  # cells that the rows without text have seen

    def step(self, codes: Tensor, uniforms: Tensor) -> Tensor:
        """Return the codes (B, G) of the cell after `codes` (B, <= S, G) by uniforms (B, G)."""
        cell, groups = codes.shape[1], self.prior.config.groups
        sampling = self.sampling
        scale = guidance_at(sampling.guidance_schedule, sampling.guidance, cell, self.prior.length)
        features = self._features(codes, cell, guided=scale != 0)
        first = self.prior.map_of(cell) * groups
        chosen: list[Tensor] = []
        for group in range(groups):
            known = None
            if chosen:
                known = embed_cells(self.inputs[first : first + group], torch.stack(chosen, dim=-1))
                known = known.repeat(len(features) // len(known), 1)
            logits = self.run.logits(features, first + group, known)
            if scale:
                with_text, without = logits.chunk(2)
                logits = guide(with_text, without, scale)
            chosen.append(choose(logits, sampling, uniforms[:, group]))
        return torch.stack(chosen, dim=-1)

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
