"""Drawing with a prior, one cell a step, from a cache of what the steps before computed.

Shapes: B pictures, T text positions, S cells, G codes a cell, V values of a code, D width.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from limner.nn.engine import DecoderEngine, Session
from limner.nn.prefix import text_coordinates
from limner.nn.transformer import rotary_angles
from limner.priors.choosing import choose_natively, chooses
from limner.priors.codes import embed_cells
from limner.priors.packed import CellPrior
from limner.sampling.tokens import TokenSampling, choose, guidance_at, guide_halves, process
from limner.types import LogitsProcessor


def is_guided(scale: float | Tensor) -> bool:
    """Say whether rows without text are needed; those of a tensor are guided all, or none is."""
    return isinstance(scale, Tensor) or scale != 0


def guidance_of_rows(guidance: Sequence[float], sampling: TokenSampling, rows: int) -> list[float]:
    """Return the guidance of every row: the given ones, the last again, or that of `sampling`."""
    own = [*guidance] or [sampling.guidance]
    return own + own[-1:] * (rows - len(own))


class CellDecoder:
    """One drawing in progress, of `pictures` pictures, whose `codes` (B, S so far, G) grow."""

    # Guidance compares B rows that have read the text with B more that have not. A schedule may
    # leave it out at some cells, and then the second half is not computed. It misses nothing for
    # good: what it would have read are the cells drawn meanwhile, which `codes` holds. Where
    # guidance comes on again, these rows read all that they missed in one pass.

    def __init__(
        self,
        prior: CellPrior,
        text: Tensor,
        sampling: TokenSampling,
        count: int,
        processors: Sequence[LogitsProcessor] = (),
        guidance: Sequence[float] = (),
    ) -> None:
        """Read `text` (batch_rows, T), of which the first `count` rows are wanted.

        `guidance` is that of each row, where they differ: all above 0, or all 0.
        """
        engine, self.inputs = prior.packed.parts(prior)
        # Stock products give a row the same numbers only among as many rows; the kernel always.
        rows = count if engine.native else len(text)
        features, text = prior.text(text)[:rows], text[:rows]
        self._accept(prior, text, sampling, processors, guidance)
        self.prefix = text.shape[1]
        first = (text == 0).sum(1).tolist()  # padding stands on the left
        if self.guidance[0]:
            first += [self.prefix] * self.pictures  # no text at all
        self.session = self._begin(engine, first, text)
        self.session.extend(features, 0, slice(self.pictures), causal=False)

    def _accept(
        self,
        prior: Any,
        text: Tensor,
        sampling: TokenSampling,
        processors: Sequence[LogitsProcessor],
        guidance: Sequence[float],
    ) -> None:
        """Note what is asked for, of pictures by text (B, T); none of them has a cell yet."""
        self.prior, self.sampling, self.processors = prior, sampling, processors
        self.pictures = len(text)
        self.guidance = guidance_of_rows(guidance, sampling, self.pictures)
        self._constant: float | Tensor | None = None  # guidance, once it is known not to change
        self.codes = text.new_zeros(self.pictures, 0, prior.config.groups)
        self.caught_up = 0  # cells that the rows without text have read

    def _begin(self, engine: DecoderEngine, first: Sequence[int], text: Tensor) -> Session:
        """Return a session whose row i begins at `first[i]`, and which knows where cells are."""
        sizes = self.prior.transformer.config
        where = torch.cat([text_coordinates(text[:1])[0], self.prior.image_coordinates])
        angles = rotary_angles(where, sizes.width // sizes.heads)  # (T + S, K / 2)
        return engine.begin(first, len(where), (angles.cos(), angles.sin()))

    def step(self, uniforms: Tensor, known: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """Draw the next cell by uniforms (>= B, G); return all codes so far (B, <= S, G).

        `known` are codes (>= B, S, G), and where they stand in place of drawn ones (>= B, S, 1).
        """
        cell, rows = self.codes.shape[1], slice(self.pictures)
        chosen = self._draw(cell, uniforms[rows], self._scale(cell))  # (B, G)
        if known is not None:
            given, keep = known
            chosen = torch.where(keep[rows, cell], given[rows, cell], chosen)
        self.codes = torch.cat([self.codes, chosen[:, None]], dim=1)
        return self.codes

    def close(self) -> None:
        """Leave what the next drawing can use: here nothing."""

    def _scale(self, cell: int) -> float | Tensor:
        """Return the guidance of a cell: one number, or (B, 1) where rows differ."""
        if self._constant is not None:
            return self._constant
        schedule, length = self.sampling.guidance_schedule, self.prior.length
        scales = [guidance_at(schedule, each, cell, length) for each in self.guidance]
        found: float | Tensor = scales[0]
        if len(set(scales)) > 1:
            found = torch.tensor(scales, device=self.codes.device)[:, None]
        if schedule == "constant":
            self._constant = found
        return found

    def _draw(self, cell: int, uniforms: Tensor, scale: float | Tensor) -> Tensor:
        """Return the codes (B, G) of a cell."""
        guided = is_guided(scale)
        at, told = self.prefix + cell, slice(self.pictures)
        # 1. What predicts the cell: the one before it, and which one comes.
        x = self._inputs(cell, cell + 1)  # (B, 1, D)
        # 2. Features, of the rows with the text and, for guidance, of those without.
        if not guided:
            features = self.session.extend(x, at, told)[:, 0]
        elif self.caught_up == cell:
            features = self.session.extend(x.repeat(2, 1, 1), at)[:, 0]
        else:
            missed = self._inputs(self.caught_up, cell + 1)  # (B, L, D)
            untold = slice(self.pictures, None)
            with_text = self.session.extend(x, at, told)
            without = self.session.extend(missed, self.prefix + self.caught_up, untold)
            features = torch.cat([with_text[:, 0], without[:, -1]])  # (2B, D)
        if guided:
            self.caught_up = cell + 1
        # 3. The cell's codes, one after the other.
        return self._choose(features, self.prior.map_of(cell), uniforms, scale)

    def _inputs(self, first: int, end: int) -> Tensor:
        """Return what predicts the cells from `first` to before `end` (B, L, D)."""
        before = [self.codes[:, cell - 1] if cell else self.codes for cell in range(first, end)]
        found = [self.input(codes, cell) for cell, codes in enumerate(before, start=first)]
        return found[0][:, None] if len(found) == 1 else torch.stack(found, dim=1)

    def input(self, before: Tensor, cell: int) -> Tensor:
        """Return what predicts a cell (B, D): the codes (B, G) before it, and which one it is."""
        prior = self.prior
        if not cell:
            return prior.begin.expand(len(before), -1) + prior.target[cell]
        rows = prior.head.rows(prior.map_of(cell - 1))
        return embed_cells(self.inputs[rows], before) + prior.placed[cell - 1] + prior.target[cell]

    def logits(self, features: Tensor, which: int, known: Tensor, scale: float | Tensor) -> Tensor:
        """Return logits (B, V) of a code of cells of map `which`, after their codes known (B, g).

        `features` are (B, D), or (2B, D) with those without text behind, from which `scale` pushes.
        """
        logits = self.unguided(features, which, known)
        return guide_halves(logits, scale) if len(features) > len(known) else logits

    def unguided(self, features: Tensor, which: int, known: Tensor) -> Tensor:
        """Return as many logits as there are features, as `logits` does but for the guidance."""
        first, group = which * self.prior.config.groups, known.shape[1]
        mixed = None
        if group:
            mixed = embed_cells(self.inputs[first : first + group], known)  # (B, D)
            mixed = mixed.repeat(len(features) // len(known), 1)
        return self.session.logits(features, first + group, mixed)

    def _choose(
        self, features: Tensor, which: int, uniforms: Tensor, scale: float | Tensor
    ) -> Tensor:
        """Return the codes (B, G) of a cell of map `which` by its features (B or 2B, D)."""
        chosen = self.codes.new_zeros(self.pictures, 0)
        for number in uniforms.unbind(1):
            code = self._choose_code(features, which, chosen, number, scale)
            chosen = torch.cat([chosen, code[:, None]], dim=1)
        return chosen

    def _choose_code(
        self, features: Tensor, which: int, chosen: Tensor, uniforms: Tensor, scale: float | Tensor
    ) -> Tensor:
        """Return the next code (B,) of a cell after those chosen (B, g)."""
        logits = self.unguided(features, which, chosen)
        if not self.processors and chooses(logits, self.sampling):
            return choose_natively(logits, scale, self.sampling, uniforms)
        if len(features) > len(chosen):
            logits = guide_halves(logits, scale)
        if self.processors:
            before = torch.cat([self.codes.flatten(1), chosen], dim=1)
            logits = process(logits, before, self.processors)
        return choose(logits, self.sampling, uniforms)
