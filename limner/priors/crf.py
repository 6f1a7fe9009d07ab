"""The CRF prior: a conditional random field over the grid of codes (CRF-as-RNN, arXiv 1502.03240).

Shapes: B pictures, T text positions (left-padded with 0), S = h * w cells, G codes a cell, V values
of a code, D width, K directions to neighbours, R rank, L = K * R links a cell.

log p(x | text) = sum of u(x_i; text) over codes + sum of a(x_i) . b(x_j) over neighbours - log Z.
The unary potentials u come from text by cross-attention; the pairwise ones are learned matrices of
rank R, one for each offset between neighbouring cells and one for the codes within a cell, the same
everywhere in a picture and for every text. Nothing but neighbours is seen, so that what lies far
apart in a picture agrees only as far as the text decides it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from limner.errors import ConfigError
from limner.nn.checks import check_heads, check_least
from limner.nn.transformer import FeedForward, RMSNorm, TransformerConfig
from limner.priors.base import Known, PriorBase, PriorConfig
from limner.priors.codes import CodeTable, embed_cells
from limner.sampling.tokens import TokenSampling, choose, guidance_at, guide
from limner.text.encoders import text_encoder_of

OFFSETS = {4: ((0, 1), (1, 0)), 8: ((0, 1), (1, 0), (1, 1), (1, -1))}


@dataclass(frozen=True)
class FieldConfig(PriorConfig):
    """The codec's codes, and a field over one map of them.

    The field has `neighbours` 4 or 8 and matrices of `rank`; mean field takes `iterations`. In
    training `conditional` is the share of pictures of which all codes but one block are known
    (pseudo-likelihood by blocks, Besag 1975); in the others none is. Sampling takes `sweeps` over
    the picture, the first at `heat` times the asked temperature.
    """

    neighbours: int = 8
    rank: int = 48
    iterations: int = 4
    conditional: float = 0.5
    sweeps: int = 12
    heat: float = 1.5

    def __post_init__(self) -> None:
        super().__post_init__()
        check_least(self, "rank", "iterations", "sweeps")
        if self.neighbours not in OFFSETS:
            raise ConfigError(f"neighbours is {self.neighbours}; expected 4 or 8")
        if not 0 <= self.conditional <= 1:
            raise ConfigError(f"conditional is {self.conditional:g}; expected a share in [0, 1]")
        if self.heat < 1:
            raise ConfigError(f"heat is {self.heat:g}; expected at least 1")


@dataclass(frozen=True)
class CRFConfig(FieldConfig):
    """A field, and sizes of the network for unary potentials.

    `text_layers` encode the text, `layers` of cross-attention read it.
    """

    text_layers: int = 4
    layers: int = 3
    heads: int = 4
    hidden: int = 704

    def __post_init__(self) -> None:
        super().__post_init__()
        check_least(self, "width", "text_layers", "layers", "heads", "hidden")
        check_heads(self.width, self.heads)
        if len(self.maps) > 1:
            raise ConfigError(
                f"maps is {[list(each) for each in self.maps]}; a field lies over one map, so give "
                "it a codec of one map, or take gpt or next_scale"
            )


class CRF(PriorBase):
    """Text to unary potentials, and a field with pairwise ones over the grid of codes."""

    nll_kind: ClassVar[str] = "the product of mean field's marginals, not the field"

    def __init__(self, config: CRFConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        sizes = {"layers": config.text_layers, "heads": config.heads, "hidden": config.hidden}
        self.text = text_encoder_of(config, own={"name": "own", **sizes})
        self.queries = nn.Parameter(torch.randn(self.length, width))
        self.readers = nn.ModuleList(TextReader(config) for _ in range(config.layers))
        self.norm = RMSNorm(width)
        coding = (config.groups, config.vocabulary, config.levels)
        self.values = CodeTable(*coding, width, width**-0.5)
        self.bias = nn.Parameter(torch.zeros(config.groups, config.vocabulary))
        self.field = Field(config)

    @property
    def steps(self) -> int:
        """How often `stream` yields: once a sweep."""
        return int(self.config.sweeps)

    def sample_order(self, codes: Tensor, generator: torch.Generator, random: float) -> Any:
        """Return which codes (B, S, G) are known: of each picture none, or all but one block."""
        return self.field.partly_known(codes, generator)

    def unary(self, text: Tensor) -> Tensor:
        """Return unary potentials (B, S, G, V) of text (B, T)."""
        features, real = self.text(text), text != 0  # (B, T, D), (B, T)
        x = self.queries.expand(len(text), -1, -1)  # (B, S, D)
        for reader in self.readers:
            x = reader(x, features, real)
        rows = torch.stack([F.linear(self.norm(x), table) for table in self.values()], dim=2)
        return rows + self.bias

    def forward(self, text: Tensor, codes: Tensor, known: Tensor | None = None) -> Tensor:
        """Return logits (B, S, G, V) of the marginals that mean field finds.

        Where `known` (B, S, G) is true the codes are given; by default none is.
        """
        held = None
        if known is not None:
            held = (codes.reshape(known.shape), known)
        return self.field.mean_field(self.unary(text), held)

    def loss(self, text: Tensor, codes: Tensor, sampled: Tensor | None = None) -> Tensor:
        """Return the cross-entropy of mean field's marginals, the mean in nats an unknown code.

        With nothing known, that is the negative log-likelihood of their product, not of the field.
        """
        each = self.nll(text, codes, sampled)
        return each.mean() if sampled is None else mean_of_unknown(each, sampled)

    def known_nats(self, text: Tensor, codes: Tensor, keep: Tensor) -> Tensor:
        """Return the nats (K,) of known codes by mean field, given the others, as PriorBase."""
        drawn = ~keep[..., None].expand(len(codes), self.length, self.config.groups)
        nats = self.nll(text.expand(len(codes), -1), codes, drawn).double().sum(2)
        return -(nats * keep).sum(1)

    def stream(
        self,
        text: Tensor,
        sampling: TokenSampling,
        seeds: Sequence[int],
        known: Known | None = None,
    ) -> Iterator[Tensor]:
        """Draw codes (B, S) or (B, S, G) by Gibbs sampling, yielding after every sweep.

        The chain starts from mean field's marginals. Its temperature falls to the asked one over
        the first half of the sweeps. Guidance moves the unary potentials alone: the pairwise ones
        are the same with text and without.
        """
        # 1. A uniform number for each code and sweep, and for the codes that the chain starts from.
        config, count = self.config, len(text)
        text, held = self.fill(text), self.known_rows(known)
        shape = (config.sweeps + 1, self.length, config.groups)
        noise = self.noise(seeds, config.sweeps + 1, self.length * config.groups, text.device)
        noise_at = noise.view(len(text), *shape).unbind(1)
        # 2. Unary potentials with the text and without; the pairwise ones are the same.
        told = self.unary(text)
        untold = self.unary(torch.zeros_like(text)) if sampling.guidance else told
        # 3. The chain.
        for codes in self.field.gibbs((told, untold), sampling, noise_at, held):
            yield self.unpad(codes, count)


class Field(nn.Module):
    """Pairwise potentials between neighbouring cells and within a cell, and inference with them.

    A cell's codes choose L links, R for each direction, as the sum over its codes. A pair of
    neighbours agrees by the product of the links that each holds in the other's direction.
    """

    neighbours: Tensor
    colours: Tensor

    def __init__(self, config: FieldConfig) -> None:
        super().__init__()
        self.config = config
        coding = (config.groups, config.vocabulary, config.levels)
        self.directions = 2 * len(OFFSETS[config.neighbours])
        links = self.directions * config.rank
        self.links = CodeTable(*coding, links, 0.1 * config.rank**-0.25)
        within = 2 * config.rank if config.groups > 1 else 0
        self.inner = CodeTable(*coding, within, 0.1 * config.rank**-0.25)
        neighbours, colours = grid_of(config.grid, config.neighbours)
        self.register_buffer("neighbours", neighbours, persistent=False)
        self.register_buffer("colours", colours, persistent=False)

    def tables(self) -> tuple[Tensor, Tensor]:
        """Return the links of every value: between cells (G, V, L), within one (G, V, 2 * R)."""
        return self.links(), self.inner()

    def blocks(self) -> Tensor:
        """Return the blocks (blocks, S, G) of codes that are independent given all others."""
        colour = torch.arange(int(self.colours.max()) + 1, device=self.colours.device)
        group = torch.eye(self.config.groups, dtype=torch.bool, device=self.colours.device)
        cells = self.colours == colour[:, None]
        return (cells[:, None, :, None] & group[None, :, None, :]).flatten(0, 1)

    def turns(self) -> Iterator[tuple[Tensor, int]]:
        """Yield (cells, group) of each block, in the order of Gibbs sampling."""
        for colour in range(int(self.colours.max()) + 1):
            cells = (self.colours == colour).nonzero()[:, 0]
            for group in range(self.config.groups):
                yield cells, group

    def partly_known(self, codes: Tensor, generator: torch.Generator) -> Tensor:
        """Return which codes (B, S, G) are known: of each picture none, or all but one block."""
        blocks = self.blocks()
        hidden = torch.randint(len(blocks), (len(codes),), generator=generator).to(codes.device)
        partly = torch.rand(len(codes), generator=generator) < self.config.conditional
        return ~blocks[hidden] & partly.to(codes.device)[:, None, None]

    def gibbs(
        self,
        potentials: tuple[Tensor, Tensor],
        sampling: TokenSampling,
        noise: Sequence[Tensor],
        held: Known | None = None,
    ) -> Iterator[Tensor]:
        """Draw codes (B, S, G), yielding after every sweep.

        `potentials` are the unary ones (B, S, G, V) with the text and without, `noise` uniform
        numbers (B, S, G) of each sweep and of the beginning, `held` codes (B, S, G) and where they
        are known, (B, S, G) or (B, S, 1).
        """
        config, tables, codes = self.config, self.tables(), torch.empty(0)
        if held is not None:
            held = (held[0], held[1].expand_as(held[0]))
        for sweep in range(config.sweeps):
            scale = guidance_at(sampling.guidance_schedule, sampling.guidance, sweep, config.sweeps)
            unary = guide(*potentials, scale) if sampling.guidance else potentials[0]
            if sweep == 0:  # 1. Mean field's marginals, each code by itself, begin the chain.
                marginals = self.mean_field(unary, held)
                codes = _choose(marginals, sampling, noise[-1], 1.0)
                codes = codes if held is None else torch.where(held[1], held[0], codes)
            # 2. Block by block, codes that are independent given all others are drawn anew.
            heat = config.heat ** max(0.0, 1 - 2 * sweep / config.sweeps)
            codes = codes.clone()
            for cells, group in self.turns():
                logits = self.conditional(unary, codes, tables, cells, group)
                chosen = _choose(logits, sampling, noise[sweep][:, cells, group], heat)
                if held is not None:
                    kept_here, old = held[1][:, cells, group], codes[:, cells, group]
                    chosen = torch.where(kept_here, old, chosen)
                codes[:, cells, group] = chosen
            yield codes

    def mean_field(self, unary: Tensor, held: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """Return the logits (B, S, G, V) of mean field's marginals (arXiv 1502.03240, algorithm 1).

        `held` are codes (B, S, G) and where they are known; a known code's marginal is itself, and
        its logits are those of the code given all others.
        """
        tables = self.tables()
        logits = unary
        for _ in range(self.config.iterations):
            # 1. What each cell sends: its links, as the mean over what its code may be.
            shares = logits.softmax(-1)  # (B, S, G, V)
            sent = [
                torch.stack([shares[:, :, group] @ rows for group, rows in enumerate(table)])
                for table in tables
            ]
            # 2. A known code sends its own links.
            if held is not None:
                known = held[1].movedim(-1, 0)[..., None]
                sent = [
                    torch.where(known, _rows(table, held[0]).to(each.dtype), each)
                    for table, each in zip(tables, sent, strict=True)
                ]
            # 3. What each value receives is the product of its links with those that it meets.
            logits = unary + self._messages(sent[0].sum(0), sent[1], tables)
        return logits

    def conditional(
        self, unary: Tensor, codes: Tensor, tables: tuple[Tensor, Tensor], cells: Tensor, group: int
    ) -> Tensor:
        """Return logits (B, N, V) of one code in each of N cells, exact given all other codes."""
        links, inner = tables  # (G, V, L), (G, V, 2R)
        received = self._receive(embed_cells(links, codes))[:, cells]
        within = self._receive_within(_rows(inner, codes[:, cells]), group)
        logits: Tensor = unary[:, cells, group] + received @ links[group].T
        return logits + within @ inner[group].T

    def _messages(self, sent: Tensor, within: Tensor, tables: tuple[Tensor, Tensor]) -> Tensor:
        """Return what all others tell each value (B, S, G, V).

        They are told by links between cells (B, S, L), and within a cell (G, B, S, 2 * R).
        """
        links, inner = tables
        received = self._receive(sent)
        return torch.stack(
            [
                F.linear(received, links[group])
                + F.linear(self._receive_within(within, group), inner[group])
                for group in range(self.config.groups)
            ],
            dim=2,
        )

    def _receive(self, sent: Tensor) -> Tensor:
        """Return the links (B, S, L) that each cell meets, of those (B, S, L) that cells hold."""
        # The row of zeros behind all cells is the neighbour of those at the edge.
        held = F.pad(sent, (0, 0, 0, 1)).unflatten(-1, (self.directions, -1))
        met = [held[:, self.neighbours[:, d], d ^ 1] for d in range(self.directions)]
        return torch.cat(met, dim=-1)

    def _receive_within(self, held: Tensor, group: int) -> Tensor:
        """Return the links (B, N, 2R) that a cell's code meets in its other codes (G, B, N, 2R)."""
        first, second = held.chunk(2, dim=-1)  # R of a pair's first code and of its second
        return torch.cat([second[group + 1 :].sum(0), first[:group].sum(0)], dim=-1)


