"""The prior of DALLE-pytorch: text and image tokens in one causal stream, in its exact form.

Shapes: B pictures, T text positions (left-padded with 0), S cells, V codes, D width, N positions
in all. Ramesh 2021, arXiv 2102.12092, as github.com/lucidrains/DALLE-pytorch 1.6 has it: every
place of the text has a padding id of its own, and a text of padding alone is no text. It comes from
weights that were trained there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from limner.errors import ConfigError
from limner.nn import lucid
from limner.nn.checks import check_least
from limner.nn.prefix import filled_behind
from limner.priors import base, raster
from limner.priors.decoding import CellDecoder
from limner.sampling.tokens import TokenSampling
from limner.types import LogitsProcessor


@dataclass(frozen=True)
class LucidConfig:
    """Sizes of the transformer, and what of DALLE-pytorch's options it was trained with.

    `text_vocabulary` counts the ids of the tokenizer, 0 for padding among them; `attention` names
    what layers see, again from the first when it is used up; `angles` are the dimensions that
    rotary positions turn, 0 for positions that are learnt.
    """

    text_vocabulary: int
    vocabulary: int
    text_length: int = 256
    grid: tuple[int, int] = (16, 16)
    width: int = 512
    layers: int = 2
    heads: int = 8
    head: int = 64
    attention: tuple[str, ...] = ("full",)
    angles: int = 0
    shift: bool = True
    sandwich: bool = False
    stable: bool = False
    groups: ClassVar[int] = 1
    levels: ClassVar[tuple[int, ...]] = ()
    maps: ClassVar[base.Maps] = ()

    def __post_init__(self) -> None:
        check_least(self, "text_vocabulary", "vocabulary", "text_length", "layers", "heads", "head")
        if min(self.grid) < 1 or self.grid[0] != self.grid[1]:
            raise ConfigError(f"grid is {list(self.grid)}; expected a square")
        if self.width < 4 or self.width % 4:
            raise ConfigError(f"width is {self.width}; expected a multiple of 4")
        if not 0 <= self.angles <= self.head or self.angles % 2:
            raise ConfigError(
                f"angles is {self.angles}; expected an even number up to head, {self.head}"
            )
        for kind in self.attention or ("",):
            if kind not in lucid.KINDS:
                raise ConfigError(
                    f"attention has {kind!r}; limner draws with {', '.join(lucid.KINDS)}"
                )

    @property
    def shape(self) -> lucid.Shape:
        """The sizes of a layer."""
        return lucid.Shape(
            self.width, self.heads, self.head, self.text_length + 1, self.grid[0], self.shift,
            self.sandwich,
        )  # fmt: skip


class Lucid(raster.RasterPrior):
    """Decoder-only transformer over text and image codes, as DALLE-pytorch trains it."""

    seen: Tensor

    def __init__(self, config: LucidConfig) -> None:
        super().__init__()
        self.config = config
        length, width = config.text_length, config.width
        # Ids of the tokenizer, then a padding id for each place.
        self.text_embed = nn.Embedding(config.text_vocabulary - 1 + length, width)
        self.embed = nn.Embedding(config.vocabulary, width)
        if config.angles:
            self.angles = nn.Parameter(torch.zeros(config.shape.length + 1, config.angles))
        else:
            self.text_placed = nn.Embedding(length + 1, width)
            self.rows = nn.Parameter(torch.zeros(config.grid[0], width))
            self.columns = nn.Parameter(torch.zeros(config.grid[1], width))
        self.layers = nn.ModuleList(lucid.Layer(config.shape) for _ in range(config.layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, config.text_vocabulary - 1 + length + config.vocabulary)
        masks = {kind: lucid.allowed(config.shape, kind) for kind in set(config.attention)}
        kinds = [config.attention[at % len(config.attention)] for at in range(config.layers)]
        self.register_buffer("seen", torch.stack([masks[kind] for kind in kinds]), persistent=False)

    def text(self, ids: Tensor) -> Tensor:
        """Return the vectors (B, T + 1, D) of ids (B, T): one that begins, then the text."""
        # Each place has a padding id of its own, their id 0 is padding too, and id 0 begins.
        own = torch.arange(self.config.text_length, device=ids.device)
        own = own + self.config.text_vocabulary - 1
        theirs = filled_behind(ids, own)
        theirs = torch.where(theirs == 0, own, theirs)
        x: Tensor = self.text_embed(nn.functional.pad(theirs, (1, 0)))
        return x if self.config.angles else x + self.text_placed.weight

    def cells(self, codes: Tensor, first: int = 0) -> Tensor:
        """Return the vectors (B, L, D) of codes (B, L) of the cells from `first` on."""
        x: Tensor = self.embed(codes)
        if self.config.angles:
            return x
        placed = (self.rows[:, None] + self.columns).flatten(0, 1)
        return x + placed[first : first + codes.shape[1]]

    def begin(self, rows: int) -> list[lucid.Cache]:
        """Return empty caches for so many rows."""
        like = self.text_embed.weight
        return [lucid.Cache(self.config.shape, rows, like) for _ in self.layers]

    def extend(self, x: Tensor, at: int, caches: Sequence[lucid.Cache]) -> Tensor:
        """Map x (B, L, D) at positions `at`, .. to features (B, L, D), into the caches."""
        angles = self.angles if self.config.angles else None
        for number, layer in enumerate(self.layers):
            x = layer(x, at, caches[number], self.seen[number], angles)
        if self.config.stable:
            x = x / x.amax(-1, keepdim=True)
        out: Tensor = self.norm(x)
        return out

    def logits(self, features: Tensor) -> Tensor:
        """Map features (..., D) to logits (..., V) of codes; those of text are not computed."""
        count = self.config.vocabulary
        return nn.functional.linear(features, self.head.weight[-count:], self.head.bias[-count:])

    def forward(self, text: Tensor, codes: Tensor, sampled: None = None) -> Tensor:
        """Return logits (B, S, 1, V) of codes (B, S) in raster order, teacher-forced."""
        cells = codes.flatten(1)
        x = torch.cat([self.text(text), self.cells(cells[:, :-1])], dim=1)
        with torch.no_grad():
            caches = self.begin(len(x))
        features = self.extend(x, 0, caches)[:, self.config.text_length :]
        return self.logits(features)[:, :, None]

    def begin_drawing(
        self,
        text: Tensor,
        sampling: TokenSampling,
        count: int,
        processors: Sequence[LogitsProcessor],
        guidance: Sequence[float],
    ) -> CellDecoder:
        """As RasterPrior."""
        return LucidDecoder(self, text, sampling, processors, guidance)


class LucidDecoder(raster.StreamDecoder):
    """One drawing in progress; rows that guidance compares with have read a text of padding."""

    def __init__(
        self,
        prior: Lucid,
        text: Tensor,
        sampling: TokenSampling,
        processors: Sequence[LogitsProcessor] = (),
        guidance: Sequence[float] = (),
    ) -> None:
        """Read `text` (batch_rows, T)."""
        self._accept(prior, text, sampling, processors, guidance)
        if self.guidance[0]:
            text = torch.cat([text, torch.zeros_like(text)])
        self.caches = prior.begin(len(text))
        self.begun = prior.extend(prior.text(text), 0, self.caches)[:, -1]
        self.prefix = prior.config.text_length + 1

    def extend(self, x: Tensor, at: int) -> Tensor:
        """As StreamDecoder."""
        features: Tensor = self.prior.extend(x, at, self.caches)
        return features

    def unguided(self, features: Tensor, which: int, known: Tensor) -> Tensor:
        """Return as many logits as there are features, as CellDecoder does."""
        logits: Tensor = self.prior.logits(features)
        return logits
