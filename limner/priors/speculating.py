"""Speculative Jacobi decoding (Teng 2024, arXiv 2410.01699): several cells a pass, exactly.

Each pass computes a window of cells at once: the next one, and after it drafts of the pass before.
A draft that was drawn with probability q and now has p is kept with probability min(1, p / q); the
first that is not is drawn anew from max(0, p - q), and those after it from the p of this pass, as
new drafts. So every cell is drawn as if one after the other (Leviathan 2022, arXiv 2211.17192,
appendix A.1), but other pictures belong to the seeds.

Shapes: W cells of the window, G codes a cell, V values of a code, D width.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from limner.priors.decoding import CellDecoder
from limner.priors.packed import CellPrior
from limner.sampling.tokens import TokenSampling, draw, guidance_at, probabilities


@dataclass
class _Picture:
    """One row of a drawing: its final cells, and the drafts after them with their chances."""

    row: int
    generator: torch.Generator
    codes: Tensor  # (<= S, G)
    drafts: Tensor  # (< W, G)
    chances: Tensor  # (< W, G, V)

    def uniforms(self, count: int) -> Tensor:
        """Return the next uniform numbers (count,) of this picture's seed."""
        return torch.rand(count, generator=self.generator, dtype=torch.float64)


def speculate(
    prior: CellPrior, text: Tensor, sampling: TokenSampling, seeds: Sequence[int], window: int
) -> Iterator[Tensor]:
    """Draw as GPT.stream does with nothing given, up to `window` cells of a picture in a pass."""
    decoder = CellDecoder(prior, prior.fill(text), sampling, len(text))
    groups, values = prior.config.groups, prior.config.vocabulary
    pictures = [
        _Picture(
            row,
            torch.Generator().manual_seed(seed),
            text.new_zeros(0, groups),
            text.new_zeros(0, groups),
            torch.zeros(0, groups, values, dtype=torch.float64),
        )
        for row, seed in enumerate(seeds)
    ]
    # Pictures advance by different numbers of cells; what all have is shown, cell by cell.
    shown = 0
    while shown < prior.length:
        for picture in pictures:
            if len(picture.codes) < prior.length:
                _Pass(decoder, picture, window).run()
        ready = min(len(picture.codes) for picture in pictures)
        for cell in range(shown, ready):
            codes = torch.stack([picture.codes[: cell + 1] for picture in pictures])  # (B, ., G)
            yield prior.unpad(codes, len(text))
        shown = max(shown, ready)


class _Pass:
    """One pass of the decoder for one picture."""

    def __init__(self, decoder: CellDecoder, picture: _Picture, window: int) -> None:
        self.decoder, self.picture, self.prior = decoder, picture, decoder.prior
        self.first = len(picture.codes)
        self.which = self.prior.map_of(self.first)
        self.left = self.prior.slices[self.which].stop - self.first  # a window has heads of one map
        self.window = min(window, self.left)
        self.drafts = picture.drafts[: self.window - 1]

    def run(self) -> None:
        """Draw one cell or more of the picture, and leave drafts of those that come next."""
        picture, drafts = self.picture, self.drafts
        # 1. One pass over the window: features of the next cell and of those behind each draft.
        features = self._features()  # (1 or 2, W, D)
        # 2. Drafts are kept up to the first that fails, and of that cell the codes before it.
        kept, group, chances = self._verify(features)
        known = drafts[kept : kept + 1, :group]
        # 3. The cell that follows the kept ones is drawn for good; those behind it, whose features
        #    rest on drafts that may be wrong, are the next pass's drafts.
        codes, found = self._draw(features[:, kept:], known, kept, chances)
        picture.codes = torch.cat([picture.codes, drafts[:kept], codes[:1]])
        # 4. The window has moved on: cells that no pass has seen fill it up.
        more = min(self.window - 1, self.left - kept - 1) - (len(codes) - 1)
        if more > 0:  # cells that no pass has seen yet are drafted as the last one seen
            last = found[-1:].expand(more, -1, -1)  # (more, G, V)
            fresh = draw(last.flatten(0, 1), picture.uniforms(last.shape[0] * last.shape[1]))
            codes = torch.cat([codes, fresh.view(more, -1)])
            found = torch.cat([found, last])
        picture.drafts, picture.chances = codes[1:], found[1:]

    def _features(self) -> Tensor:
        """Return features (1 or 2, W, D) of the next cell and of those after each draft."""
        decoder, first = self.decoder, self.first
        before = torch.cat([self.picture.codes[-1:], self.drafts])
        if not first:  # no cell stands before the first, whose input looks at none
            before = torch.cat([before.new_zeros(1, before.shape[1]), before])
        inputs = [
            decoder.input(code[None], first + index)
            for index, code in enumerate(before[: len(self.drafts) + 1])
        ]
        rows = slice(self.picture.row, None, decoder.pictures)  # with the text, and without
        count = 2 if decoder.sampling.guidance else 1
        x = torch.stack(inputs, dim=1).expand(count, -1, -1)
        return decoder.session.extend(x, decoder.prefix + first, rows)

    def _chances(self, features: Tensor, known: Tensor, offset: int) -> Tensor:
        """Return the chances (W, V) of a code of cells by their codes before it, (W, g)."""
        decoder, sampling = self.decoder, self.decoder.sampling
        cells = range(self.first + offset, self.first + offset + features.shape[1])
        scales = [
            guidance_at(sampling.guidance_schedule, sampling.guidance, cell, self.prior.length)
            for cell in cells
        ]
        scale = torch.tensor(scales, device=features.device)[:, None]
        return probabilities(
            decoder.logits(features.flatten(0, 1), self.which, known, scale), sampling
        )

    def _verify(self, features: Tensor) -> tuple[int, int, Tensor | None]:
        """Return how many drafts stay, how many codes of the next, and the chances of its first."""
        drafts, count = self.drafts, len(self.drafts)
        groups = range(drafts.shape[1])
        now = [self._chances(features[:, :count], drafts[:, :g], 0) for g in groups if count]
        for cell in range(count):
            for group in groups:
                code = drafts[cell, group]
                new, old = now[group][cell], self.picture.chances[cell, group]
                # Kept with the chance new / old, so that too likely a draft goes as often as it
                # came too often; what takes its place makes up for the rest, max(0, new - old).
                if self.picture.uniforms(1) * old[code] >= new[code]:
                    return cell, group, (new - old).clamp_min(0)[None]
        return count, 0, None

    def _draw(
        self, features: Tensor, known: Tensor, offset: int, chances: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Return codes (W, G) and their chances (W, G, V) of the first cell not kept, and on.

        `known` (1 or 0, g) are the codes of the first that stay; `chances` (1, V) those of the
        one after them, where a draft was refused.
        """
        count, codes, found = features.shape[1], known.new_zeros(features.shape[1], 0), []
        for group in range(self.prior.config.groups):
            now = self._chances(features, codes, offset)
            weights = now  # but where a draft was refused: there the rest alone is drawn from
            if chances is not None and group == known.shape[1]:
                weights = torch.cat([chances, now[1:]])
            chosen = draw(weights, self.picture.uniforms(count))
            if group < known.shape[1]:
                chosen = torch.cat([known[0, group : group + 1], chosen[1:]])
            codes = torch.cat([codes, chosen[:, None]], dim=1)
            found.append(now)
        return codes, torch.stack(found, dim=1)
