"""The prior of minDALL-E: GPT-2's layers over text and image codes in one causal stream.

Shapes: B pictures, T text positions, S cells, V codes, D width, N = T + S - 1 positions in all.
Radford 2019, as github.com/kakaobrain/minDALL-E has it: LayerNorm before each part, GELU, biases,
learnt positions of the text and of the cells; padding behind the text is read like any token. A
text of padding alone is no text, but nothing was trained to draw from it. It comes from published
weights.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from limner.errors import ConfigError
from limner.nn.checks import check_least
from limner.nn.engine import DecoderEngine, DecoderShape, Seen, Weights
from limner.nn.prefix import filled_behind
from limner.nn.prepare import prepare
from limner.priors import base, packed, raster
from limner.priors.decoding import CellDecoder
from limner.sampling.tokens import TokenSampling
from limner.types import LogitsProcessor

WIDER = 4  # times the width: the feed-forward inside


@dataclass(frozen=True)
class GPT2Config:
    """Sizes of the transformer.

    `text_vocabulary` counts the ids of the tokenizer, 0 for padding among them; `padding` is the
    id of the tokenizer's own that stands behind a text, one lower than here.
    """

    text_vocabulary: int
    vocabulary: int = 16384
    text_length: int = 64
    grid: tuple[int, int] = (16, 16)
    width: int = 1536
    layers: int = 42
    heads: int = 24
    padding: int = 0
    groups: ClassVar[int] = 1
    levels: ClassVar[tuple[int, ...]] = ()
    maps: ClassVar[base.Maps] = ()

    def __post_init__(self) -> None:
        check_least(self, "vocabulary", "text_length", "width", "layers", "heads")
        check_least(self, "text_vocabulary", least=2)
        if min(self.grid) < 1:
            raise ConfigError(f"grid is {list(self.grid)}; expected at least 1 row and column")
        if self.width % self.heads:
            raise ConfigError(
                f"width is {self.width} for {self.heads} heads; expected a multiple of them"
            )
        if not 0 <= self.padding < self.text_vocabulary - 1:
            raise ConfigError(
                f"padding is {self.padding}; expected 0 to {self.text_vocabulary - 2}"
            )


class Layer(nn.Module):
    """A block of GPT-2: attention, then feed-forward, each normalised before.

    `sandwich` normalises each behind too, and has GELU by tanh.
    """

    def __init__(self, width: int, heads: int, *, sandwich: bool = False) -> None:
        super().__init__()
        self.heads, self.form = heads, "tanh" if sandwich else "none"
        self.attention_norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.out_norm = nn.LayerNorm(width) if sandwich else nn.Identity()
        self.feed_forward_norm = nn.LayerNorm(width)
        self.into = nn.Linear(width, WIDER * width)
        self.down = nn.Linear(WIDER * width, width)
        self.down_norm = nn.LayerNorm(width) if sandwich else nn.Identity()

    def forward(self, x: Tensor, seen: Tensor) -> Tensor:
        """Map x (B, L, D) to the same shape; `seen` (L, L) is true where one sees another."""
        parts = self.qkv(self.attention_norm(x)).unflatten(2, (3, self.heads, -1))
        q, k, v = parts.permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=seen)
        x = x + self.out_norm(self.out(mixed.transpose(1, 2).flatten(2)))
        inner = F.gelu(self.into(self.feed_forward_norm(x)), approximate=self.form)
        out: Tensor = x + self.down_norm(self.down(inner))
        return out


def layers_of(layers: Iterable[Any]) -> Iterator[Weights]:
    """Yield the weights of layers by the names of `limner.nn.engine`."""
    for layer in layers:
        yield {
            name.removesuffix(".weight").replace(".bias", "_bias"): weight
            for name, weight in layer.named_parameters()
        }


class GPT2Base(packed.PackedPrior, raster.RasterPrior):
    """What priors of GPT-2's layers share; one is this, `text`, `cells`, and what it embeds with.

    The head has the rows of codes, or those of text before them. `last` is a norm more before it.
    """

    sandwich: ClassVar[bool] = False
    embed: nn.Embedding

    def __init__(self, config: Any, rows: int) -> None:
        super().__init__()
        self.config = config
        width, sandwich = config.width, self.sandwich
        self.embed = nn.Embedding(config.vocabulary, width)
        self.layers = nn.ModuleList(
            Layer(width, config.heads, sandwich=sandwich) for _ in range(config.layers)
        )
        self.norm = nn.LayerNorm(width)
        self.last = nn.LayerNorm(width) if sandwich else nn.Identity()
        self.head = nn.Linear(width, rows, bias=sandwich)
        self.packed = packed.PackedDecoder()

    @property
    def prefix(self) -> int:
        """How many positions the text has."""
        return int(self.config.text_length)

    def seen(self, length: int) -> Seen | None:
        """Return who may see whom besides what is before, of so many positions; None for all."""
        return None

    def cells(self, codes: Tensor, first: int = 0) -> Tensor:
        """Return the vectors (B, L, D) of codes (B, L) of the cells from `first` on."""
        raise NotImplementedError

    def _head(self) -> tuple[Tensor, Tensor | None]:
        """Return the weights of the codes' logits (V, D), and their bias (V,)."""
        count = self.config.vocabulary
        return self.head.weight[-count:], self.head.bias[-count:] if self.sandwich else None

    def engine(self) -> DecoderEngine:
        """Return the decoder as drawing wants it, made again when weights have changed."""

        def make() -> DecoderEngine:
            config = self.config
            shape = DecoderShape(
                config.width, config.layers, config.heads, WIDER * config.width,
                layer_norm=True, gelu=True, gated=False, tanh=self.sandwich,
            )  # fmt: skip
            weight, bias = self._head()
            head = {"head": weight} if bias is None else {"head": weight, "head_bias": bias}
            head |= {"attention_norm": self.norm.weight, "attention_norm_bias": self.norm.bias}
            layers = layers_of(self.layers)
            return prepare(shape, layers, [head], self.precision, self.embed.weight.device)

        return self.packed.hold(self, make)

    def forward(self, text: Tensor, codes: Tensor, sampled: None = None) -> Tensor:
        """Return logits (B, S, 1, V) of codes (B, S) in raster order, teacher-forced."""
        x = torch.cat([self.text(text), self.cells(codes.flatten(1)[:, :-1])], dim=1)  # (B, N, D)
        before = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool, device=x.device).tril()
        masks, kinds = self.seen(x.shape[1]) or (before[None], [0] * len(self.layers))
        for layer, kind in zip(self.layers, kinds, strict=True):
            x = layer(x, masks[kind].to(x.device) & before)
        logits = F.linear(self.last(self.norm(x[:, self.prefix - 1 :])), *self._head())
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
        return GPT2Decoder(self, text, sampling, count, processors, guidance)