class TextReader(nn.Module):
    """Cross-attention of cells to text, then feed-forward, each normalised before, added after."""

    def __init__(self, config: CRFConfig) -> None:
        super().__init__()
        width = config.width
        sizes = TransformerConfig(width, config.layers, config.heads, config.hidden)
        self.heads = config.heads
        self.norms = nn.ModuleList(RMSNorm(width) for _ in range(3))
        self.query = nn.Linear(width, width, bias=False)
        self.key_value = nn.Linear(width, 2 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.nothing = nn.Parameter(torch.randn(width) * 0.02)
        self.feed_forward = FeedForward(sizes)

    def forward(self, x: Tensor, text: Tensor, real: Tensor) -> Tensor:
        """Map cells (B, S, D) to the same shape, by text features (B, T, D), `real` (B, T) ones.

        One learned position stands beside the text, for where there is none.
        """
        text = torch.cat([self.nothing.expand(len(text), 1, -1), self.norms[1](text)], dim=1)
        visible = F.pad(real, (1, 0), value=True)[:, None, None]
        query = self.query(self.norms[0](x)).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        pairs = self.key_value(text).unflatten(-1, (2, self.heads, -1))  # (B, T + 1, 2, H, .)
        key, value = pairs.permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=visible)
        x = x + self.out(mixed.transpose(1, 2).flatten(2))
        return x + self.feed_forward(self.norms[2](x))


