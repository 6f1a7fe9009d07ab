"""The next-scale prior: one whole token map at a time, coarse to fine (VAR, arXiv 2404.02905).

Shapes: B pictures, T text positions (left-padded with 0), M maps, S cells of all maps, N of one,
G codes a cell, V values of a code, D width. The text is a prefix, as in gpt; cells see the text,
the maps before theirs and their own. What is drawn of the maps before comes in as vectors of this
prior's own: each map's are spread over the finest grid, summed, and shrunk to the next map.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from limner.errors import ConfigError
from limner.nn.checks import check_heads, check_least
from limner.nn.prefix import prefix_mask, text_coordinates
from limner.nn.transformer import KeyValueCache, Transformer, TransformerConfig
from limner.priors import base
from limner.priors.by_map import MapDrawing, MapPrior
from limner.priors.codes import CellHead, CodeTable, embed_cells
from limner.sampling.tokens import TokenSampling
from limner.text.encoders import text_encoder_of
from limner.types import LogitsProcessor


@dataclass(frozen=True)
class NextScaleConfig(base.PriorConfig):
    """The codec's codes, sizes of the transformer, and how training disturbs what it sees.

    `flip` is the share of input codes that are random in training, so that the prior learns to
    go on from maps with mistakes in them (after the bit flips of Infinity, arXiv 2412.04431).
    """

    layers: int = 6
    heads: int = 4
    hidden: int = 704
    flip: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        check_least(self, "width", "layers", "heads", "hidden")
        check_heads(self.width, self.heads)
        if not 0 <= self.flip < 1:
            raise ConfigError(f"flip is {self.flip:g}; expected a share in [0, 1)")


class NextScale(MapPrior):
    """Transformer over text and token maps whose attention is causal by map.

    All maps share one table of code vectors, as they share the codebook of a residual codec; a
    linear layer for each map tells them apart.
    """

    coordinates: Tensor
    map_numbers: Tensor
    spread: Tensor

    def __init__(self, config: NextScaleConfig) -> None:
        super().__init__()
        self.config = config
        self.slices = base.map_slices(self.maps)
        width = config.width
        coding = (config.groups, config.vocabulary, config.levels, width)
        self.text = text_encoder_of(config)
        self.codes = CodeTable(*coding, config.groups**-0.5)
        self.by_map = nn.ModuleList(nn.Linear(width, width, bias=False) for _ in self.maps[:-1])
        self.begin = nn.Parameter(torch.zeros(width))
        self.map_embedding = nn.Parameter(torch.randn(len(self.maps), width) * 0.02)
        self.placed = nn.Parameter(torch.randn(self.length, width) * 0.02)
        self.transformer = Transformer(
            TransformerConfig(width, config.layers, config.heads, config.hidden)
        )
        self.head = CellHead(*coding, hidden=width)
        numbers = [torch.full((rows * columns,), k) for k, (rows, columns) in enumerate(self.maps)]
        self.register_buffer("map_numbers", torch.cat(numbers), persistent=False)
        self.register_buffer("coordinates", base.cell_coordinates(self.maps), persistent=False)
        self.register_buffer("spread", spread_matrix(self.maps), persistent=False)

    @torch.no_grad()
    def begin_as(self, other: base.PriorBase) -> None:
        """As PriorBase; of one map, the cells of the finest begin as those that it draws."""
        super().begin_as(other)
        drawn = getattr(other, "target", None)  # GPT's vectors of the cells that come next
        if drawn is not None and drawn.shape == self.placed[self.slices[-1]].shape:
            self.placed[self.slices[-1]] = drawn

    def sample_order(self, codes: Tensor, generator: torch.Generator, random: float) -> Any:
        """Return codes of which the share `flip` is replaced by random ones; None for no share."""
        if not self.config.flip:
            return None
        flipped = torch.rand(codes.shape, generator=generator) < self.config.flip
        noise = torch.randint(self.config.vocabulary, codes.shape, generator=generator)
        return torch.where(flipped.to(codes.device), noise.to(codes.device), codes)

    def forward(self, text: Tensor, codes: Tensor, seen: Tensor | None = None) -> Tensor:
        """Return logits (B, S, G, V) of codes (B, S) or (B, S, G), teacher-forced.

        `seen` are the codes that stand for the maps before, by default `codes` themselves.
        """
        shape = (len(codes), self.length, self.config.groups)
        inputs = self.codes()
        features = self.features(text, (codes if seen is None else seen).reshape(shape), inputs)
        return self.head(features, codes.reshape(shape), inputs)

    def features(self, text: Tensor, seen: Tensor, inputs: Tensor) -> Tensor:
        """Return the features (B, S, D) of all cells, by the codes (B, S, G) of the maps before."""
        coarse = enumerate(self.slices[:-1])
        vectors = [self._vectors(inputs, seen[:, cells], k) for k, cells in coarse]
        image = self._inputs(vectors, len(seen), slice(0, self.length))
        x = torch.cat([self.text(text), image], dim=1)
        places = self.coordinates.expand(len(seen), -1, -1)
        where = torch.cat([text_coordinates(text), places], dim=1)
        return self.transformer(x, where, self.mask(text))[:, text.shape[1] :]

    def begin_drawing(
        self, text: Tensor, sampling: TokenSampling, processors: Sequence[LogitsProcessor]
    ) -> MapDrawing:
        """As MapPrior."""
        return Drawing(self, text, sampling, processors)

    def mask(self, text: Tensor) -> Tensor:
        """Return who may see whom (B, 1, T + S, T + S)."""
        return prefix_mask(text, self.map_numbers[None, :] <= self.map_numbers[:, None])

    def _vectors(self, inputs: Tensor, codes: Tensor, which: int) -> Tensor:
        """Return the vectors (B, N, D) that codes (B, N, G) of a map bring to the maps after it."""
        return self.by_map[which](embed_cells(inputs, codes))

    def _inputs(self, vectors: Sequence[Tensor], rows: int, cells: slice) -> Tensor:
        """Return the inputs (B, N, D) of some cells, of the vectors of the maps before them."""
        # The matrix is zero for maps that do not stand before a cell; of those not drawn yet there
        # are no vectors, and their columns are cut.
        own = self.placed[cells] + self.map_embedding[self.map_numbers[cells]]
        own = own.expand(rows, -1, -1)
        if not vectors:
            return own + self.begin
        before = torch.cat(list(vectors), dim=1)  # all coarser cells, (B, ., D)
        spread = self.spread[cells, : before.shape[1]].to(before.dtype)
        first = (self.map_numbers[cells] == 0)[:, None]
        return own + spread @ before + first * self.begin


class Drawing(MapDrawing):
    """One drawing in progress: the cache, the tables, and the vectors of the maps drawn so far."""

    prior: NextScale

    def __init__(
        self,
        prior: NextScale,
        text: Tensor,
        sampling: TokenSampling,
        processors: Sequence[LogitsProcessor] = (),
    ) -> None:
        super().__init__(prior, text, sampling, processors)
        text = self.told(text)  # (B or 2B, T)
        self.rows, self.prefix = text.shape
        sizes, length = prior.transformer.config, self.prefix + prior.length
        self.cache = KeyValueCache(sizes, self.rows, length, text.device)
        self.inputs, self.outputs = prior.codes(), prior.head.table()
        self.mask = prior.mask(text)
        self.vectors: list[Tensor] = []
        # The text is read once: from here on the cache has it.
        start = self.mask[:, :, : self.prefix, : self.prefix]
        prior.transformer(prior.text(text), text_coordinates(text), start, self.cache)

    def features(self, which: int, rows: int) -> Tensor:
        """Return the features (B or 2B, N, D) of a map, from the cache of text and maps before."""
        prior, cells = self.prior, self.prior.slices[which]
        x = prior._inputs(self.vectors, rows, cells).repeat(self.rows // rows, 1, 1)
        here = slice(self.prefix + cells.start, self.prefix + cells.stop)
        visible = self.mask[:, :, here, : here.stop]
        return prior.transformer(x, prior.coordinates[cells][None], visible, self.cache)

    def draw(self, which: int, noise: Tensor) -> Tensor:
        """Return the codes (B, N, G) of a map by uniform numbers (B, N, G), code by code."""
        rows, size = noise.shape[:2]
        features, pick = self.features(which, rows), self.picker(which, noise)
        chosen = self.prior.head.draw(features.flatten(0, 1), pick, self.inputs, self.outputs)
        return chosen[: rows * size].view(rows, size, -1)

    def take(self, which: int, codes: Tensor) -> None:
        """Let the maps that follow know the codes (B, N, G) of a map."""
        super().take(which, codes)
        if which + 1 < len(self.prior.maps):
            self.vectors.append(self.prior._vectors(self.inputs, codes, which))


def spread_matrix(maps: base.Maps) -> Tensor:
    """Return how much (S, S) of each cell's vector comes to each cell of the finer maps.

    A map is enlarged to the finest grid by bicubic interpolation and shrunk to the later map by
    area, as VAR does with what its codec has summed up so far.
    """
    length = sum(rows * columns for rows, columns in maps)
    # On the processor also where an outline is made without values: that knows no interpolation.
    matrix = torch.zeros(length, length, device="cpu")
    slices = base.map_slices(maps)
    for early, (rows, columns) in enumerate(maps):
        ones = torch.eye(rows * columns, device="cpu").view(-1, 1, rows, columns)
        finest = F.interpolate(ones, size=maps[-1], mode="bicubic")  # of each cell alone
        for late in range(early + 1, len(maps)):
            shrunk = F.interpolate(finest, size=maps[late], mode="area")
            matrix[slices[late], slices[early]] = shrunk.flatten(1).T
    return matrix
