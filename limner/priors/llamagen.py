"""The prior of LlamaGen: T5's features of the text, then image codes, in one causal stream.

Shapes: B pictures, T text positions (left-padded with 0), S cells, V codes, C width of T5, D width.
Sun 2024, arXiv 2406.06525; github.com/FoundationVision/LlamaGen, autoregressive/models: the blocks
of Llama with 2-D rotary positions for cells, and with none for the text, whose queries and keys are
0. It comes from published weights.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from limner.errors import ConfigError, UsageError
from limner.nn.checks import check_least
from limner.nn.engine import DecoderEngine, DecoderShape, Weights
from limner.nn.prepare import prepare
from limner.nn.transformer import neighbours_apart, rotary_angles, rotate
from limner.priors import base, packed, raster
from limner.priors.decoding import CellDecoder
from limner.sampling.tokens import TokenSampling
from limner.text.pretrained import PretrainedConfig, T5Encoder
from limner.types import LogitsProcessor

EPSILON, TURNS = 1e-5, 10_000.0  # of norms; the base of the rotary frequencies


@dataclass(frozen=True)
class LlamaGenConfig:
    """Sizes of the decoder and of its text encoder.

    `text_vocabulary` counts the ids of the tokenizer, 0 for padding among them, `text_length` the
    positions of a text; `encoder` are the sizes of T5, as its config.json has them.
    """

    text_vocabulary: int
    encoder: dict[str, Any]
    vocabulary: int = 16384
    text_length: int = 120
    grid: tuple[int, int] = (16, 16)
    width: int = 1280
    layers: int = 36
    heads: int = 20
    hidden: int = 3584
    groups: ClassVar[int] = 1
    levels: ClassVar[tuple[int, ...]] = ()
    maps: ClassVar[base.Maps] = ()

    def __post_init__(self) -> None:
        check_least(self, "text_vocabulary", "vocabulary", "text_length", "width", "layers")
        check_least(self, "heads", "hidden")
        if min(self.grid) < 1:
            raise ConfigError(f"grid is {list(self.grid)}; expected at least 1 row and column")
        if self.width % (4 * self.heads):
            raise ConfigError(
                f"width is {self.width} for {self.heads} heads; expected a multiple of 4 x heads"
            )


class T5States(T5Encoder):
    """T5's last hidden states as they are, (B, T, C)."""

    project: Any

    def __init__(self, config: PretrainedConfig) -> None:
        super().__init__(config)
        self.project = nn.Identity()

    def forward(self, ids: Tensor) -> Tensor:
        """Return the states of ids (B, T)."""
        return self.features(ids)


class Layer(nn.Module):
    """A block of Llama: attention, then a gated feed-forward, each normalised before."""

    def __init__(self, config: LlamaGenConfig) -> None:
        super().__init__()
        width, hidden = config.width, config.hidden
        self.heads = config.heads
        self.attention_norm = nn.RMSNorm(width, EPSILON)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.feed_forward_norm = nn.RMSNorm(width, EPSILON)
        self.gate = nn.Linear(width, hidden, bias=False)
        self.up = nn.Linear(width, hidden, bias=False)
        self.down = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor, rotary: tuple[Tensor, Tensor], mask: Tensor) -> Tensor:
        """Map x (B, L, D) to the same shape; `mask` (B, 1, L, L) is true where one sees another."""
        parts = self.qkv(self.attention_norm(x)).unflatten(2, (3, self.heads, -1))
        q, k, v = parts.permute(2, 0, 3, 1, 4)
        q, k = (rotate(neighbours_apart(each), *rotary) for each in (q, k))
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        x = x + self.out(mixed.transpose(1, 2).flatten(2))
        normed = self.feed_forward_norm(x)
        out: Tensor = x + self.down(F.silu(self.gate(normed)) * self.up(normed))
        return out


def layers_of(layers: Iterable[Any], heads: int) -> Iterator[Weights]:
    """Yield the weights of layers by the names of `limner.nn.engine`."""
    for each in layers:
        # Pairs that turn together are neighbours in theirs, and lie half a head apart in ours.
        queries, keys, values = each.qkv.weight.chunk(3)
        turned = [
            neighbours_apart(rows.unflatten(0, (heads, -1)).transpose(1, 2))
            .transpose(1, 2)
            .flatten(0, 1)
            for rows in (queries, keys)
        ]
        yield {
            "attention_norm": each.attention_norm.weight,
            "qkv": torch.cat([*turned, values]),
            "out": each.out.weight,
            "feed_forward_norm": each.feed_forward_norm.weight,
            "into": torch.cat([each.gate.weight, each.up.weight]),
            "down": each.down.weight,
        }


