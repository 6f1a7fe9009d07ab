"""The GPT prior: one stream of text tokens and image tokens (DALL-E, arXiv 2102.12092).

Shapes: B pictures, T text positions (left-padded with 0), S cells of all M maps, G codes a cell, V
values of a code, D width. The text is a prefix whose positions see each other; cells see the text
and the cells drawn before them. The input that predicts a cell holds the codes drawn before it,
where those lie, and which cell comes next; so any order can be learnt (RAR, Yu 2024, arXiv
2411.00776) and a raster order is the plain case. Several maps (VQ-VAE-2, Razavi 2019, arXiv
1906.00446) are one stream, the coarse map first.
"""

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from limner.nn.checks import check_heads, check_least
from limner.nn.prefix import prefix_mask, text_coordinates
from limner.nn.prepare import is_native
from limner.nn.transformer import Transformer, TransformerConfig
from limner.priors import base, graphed, looking_ahead, packed, speculating
from limner.priors.codes import CellHead, CodeTable, embed_cells
from limner.sampling.tokens import TokenSampling
from limner.text.encoders import text_encoder_of
from limner.types import LogitsProcessor

# What has rows of its own for each map.
_OF_EACH_MAP = (
    "codes.free",
    "codes.by_digit",
    "head.table.free",
    "head.table.by_digit",
    "head.bias",
)


@dataclass(frozen=True)
class GPTConfig(base.PriorConfig):
    """The codec's codes, and sizes of the transformer that predicts them."""

    layers: int = 6
    heads: int = 4
    hidden: int = 704

    def __post_init__(self) -> None:
        super().__post_init__()
        check_least(self, "width", "layers", "heads", "hidden")
        check_heads(self.width, self.heads)


