"""Why a picture looks as it does: which words drew which region, and what surprised the model.

A word is taken out of the prompt and everything else stays: where the picture then changes, the
word drew it. A model of codes need not draw again, it says how much less likely each drawn code is
without the word, in nats; of other models the same seed is drawn again. `benchmarks/explain.py`
compares this with attention. Shapes: B prompts, S cells of all token maps, G codes a cell, h and w
cells of the finest map, H and W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from limner.pipelines.dalle import Dalle
from limner.text.spans import Span, spans_of
from limner.types import Drawable, Request, Step

LIKELIHOOD, OCCLUSION = "likelihood", "occlusion"
UNITS = {LIKELIHOOD: "nats", OCCLUSION: "mean absolute difference of pixels, 0 to 1"}
ROWS = 8  # prompts in one pass
CELLS = 16  # a side, of the maps of models without codes


@dataclass(frozen=True)
class WordHeat:
    """A word or phrase of the prompt as drawn, and its `heat` (h, w): how much of a cell it drew.

    Below 0 the model would rather have drawn the cell without the word.
    """

    text: str
    heat: Tensor

    @property
    def total(self) -> float:
        """The sum over all cells."""
        return float(self.heat.sum())

    @property
    def peak(self) -> tuple[int, int]:
        """Row and column of the hottest cell."""
        row, column = divmod(int(self.heat.argmax()), self.heat.shape[1])
        return row, column


@dataclass(frozen=True)
class Reasons:
    """The words of a prompt in order, what they drew, and in which `way` that was found out.

    `surprise` (h, w) are the nats that each cell cost the model, with all words; None where it has
    no likelihood.
    """

    way: str
    words: tuple[WordHeat, ...]
    surprise: Tensor | None = None

    @property
    def unit(self) -> str:
        """What heat is counted in, in words."""
        return UNITS[self.way]


@torch.inference_mode()
def find_reasons(pipeline: Drawable, request: Request, last: Step) -> Reasons:
    """Return which words of a request drew which cells of its first picture.

    `last` is the last Step of drawing it. Words that the model did not read are left out. It does
    not know what two words did together: what either of them would have drawn alone is no word's.
    """
    text = pipeline.reading_of(request).text
    grammar = pipeline.words.grammar if pipeline.words else None
    room = pipeline.tokenizer.room(pipeline.text_length)
    spans = [each for each in spans_of(text, pipeline.tokenizer, grammar) if each.tokens[-1] < room]
    ids = pipeline.tokenizer.encode(text)[:room]
    if isinstance(pipeline, Dalle):
        assert last.codes is not None, "a pipeline of codes has them in its last Step"
        return by_likelihood(pipeline, ids, spans, last.codes[:1])
    assert last.images is not None, "a pipeline's last Step has images"
    return by_occlusion(pipeline, ids, spans, request, last.images[:1])


def by_likelihood(
    pipeline: Dalle, ids: Sequence[int], spans: Sequence[Span], codes: Tensor
) -> Reasons:
    """Return how much less likely the codes (1, S[, G]) of each cell are without each word.

    Teacher-forced: every cell is judged with the cells before it as they were drawn.
    """
    # 1. The prompt, and the prompt without each word: its tokens are blank, so that the others
    # stay where they were.
    texts = [list(ids), *(_blanked(ids, each) for each in spans)]
    rows = pipeline.tokenizer.frame(texts, pipeline.text_length).to(pipeline.device)
    # 2. Nats of each cell, its codes together.
    parts = [
        pipeline.prior.nll(part, codes.expand(len(part), *codes.shape[1:])).sum(-1)
        for part in rows.split(ROWS)
    ]
    nats = to_grid(torch.cat(parts).float().cpu(), pipeline.prior.maps)  # (1 + words, h, w)
    # 3. What a cell costs more without a word is what the word did for it.
    told = [WordHeat(each.text, more) for each, more in zip(spans, nats[1:] - nats[0], strict=True)]
    return Reasons(LIKELIHOOD, tuple(told), nats[0])


def by_occlusion(
    pipeline: Drawable, ids: Sequence[int], spans: Sequence[Span], request: Request, image: Tensor
) -> Reasons:
    """Return how far pixels of an image (1, 3, H, W) move when it is drawn without each word.

    The seed and everything else are the same, so that what stays is not the word's.
    """
    sampling = pipeline.resolve_sampling(request)
    told = []
    for span in spans:
        rest = pipeline.tokenizer.decode([i for at, i in enumerate(ids) if at not in span.tokens])
        other = pipeline.draw_many([rest], [request.seed], sampling)
        moved = (other.clamp(-1, 1) - image.clamp(-1, 1)).abs().mean(1) / 2  # (1, H, W)
        cells = min(CELLS, pipeline.size)
        told.append(WordHeat(span.text, F.adaptive_avg_pool2d(moved, cells)[0].float().cpu()))
    return Reasons(OCCLUSION, tuple(told))


def to_grid(values: Tensor, maps: Sequence[tuple[int, int]]) -> Tensor:
    """Return values (B, S) of the cells of all maps as (B, h, w), summed over the maps.

    A coarse cell's value is shared out among the fine cells that it covers.
    """
    height, width = maps[-1]
    grid, first = values.new_zeros(len(values), height, width), 0
    for rows, columns in maps:
        cells = values[:, first : first + rows * columns].view(-1, 1, rows, columns)
        shared = F.interpolate(cells, size=(height, width), mode="area")[:, 0]
        grid = grid + shared * (rows * columns / (height * width))
        first += rows * columns
    return grid


def _blanked(ids: Sequence[int], span: Span) -> list[int]:
    """Return ids with padding, which nobody sees, in place of a word."""
    return [0 if at in span.tokens else each for at, each in enumerate(ids)]
