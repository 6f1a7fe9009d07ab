"""Filling a hole in a picture cell by cell, with an eye on the known cells that come after it.

A prior that draws in raster order never sees the cells behind the one that it draws. Here several
candidates are drawn together. Where known cells follow, each candidate is weighed by how likely
they are after what it drew, and those that they contradict give way to copies of the others: a
particle filter (Gordon 1993, IEE Proceedings F 140; of transformers Lew 2023, arXiv 2306.03081).

Shapes: K candidates of one picture, T text positions, S cells, G codes a cell.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from limner.priors.base import Known, uniforms
from limner.priors.decoding import CellDecoder
from limner.priors.packed import CellPrior
from limner.sampling.tokens import TokenSampling, guidance_at
from limner.types import LogitsProcessor


class AheadDecoder(CellDecoder):
    """One drawing in progress, of K candidates of one picture.

    `scores` (K,) are the nats of the known codes so far, each by its candidate.
    """

    def __init__(
        self,
        prior: CellPrior,
        text: Tensor,
        sampling: TokenSampling,
        candidates: int,
        processors: Sequence[LogitsProcessor] = (),
    ) -> None:
        """Read `text` (1, T)."""
        super().__init__(prior, text.expand(candidates, -1), sampling, candidates, processors)
        self.scores = torch.zeros(candidates, dtype=torch.float64, device=text.device)
        self.weighed = self.scores  # as it was when candidates last gave way

    def take(self, given: Tensor) -> None:
        """Go on over known codes (L, G), all in one pass, and weigh the candidates by them."""
        first, count = self.codes.shape[1], len(given)
        known = given.expand(self.pictures, -1, -1)
        self.codes = torch.cat([self.codes, known], dim=1)
        # Without guidance: rows without text read all that they missed when they are next used.
        x = self._inputs(first, first + count)  # (K, L, D)
        features = self.session.extend(x, self.prefix + first, slice(self.pictures))
        maps = torch.tensor([self.prior.map_of(first + index) for index in range(count)])
        for which in maps.unique().tolist():  # each map has a head of its own
            cells = (maps == which).nonzero()[:, 0].to(given.device)
            some, codes = features[:, cells].flatten(0, 1), known[:, cells].flatten(0, 1)
            for group in range(codes.shape[1]):
                logits = self.logits(some, which, codes[:, :group], 0.0)
                nats = logits.double().log_softmax(-1).gather(1, codes[:, group : group + 1])
                self.scores = self.scores + nats.view(self.pictures, -1).sum(1)

    def select(self, number: float) -> None:
        """Let likely candidates take the places of unlikely ones, where few are likely.

        `number` in [0, 1) decides, as in systematic resampling.
        """
        count = self.pictures
        shares = (self.scores - self.weighed).softmax(0)
        if 1 / float(shares.square().sum()) >= count / 2:
            return
        ticks = (torch.arange(count, dtype=torch.float64, device=shares.device) + number) / count
        chosen = torch.searchsorted(shares.cumsum(0), ticks).clamp_max(count - 1)
        rows = chosen.tolist()
        self.session.select(
            [*rows, *(count + row for row in rows)] if self.sampling.guidance else rows
        )
        self.codes, self.scores = self.codes[chosen], self.scores[chosen]
        self.weighed = self.scores


def look_ahead(
    prior: CellPrior,
    text: Tensor,
    sampling: TokenSampling,
    seed: int,
    known: Known,
    candidates: int,
    processors: Sequence[LogitsProcessor] = (),
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield codes (K, <= S, G) of candidates for text (1, T), and their scores (K,), as they grow.

    `known` are codes (1, S[, G]) and where they are known (1, S). Everything hangs on `seed` and
    the number of candidates alone.
    """
    groups, length = prior.config.groups, prior.length
    given = known[0].view(length, groups)
    # 1. Runs of cells that are known, or are not.
    keep = known[1].view(length).tolist()
    starts = [cell for cell in range(length) if not cell or keep[cell] != keep[cell - 1]]
    ends = [*starts[1:], length]
    # 2. Each candidate has numbers of its own, and so has the choice between them.
    numbers = uniforms(seed, length, groups * candidates + 1).to(text.device)
    noise = numbers[:, 1:].view(length, candidates, groups)
    drawing = AheadDecoder(prior, text, sampling, candidates, processors)
    for first, end in zip(starts, ends, strict=True):
        if keep[first]:
            drawing.take(given[first:end])
            yield drawing.codes, drawing.scores
            continue
        # 3. What is drawn next goes on from the candidates that suit what is known so far.
        drawing.select(float(numbers[first, 0]))
        for cell in range(first, end):
            scale = guidance_at(sampling.guidance_schedule, sampling.guidance, cell, length)
            chosen = drawing._draw(cell, noise[cell], scale)  # (K, G)
            drawing.codes = torch.cat([drawing.codes, chosen[:, None]], dim=1)
            yield drawing.codes, drawing.scores