class GPT(packed.PackedPrior):
    """Decoder-only transformer over text and image codes with an image-only head.

    Each map has code vectors and head rows of its own, one map's after the other's.
    """

    image_coordinates: Tensor
    speculates: ClassVar[bool] = True
    takes_processors: ClassVar[bool] = True
    mixes_guidance: ClassVar[bool] = True

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.config = config
        self.slices = base.map_slices(self.maps)
        width, maps = config.width, len(self.maps)
        coding = (config.vocabulary, config.levels, width)
        self.text = text_encoder_of(config)
        self.codes = CodeTable(maps * config.groups, *coding, config.groups**-0.5)
        self.begin = nn.Parameter(torch.zeros(width))
        self.placed = nn.Parameter(torch.randn(self.length, width) * 0.02)
        self.target = nn.Parameter(torch.randn(self.length, width) * 0.02)
        self.transformer = Transformer(
            TransformerConfig(width, config.layers, config.heads, config.hidden)
        )
        self.head = CellHead(config.groups, *coding, hidden=width, maps=maps)
        coordinates = base.cell_coordinates(self.maps)
        self.register_buffer("image_coordinates", coordinates, persistent=False)
        self.packed = packed.PackedDecoder()

    @property
    def batch_rows(self) -> int:
        """As PriorBase; by the native kernel a row costs what it is, elsewhere all are computed."""
        return 8 if is_native(self.begin.device) else super().batch_rows

    @property
    def any_order(self) -> bool:
        """Whether it can learn any order of cells: those of one map, not of several."""
        return len(self.maps) == 1

    @torch.no_grad()
    def begin_as(self, other: base.PriorBase) -> None:
        """As PriorBase; of one map, each begins with its codes, and the finest with its cells."""
        super().begin_as(other)
        given, own = other.state_dict(), self.state_dict()
        for name in _OF_EACH_MAP:
            if name in given and len(own[name]) == len(self.maps) * len(given[name]):
                own[name].copy_(torch.cat([given[name]] * len(self.maps)))
        for name in ("placed", "target"):
            finest = own[name][self.slices[-1]]
            if name in given and given[name].shape == finest.shape:
                finest.copy_(given[name])

    def sample_order(self, codes: Tensor, generator: torch.Generator, random: float) -> Any:
        """Return an order (B, S), random for that share of pictures; None where none is."""
        if not random:
            return None
        # Sorting random numbers gives a random order; the raster is the plain one.
        raster = torch.arange(self.length).expand(len(codes), -1)
        shuffled = torch.rand(len(codes), self.length, generator=generator).argsort(1)
        chosen = torch.rand(len(codes), 1, generator=generator) < random
        return torch.where(chosen, shuffled, raster).to(codes.device)

    def forward(self, text: Tensor, codes: Tensor, order: Tensor | None = None) -> Tensor:
        """Return logits (B, S, G, V) of codes (B, S) or (B, S, G) in `order`, teacher-forced.

        `order` (B, S) lists cells in the order they are drawn; None is raster. Logits come in that
        order.
        """
        if order is None:
            order = torch.arange(self.length, device=codes.device).expand(len(codes), -1)
        # 1. What predicts a cell: the cell drawn before it, where that lies, and which one is next.
        drawn = self._in_order(codes, order)
        inputs = self.codes()
        before = torch.cat(
            [
                embed_cells(inputs[self.head.rows(which)], drawn[:, cells])
                for which, cells in enumerate(self.slices)
            ],
            dim=1,
        )[:, :-1]
        before = before + self.placed[order[:, :-1]]  # (B, S - 1, D)
        image = torch.cat([self.begin.expand(len(codes), 1, -1), before], dim=1)
        image = image + self.target[order]
        # 2. One pass over text and picture.
        x = torch.cat([self.text(text), image], dim=1)  # (B, T + S, D)
        coordinates = torch.cat([text_coordinates(text), self.image_coordinates[order]], dim=1)
        causal = torch.ones(self.length, self.length, dtype=torch.bool, device=text.device).tril()
        mask = prefix_mask(text, causal)  # who may see whom (B, 1, T + S, T + S)
        features = self.transformer(x, coordinates, mask)[:, text.shape[1] :]
        # 3. Each map has a head of its own.
        parts = [
            self.head(features[:, cells], drawn[:, cells], inputs, which)
            for which, cells in enumerate(self.slices)
        ]
        return torch.cat(parts, dim=1)

    def loss(self, text: Tensor, codes: Tensor, sampled: Tensor | None = None) -> Tensor:
        """Return the mean loss in nats a code."""
        logits, wanted = self(text, codes, sampled), self._in_order(codes, sampled)
        return F.cross_entropy(logits.flatten(0, 2).float(), wanted.flatten())

    def stream(
        self,
        text: Tensor,
        sampling: TokenSampling,
        seeds: Sequence[int],
        known: base.Known | None = None,
        processors: Sequence[LogitsProcessor] = (),
        guidance: Sequence[float] = (),
    ) -> Iterator[Tensor]:
        """Draw codes in raster order, map by map, yielding after every cell; as PriorBase.

        With known cells it does not speculate, nor does it with processors, nor with `guidance`,
        which is that of each picture, in place of the one of `sampling`: all above 0, or all 0.
        """
        if sampling.speculate and known is None and not processors and not guidance:
            yield from speculating.speculate(self, text, sampling, seeds, sampling.speculate)
            return
        count, text = len(text), self.fill(text)
        noise = self.noise(seeds, self.length, self.config.groups, text.device)
        held = self.known_rows(known)
        begun = graphed.begin_drawing(self, text, sampling, count, processors, guidance)
        with closing(begun) as decoder:
            for cell in range(self.length):
                yield self.unpad(decoder.step(noise[:, cell], held), count)

    def redraw(
        self,
        text: Tensor,
        sampling: TokenSampling,
        seed: int,
        known: base.Known,
        candidates: int,
        processors: Sequence[LogitsProcessor] = (),
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Draw what is not known with an eye on the known cells that follow; as PriorBase."""
        drawing = looking_ahead.look_ahead(
            self, text, sampling, seed, known, candidates, processors
        )
        for codes, scores in drawing:
            yield self.unpad(codes, candidates), scores

    def map_of(self, cell: int) -> int:
        """Return which map a cell belongs to."""
        return next(which for which, cells in enumerate(self.slices) if cell < cells.stop)

    def _in_order(self, codes: Tensor, order: Tensor | None) -> Tensor:
        cells = codes.reshape(len(codes), self.length, self.config.groups)
        if order is None:
            return cells
        return cells.gather(1, order[..., None].expand(-1, -1, self.config.groups))