def grid_of(grid: tuple[int, int], neighbours: int) -> tuple[Tensor, Tensor]:
    """Return each cell's neighbour in every direction (S, K), S for none, and colours (S,).

    Directions 2 n and 2 n + 1 are offset n and its opposite. Neighbours never share a colour.
    """
    rows, columns = grid  # of which S cells
    # Plain numbers: tensors of an outline have no values, and comparing them wants a compiler.
    cells = [(row, column) for row in range(rows) for column in range(columns)]
    steps = [(sign * down, sign * right) for down, right in OFFSETS[neighbours] for sign in (1, -1)]
    number = {cell: at for at, cell in enumerate(cells)}
    found = [
        [number.get((row + down, column + right), len(cells)) for down, right in steps]
        for row, column in cells
    ]
    few = min(2, columns)
    colours = [
        row % 2 * few + column % 2 if neighbours == 8 else (row + column) % 2
        for row, column in cells
    ]
    return torch.tensor(found), torch.tensor(colours)


def mean_of_unknown(each: Tensor, known: Tensor) -> Tensor:
    """Return the mean over pictures of the mean of what is `each` code's (B, S, G) and unknown."""
    unknown = (~known).float()
    return ((each * unknown).sum((1, 2)) / unknown.sum((1, 2)).clamp_min(1)).mean()


def _rows(table: Tensor, codes: Tensor) -> Tensor:
    """Return the rows (G, B, N, ...) of a table (G, V, ...) that codes (B, N, G) name."""
    return torch.stack([F.embedding(codes[..., g], rows) for g, rows in enumerate(table)])


def _choose(logits: Tensor, sampling: TokenSampling, noise: Tensor, heat: float) -> Tensor:
    """Choose a code for each of logits (..., V) by uniform numbers (...), `heat` times as hot."""
    rows = logits.flatten(0, -2) / heat
    return choose(rows, sampling, noise.flatten()).view(logits.shape[:-1])
