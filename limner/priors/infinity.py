"""The prior of Infinity: T5's features of a text, then whole maps of bits, coarse to fine.

Shapes: B pictures, T text positions (left-padded with 0), M maps, S cells, N of one, G bits a cell,
C width of T5, D width, h and w the finest map. Han 2024, arXiv 2412.04431;
github.com/FoundationVision/Infinity, infinity/models/infinity.py and basic.py: VAR's layers with
2-D rotary positions, and attention to the text between cells and feed-forward. It comes from
published weights. The bits of a cell are drawn each for itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from limner.errors import ConfigError, UsageError
from limner.nn.checks import check_heads, check_least
from limner.nn.maps import bits_as_vectors, raise_bits
from limner.nn.transformer import KeyValueCache, TransformerConfig, rotary_angles
from limner.priors import base
from limner.priors.by_map import MapDrawing, MapPrior
from limner.priors.llamagen import T5States
from limner.priors.var import EPSILON, Layer, normed
from limner.sampling.tokens import TokenSampling
from limner.text.pretrained import PretrainedConfig
from limner.text.tokenizer import trim_padding
from limner.types import LogitsProcessor

TURNS = 10_000.0  # the base of the rotary frequencies


@dataclass(frozen=True)
class InfinityConfig:
    """Sizes of the transformer and of its text encoder, T5, as its config.json has them.

    `groups` are the bits of a cell, `numbered` the maps that it has a vector for. Places count in
    cells of a grid of `reach` a side, that of its largest pictures. `pooling` are the heads of the
    attention that sums up the text.
    """

    text_vocabulary: int
    encoder: dict[str, Any]
    maps: base.Maps
    groups: int = 16
    text_length: int = 512
    numbered: int = 15
    reach: int = 64
    width: int = 768
    layers: int = 12
    heads: int = 8
    hidden: int = 3072
    pooling: int = 16
    vocabulary: ClassVar[int] = 2
    levels: ClassVar[tuple[int, ...]] = ()

    def __post_init__(self) -> None:
        check_least(self, "text_vocabulary", "groups", "text_length", "numbered", "reach")
        check_least(self, "width", "layers", "heads", "hidden", "pooling")
        check_heads(self.width, self.heads)
        if not self.maps or any(min(each) < 1 for each in self.maps):
            raise ConfigError(
                f"maps is {[list(each) for each in self.maps]}; expected some, each of at least 1 "
                "row and column"
            )
        if len(self.maps) > self.numbered or self.width % self.pooling:
            raise ConfigError(
                f"numbered is {self.numbered} and pooling {self.pooling}; expected at least the "
                f"{len(self.maps)} maps, and a number that divides {self.width}"
            )

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of the finest map."""
        return self.maps[-1]