class LlamaGen(packed.PackedPrior, raster.RasterPrior):
    """Llama over T5's features and image codes, as LlamaGen's text-to-image models are."""

    def __init__(self, config: LlamaGenConfig) -> None:
        super().__init__()
        self.config = config
        sizes = PretrainedConfig(config.text_vocabulary, config.encoder)
        self.encoder = T5States(sizes)
        states = int(self.encoder.body.config.hidden_size)  # C
        self.into = nn.Linear(states, config.width, bias=False)
        self.onto = nn.Linear(config.width, config.width, bias=False)
        self.untold = nn.Parameter(torch.zeros(config.text_length, states))
        self.embed = nn.Embedding(config.vocabulary, config.width)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))
        self.norm = nn.RMSNorm(config.width, EPSILON)
        self.head = nn.Linear(config.width, config.vocabulary, bias=False)
        self.packed = packed.PackedDecoder()

    def engine(self) -> DecoderEngine:
        """Return the decoder as drawing wants it, made again when weights have changed."""

        def make() -> DecoderEngine:
            config = self.config
            shape = DecoderShape(
                config.width, config.layers, config.heads, config.hidden, epsilon=EPSILON
            )
            head = {"head": self.head.weight, "attention_norm": self.norm.weight}
            layers = layers_of(self.layers, config.heads)
            return prepare(shape, layers, [head], self.precision, self.embed.weight.device)

        return self.packed.hold(self, make)

    def text(self, ids: Tensor) -> Tensor:
        """Return the vectors (B, T, D) of ids (B, T); a row of padding alone is no text."""
        length, blank = ids.shape[1], (ids == 0).all(1)
        if length > self.config.text_length:
            raise UsageError(
                f"the text has {length} positions; this model reads {self.config.text_length}, so "
                "give it shorter"
            )
        states = self.encoder(ids).float()
        states = torch.where(blank[:, None, None], self.untold[-length:].float(), states)
        return self.shown(states)

    def shown(self, states: Tensor) -> Tensor:
        """Map states (..., C) of the text to what the decoder reads (..., D)."""
        out: Tensor = self.onto(F.gelu(self.into(states), approximate="tanh"))
        return out

    def cells(self, codes: Tensor, first: int = 0) -> Tensor:
        """Return the vectors (B, L, D) of codes (B, L); where they stand is no part of them."""
        out: Tensor = self.embed(codes)
        return out

    def rotary(self, text: int) -> tuple[Tensor, Tensor]:
        """Return cosine and sine (T + S, K / 2) of every place; those of the text are 0."""
        config, device = self.config, self.embed.weight.device
        where = base.cell_coordinates(self.maps).to(device)
        angles = rotary_angles(where, config.width // config.heads, TURNS)
        return F.pad(angles.cos(), (0, 0, text, 0)), F.pad(angles.sin(), (0, 0, text, 0))

    def forward(self, text: Tensor, codes: Tensor, sampled: None = None) -> Tensor:
        """Return logits (B, S, 1, V) of codes (B, S) in raster order, teacher-forced."""
        cells, length = codes.flatten(1), text.shape[1]
        x = torch.cat([self.text(text), self.embed(cells[:, :-1])], dim=1)  # (B, L, D)
        places = torch.arange(x.shape[1], device=x.device)
        first = _first(text).to(x.device)[:, None, None]
        seen = (places[:, None] >= places) & (places >= first) | (places[:, None] == places)
        rotary = (each[: x.shape[1]] for each in self.rotary(length))
        cosine, sine = (each[None, None] for each in rotary)
        for layer in self.layers:
            x = layer(x, (cosine, sine), seen[:, None])
        logits: Tensor = self.head(self.norm(x[:, length - 1 :]))
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
        return LlamaGenDecoder(self, text, sampling, count, processors, guidance)


def _first(text: Tensor) -> Tensor:
    """Return the first position (B,) of each text; of no text all are seen."""
    padding = (text == 0).sum(1)
    return torch.where(padding == text.shape[1], 0, padding)


class LlamaGenDecoder(raster.StreamDecoder):
    """One drawing in progress; rows that guidance compares with read as much of no text."""

    def _read(self, engine: DecoderEngine, text: Tensor) -> None:
        """As EngineDecoder."""
        prior, self.prefix = self.prior, text.shape[1]
        features, first = prior.text(text), _first(text).tolist()
        if self.guidance[0]:
            untold = prior.shown(prior.untold[-self.prefix :].float())
            features = torch.cat([features, untold.expand_as(features)])
            first = first + first
        rotary = prior.rotary(self.prefix)
        self.session = engine.begin(first, self.prefix + prior.length, rotary)
        self.begun = self.session.extend(features, 0)[:, -1]  # it predicts the first cell