class GPT2(GPT2Base):
    """Decoder-only transformer over text and image codes, as minDALL-E is."""

    def __init__(self, config: GPT2Config) -> None:
        super().__init__(config, config.vocabulary)
        rows, width = config.text_vocabulary - 1, config.width
        self.text_embed = nn.Embedding(rows, width)
        self.text_placed = nn.Embedding(config.text_length, width)
        self.placed = nn.Embedding(self.length, width)
        # What was trained beside it, to predict the text; drawing does not use it.
        self.text_head = nn.Linear(width, rows, bias=False)

    def text(self, ids: Tensor) -> Tensor:
        """Return the vectors (B, T, D) of ids (B, <= T); UsageError for more."""
        padding = torch.full((self.config.text_length,), self.config.padding)
        out: Tensor = self.text_embed(filled_behind(ids, padding)) + self.text_placed.weight
        return out

    def cells(self, codes: Tensor, first: int = 0) -> Tensor:
        """Return the vectors (B, L, D) of codes (B, L) of the cells from `first` on."""
        out: Tensor = self.embed(codes) + self.placed.weight[first : first + codes.shape[1]]
        return out


class GPT2Decoder(raster.StreamDecoder):
    """One drawing in progress; rows that guidance compares with have read a text of padding."""

    def _read(self, engine: DecoderEngine, text: Tensor) -> None:
        """As EngineDecoder."""
        if self.guidance[0]:
            text = torch.cat([text, torch.zeros_like(text)])
        prior = self.prior
        self.prefix, length = prior.prefix, prior.prefix + prior.length - 1
        self.session = engine.begin([0] * len(text), length, seen=prior.seen(length))
        self.begun = self.extend(prior.text(text), 0)[:, -1]  # it predicts the first cell

    def extend(self, x: Tensor, at: int) -> Tensor:
        """As StreamDecoder; a norm more may stand before the head."""
        features: Tensor = self.prior.last(super().extend(x, at))
        return features
