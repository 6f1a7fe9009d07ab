"""The prior of DALL-E mini: an encoder reads the text, a decoder draws codes and looks at it.

Shapes: B pictures, T text positions (left-padded with 0), S cells, V values of a code, D width.
BART (Lewis 2019, arXiv 1910.13461) with the norms of NormFormer (Shleifer 2021, arXiv 2110.09456)
and gated feed-forward networks of GELU, as github.com/borisdayma/dalle-mini has it; without text
stands the empty text, which guidance compares with. It comes from published weights.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from limner.errors import ConfigError, UsageError
from limner.nn import bart
from limner.nn.checks import check_least
from limner.nn.engine import DecoderEngine, DecoderShape
from limner.nn.prepare import prepare
from limner.priors import base, cross, packed, raster
from limner.priors.decoding import CellDecoder
from limner.sampling.tokens import TokenSampling
from limner.types import LogitsProcessor


@dataclass(frozen=True)
class BARTConfig:
    """Sizes of encoder and decoder, and what a text and a picture begin with.

    `text_vocabulary` counts the ids of the tokenizer, 0 for padding among them, `text_length` the
    positions of a text, and `empty` are the ids of the empty text. The decoder knows `rows` values,
    of which `vocabulary` are codes of the codec, and `begin` is the one before the first cell.
    """

    text_vocabulary: int
    vocabulary: int
    rows: int
    begin: int
    empty: tuple[int, ...] = (1, 3)
    text_length: int = 64
    grid: tuple[int, int] = (16, 16)
    width: int = 1024
    layers: int = 12
    text_layers: int = 12
    heads: int = 16
    hidden: int = 2730
    groups: ClassVar[int] = 1
    levels: ClassVar[tuple[int, ...]] = ()
    maps: ClassVar[base.Maps] = ()

    def __post_init__(self) -> None:
        check_least(self, "text_vocabulary", "vocabulary", "text_length", "width", "layers")
        check_least(self, "text_layers", "heads", "hidden")
        if min(self.grid) < 1:
            raise ConfigError(f"grid is {list(self.grid)}; expected at least 1 row and column")
        if self.width % self.heads:
            raise ConfigError(
                f"width is {self.width} for {self.heads} heads; expected a multiple of the heads"
            )
        if not self.vocabulary <= self.rows or not 0 <= self.begin < self.rows:
            raise ConfigError(
                f"rows is {self.rows} for {self.vocabulary} codes and {self.begin} to begin with; "
                "expected more than each"
            )
        if not self.empty or not all(0 < each < self.text_vocabulary for each in self.empty):
            raise ConfigError(f"empty is {list(self.empty)}; expected ids of the tokenizer")


class BART(packed.PackedPrior, raster.RasterPrior):
    """Encoder-decoder transformer over text and image codes, as DALL-E mini and mega are."""

    empty: Tensor

    def __init__(self, config: BARTConfig) -> None:
        super().__init__()
        self.config = config
        sizes = bart.Sizes(config.width, config.heads, config.hidden)
        self.text = bart.TextEncoder(
            sizes, config.text_layers, config.text_vocabulary - 1, config.text_length
        )
        self.register_buffer("empty", torch.tensor(config.empty), persistent=False)
        self.embed = nn.Embedding(config.rows, config.width)
        self.placed = nn.Embedding(self.length, config.width)
        self.embed_norm = nn.LayerNorm(config.width)
        self.layers = nn.ModuleList(bart.DecoderLayer(sizes) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width)
        self.head = nn.Linear(config.width, config.rows, bias=False)
        self.packed = packed.PackedDecoder()

    def engine(self) -> DecoderEngine:
        """Return the decoder as drawing wants it, made again when weights have changed."""

        def make() -> DecoderEngine:
            config = self.config
            shape = DecoderShape(
                config.width, config.layers, config.heads, config.hidden, layer_norm=True, gelu=True
            )
            head = {
                "head": self.head.weight[: config.vocabulary],
                "attention_norm": self.norm.weight,
                "attention_norm_bias": self.norm.bias,
            }
            layers = bart.layers_of(self.layers)
            return prepare(shape, layers, [head], self.precision, self.embed.weight.device)

        return self.packed.hold(self, make)

    def read(self, text: Tensor) -> tuple[Tensor, list[int]]:
        """Return what the decoder looks at (B, T, D) of ids (B, T), and how many places of each.

        A row of padding alone is the empty text. Raises UsageError for more positions than there
        are.
        """
        # Guidance and likelihood ask for rows without text: they are the empty one here.
        short = max(0, len(self.empty) - text.shape[1])
        text = nn.functional.pad(text, (short, 0))
        if text.shape[1] > self.config.text_length:
            raise UsageError(
                f"the text has {text.shape[1]} positions; this model reads "
                f"{self.config.text_length}, so give it shorter"
            )
        blank = (text == 0).all(1)
        if bool(blank.any()):
            text = text.clone()
            text[blank, -len(self.empty) :] = self.empty
        features, real = self.text(text), text != 0
        # Real places first: what the decoder sees is the first so many.
        order = (~real).int().argsort(dim=1, stable=True)
        features = features.gather(1, order[..., None].expand_as(features))
        return features, real.sum(1).tolist()

    def forward(self, text: Tensor, codes: Tensor, sampled: None = None) -> Tensor:
        """Return logits (B, S, 1, V) of codes (B, S) in raster order, teacher-forced."""
        cells = codes.flatten(1)
        begin = torch.full_like(cells[:, :1], self.config.begin)
        before = torch.cat([begin, cells[:, :-1]], dim=1)
        x = self.embed_norm(self.embed(before) + self.placed.weight)
        memory, lengths = self.read(text)
        places = torch.arange(memory.shape[1], device=x.device)
        told = places < torch.tensor(lengths, device=x.device)[:, None]
        for layer in self.layers:
            x = layer(x, memory, told[:, None, None])
        logits: Tensor = self.head(self.norm(x))[..., : self.config.vocabulary]
        return logits[:, :, None]

    def begin_drawing(
        self,
        text: Tensor,
        sampling: TokenSampling,
        count: int,
        processors: Sequence[LogitsProcessor],
        guidance: Sequence[float],
    ) -> CellDecoder:
        """As RasterPrior."""
        return cross.CrossDecoder(self, text, sampling, count, processors, guidance)