class TextAttention(nn.Module):
    """Attention of queries to the vectors of a text."""

    def __init__(self, width: int, states: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.both = nn.Linear(states, 2 * width, bias=False)
        self.value_bias = nn.Parameter(torch.zeros(width))
        self.out = nn.Linear(width, width)

    def pair(self, text: Tensor) -> tuple[Tensor, Tensor]:
        """Return keys and values (B, H, T, K) of vectors (B, T, C)."""
        bias = torch.cat([torch.zeros_like(self.value_bias), self.value_bias])
        parts = F.linear(text, self.both.weight, bias).unflatten(2, (2, self.heads, -1))
        k, v = parts.permute(2, 0, 3, 1, 4)
        return k, v

    def look(self, q: Tensor, pair: tuple[Tensor, Tensor], seen: Tensor) -> Tensor:
        """Return what queries (B, H, L, K) see of the positions that `seen` (B, T) is true for."""
        mixed = F.scaled_dot_product_attention(q, *pair, attn_mask=seen[:, None, None])
        out: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return out


class Summary(TextAttention):
    """One vector (B, D) of a text, by a query that is learnt."""

    def __init__(self, width: int, states: int, heads: int) -> None:
        super().__init__(width, states, heads)
        self.query = nn.Parameter(torch.zeros(1, heads, width // heads))

    def forward(self, text: Tensor, seen: Tensor) -> Tensor:
        """Sum up vectors (B, T, C)."""
        q = self.query[:, :, None].expand(len(text), -1, -1, -1)
        return self.look(q, self.pair(text), seen)[:, 0]


class CrossAttention(TextAttention):
    """What cells see in the text, behind a norm."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__(width, width, heads)
        self.norm = nn.LayerNorm(width, EPSILON)
        self.query = nn.Linear(width, width)

    def forward(self, x: Tensor, pair: tuple[Tensor, Tensor], seen: Tensor) -> Tensor:
        """Map x (B, L, D) to the same shape."""
        q = self.query(self.norm(x)).unflatten(2, (self.heads, -1)).transpose(1, 2)
        return self.look(q, pair, seen)


@dataclass(frozen=True)
class Told:
    """What is known of texts: one vector (B, D) each, what all layers read, and where there is any.

    `changes` are gates, scales and shifts (B, 1, 6, D) of each layer, `pairs` its keys and values.
    """

    vector: Tensor
    changes: list[Tensor]
    pairs: list[tuple[Tensor, Tensor]]
    seen: Tensor  # (B, T)


class Infinity(MapPrior):
    """T5's features and maps of bits, as Infinity's models draw."""

    nll_kind: ClassVar[str] = "each map's bits after those of the maps before it"
    rotary: Tensor
    map_numbers: Tensor

    def __init__(self, config: InfinityConfig) -> None:
        super().__init__()
        self.config = config
        self.slices = base.map_slices(self.maps)
        width = config.width
        self.encoder = T5States(PretrainedConfig(config.text_vocabulary, config.encoder))
        states = int(self.encoder.body.config.hidden_size)  # C
        self.untold = nn.Parameter(torch.zeros(config.text_length, states))
        self.text_norm = nn.RMSNorm(states, EPSILON)
        self.summary = Summary(width, states, config.pooling)
        self.project = nn.Sequential(
            nn.Linear(states, width), nn.GELU(approximate="tanh"), nn.Linear(width, width)
        )
        self.begin = nn.Parameter(torch.zeros(1, 1, width))
        self.map_embedding = nn.Embedding(config.numbered, width)
        self.into = nn.Linear(config.groups, width)
        self.common = nn.Linear(width, 6 * width)
        self.layers = nn.ModuleList(Layer(config, common=True) for _ in range(config.layers))
        self.cross = nn.ModuleList(
            CrossAttention(width, config.heads) for _ in range(config.layers)
        )
        self.condition = nn.Linear(width, 2 * width)
        self.head = nn.Linear(width, 2 * config.groups)
        numbers = [torch.full((rows * columns,), k) for k, (rows, columns) in enumerate(self.maps)]
        self.register_buffer("map_numbers", torch.cat(numbers), persistent=False)
        angles = rotary_angles(places(self.maps, config.reach), width // config.heads, TURNS)
        self.register_buffer("rotary", torch.stack([angles.cos(), angles.sin()]), persistent=False)

    @property
    def batch_rows(self) -> int:
        """As PriorBase: on a processor two take twice as long, and one waits for no other."""
        return 1

    def text(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Return T5's states (B, T, C) of ids (B, T), and where they are of a text (B, T)."""
        ids = trim_padding(ids)
        if ids.shape[1] > self.config.text_length:
            raise UsageError(
                f"the text has {ids.shape[1]} positions; this model reads "
                f"{self.config.text_length}, so give it shorter"
            )
        states, seen = self.encoder(ids).float(), ids != 0
        blank = ~seen.any(1)
        return torch.where(blank[:, None, None], self.without(states), states), seen | blank[
            :, None
        ]

    def without(self, states: Tensor) -> Tensor:
        """Return what is read in the place of states (B, T, C): no text of as many positions."""
        return self.untold[: states.shape[1]].expand_as(states)

    def tell(self, states: Tensor, seen: Tensor) -> Told:
        """Return what the layers know of states (B, T, C) of texts."""
        states = self.text_norm(states)
        vector = self.summary(states, seen)
        shown = self.project(states)
        told = self.common(F.silu(vector)).view(len(vector), 1, 6, -1)
        layers, cross = list[Any](self.layers), list[Any](self.cross)
        changes = [layer.changes(told) for layer in layers]
        return Told(vector, changes, [each.pair(shown) for each in cross], seen)

    def added(self, codes: Tensor, which: int) -> Tensor:
        """Return what bits (B, N, G) of a map add to the finest grid (B, G, h, w)."""
        vectors = bits_as_vectors(codes).mT.unflatten(2, self.maps[which])
        return raise_bits(vectors, self.maps[-1])

    def inputs(self, vector: Tensor, known: Tensor | None, which: int) -> Tensor:
        """Return what cells of a map read (B, N, D): the text, or the sum (B, G, h, w) so far."""
        own = self.map_embedding.weight[which]
        if known is None:
            return vector[:, None] + self.begin + own
        return self.into(raise_bits(known, self.maps[which]).flatten(2).mT) + own

    def run(
        self, x: Tensor, told: Told, cells: slice, mask: Tensor | None, cache: Any = None
    ) -> Tensor:
        """Return logits (B, L, G, 2) of cells that read x (B, L, D)."""
        cosine, sine = (each[None, None] for each in self.rotary[:, cells])
        layers, cross = list[Any](self.layers), list[Any](self.cross)
        for number, (layer, look) in enumerate(zip(layers, cross, strict=True)):
            gate, gate_2, scale, scale_2, shift, shift_2 = told.changes[number].unbind(2)
            seen = normed(x, scale, shift)
            x = x + gate * layer.attend(seen, mask, cache, number, (cosine, sine))
            x = x + look(x, told.pairs[number], told.seen)
            x = x + gate_2 * layer.feed(normed(x, scale_2, shift_2))
        scale, shift = self.condition(F.silu(told.vector)).view(len(x), 1, 2, -1).unbind(2)
        return self.head(normed(x, scale, shift)).unflatten(2, (-1, 2))

    def forward(self, text: Tensor, codes: Tensor, sampled: None = None) -> Tensor:
        """Return logits (B, S, G, 2) of codes (B, S, G), teacher-forced, map after map."""
        told = self.tell(*self.text(text))
        x, known = [self.inputs(told.vector, None, 0)], torch.zeros(())
        for which, cells in enumerate(self.slices[:-1]):
            known = known + self.added(codes[:, cells], which)
            x.append(self.inputs(told.vector, known, which + 1))
        mask = self.map_numbers[None, :] <= self.map_numbers[:, None]
        return self.run(torch.cat(x, dim=1), told, slice(0, self.length), mask)

    def begin_drawing(
        self, text: Tensor, sampling: TokenSampling, processors: Sequence[LogitsProcessor]
    ) -> MapDrawing:
        """As MapPrior."""
        return InfinityDrawing(self, text, sampling, processors)


def places(maps: base.Maps, reach: int) -> Tensor:
    """Return row and column (S, 2) of every cell among `reach` a side, rounded as torch rounds."""
    found = []
    for rows, columns in maps:
        pairs = torch.cartesian_prod(torch.arange(rows), torch.arange(columns)).view(-1, 2)
        found.append((pairs * torch.tensor([reach / rows, reach / columns])).round())
    return torch.cat(found)


class InfinityDrawing(MapDrawing):
    """One drawing in progress: the text, the cache, and the sum of the maps drawn so far."""

    prior: Infinity

    def __init__(
        self,
        prior: Infinity,
        text: Tensor,
        sampling: TokenSampling,
        processors: Sequence[LogitsProcessor] = (),
    ) -> None:
        super().__init__(prior, text, sampling, processors)
        states, seen = prior.text(text)
        if self.guided:
            states, seen = torch.cat([states, prior.without(states)]), torch.cat([seen, seen])
        self.text = prior.tell(states, seen)
        config = prior.config
        sizes = TransformerConfig(config.width, config.layers, config.heads, config.hidden)
        self.cache = KeyValueCache(sizes, len(states), prior.length, text.device)
        self.known: Tensor | None = None  # (B, G, h, w)

    def draw(self, which: int, noise: Tensor) -> Tensor:
        """Return the bits (B, N, G) of a map by uniform numbers (B, N, G)."""
        prior, rows = self.prior, len(self.text.vector)
        x = prior.inputs(self.text.vector, self.known, which)
        x = x.repeat(rows // len(x), 1, 1)  # guided rows have drawn the same
        logits = prior.run(x, self.text, prior.slices[which], None, self.cache).flatten(0, 1)
        self.cache.filled += x.shape[1]
        pick, count = self.picker(which, noise), noise.shape[0] * noise.shape[1]
        drawn = [pick(logits[:, group], group)[:count] for group in range(noise.shape[2])]
        return torch.stack(drawn, dim=1).view(noise.shape)

    def take(self, which: int, codes: Tensor) -> None:
        """Let the maps that follow know the bits (B, N, G) of a map."""
        super().take(which, codes)
        if which + 1 < len(self.prior.maps):
            added = self.prior.added(codes, which)
            self.known = added if self.known is None else self.known + added
