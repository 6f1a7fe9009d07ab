"""The GPT prior: one stream of text tokens and image tokens (DALL-E, arXiv 2102.12092).

Shapes: B pictures, T text positions (left-padded with 0), S = h * w image positions, D width,
V image vocabulary. The text is a prefix whose positions see each other; image positions see the
text and the image positions drawn before them. The input that predicts an image position holds the
code drawn before it, where that one lies, and which position comes next; so any order can be learnt
(RAR, Yu 2024, arXiv 2411.00776) and a raster order is the plain case.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from limner.nn.transformer import KeyValueCache, Transformer, TransformerConfig
from limner.sampling.tokens import TokenSampling, choose, guidance_at, guide

ROWS_AT_ONCE = 4  # pictures drawn together: fixed, so that a picture never depends on its company


@dataclass(frozen=True)
class GPTConfig:
    """Sizes of the prior. `levels` are the codec's levels of finite scalar quantisation, if it has
    such: codes that share a digit then share part of their embedding."""

    text_vocabulary: int
    vocabulary: int
    grid: tuple[int, int] = (8, 8)
    levels: tuple[int, ...] = ()
    width: int = 256
    layers: int = 6
    heads: int = 4
    hidden: int = 704
    dropout: float = 0.0


class CodeTable(nn.Module):
    """One vector (D) for each image code: a free one plus one for each of its digits."""

    digits: Tensor

    def __init__(self, vocabulary: int, levels: Sequence[int], width: int, scale: float) -> None:
        super().__init__()
        shared = bool(levels) and prod(levels) == vocabulary
        self.free = nn.Parameter(torch.randn(vocabulary, width) * (0.1 if shared else 1.0) * scale)
        offsets = [sum(levels[:index]) for index in range(len(levels))]
        codes = torch.arange(vocabulary)
        columns = []
        for index, level in enumerate(levels if shared else ()):
            columns.append(codes // prod(levels[:index]) % level + offsets[index])
        table = torch.stack(columns, dim=1) if columns else torch.zeros(vocabulary, 0).long()
        self.register_buffer("digits", table, persistent=False)
        rows = sum(levels) if shared else 0
        self.by_digit = nn.Parameter(torch.randn(rows, width) * scale * max(1, len(levels)) ** -0.5)

    def forward(self) -> Tensor:
        """Return the whole table (V, D)."""
        if not self.digits.shape[1]:
            return self.free
        return self.free + F.embedding_bag(self.digits, self.by_digit, mode="sum")


class GPT(nn.Module):
    """Decoder-only transformer over text and image codes with an image-only head."""

    image_coordinates: Tensor

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.config = config
        self.length = config.grid[0] * config.grid[1]
        width = config.width
        self.text = nn.Embedding(config.text_vocabulary, width)
        self.codes = CodeTable(config.vocabulary, config.levels, width, 1.0)
        self.begin = nn.Parameter(torch.zeros(width))
        self.placed = nn.Parameter(torch.randn(self.length, width) * 0.02)
        self.target = nn.Parameter(torch.randn(self.length, width) * 0.02)
        self.transformer = Transformer(
            TransformerConfig(width, config.layers, config.heads, config.hidden)
        )
        self.head = CodeTable(config.vocabulary, config.levels, width, width**-0.5)
        self.head_bias = nn.Parameter(torch.zeros(config.vocabulary))
        rows, columns = torch.meshgrid(
            torch.arange(config.grid[0]), torch.arange(config.grid[1]), indexing="ij"
        )
        coordinates = torch.stack([rows, columns], dim=-1).view(-1, 2)
        self.register_buffer("image_coordinates", coordinates, persistent=False)

    def forward(self, text: Tensor, codes: Tensor, order: Tensor | None = None) -> Tensor:
        """Return logits (B, S, V) of the codes (B, S) in `order`, teacher-forced.

        `order` (B, S) lists positions in the order they are drawn; None is raster. Logits come in
        that order.
        """
        if order is None:
            order = torch.arange(self.length).expand(len(codes), -1)
        drawn = codes.gather(1, order)[:, :-1]
        table = self.codes()
        image = F.embedding(drawn, table) + self.placed[order[:, :-1]]
        image = torch.cat([self.begin.expand(len(codes), 1, -1), image], dim=1)
        image = image + self.target[order]
        x = torch.cat([self.text(text), image], dim=1)
        coordinates = torch.cat(
            [self._text_coordinates(text), self.image_coordinates[order]], dim=1
        )
        features = self.transformer(x, coordinates, self._mask(text))[:, text.shape[1] :]
        return F.linear(features, self.head(), self.head_bias)

    def loss(self, text: Tensor, codes: Tensor, order: Tensor | None = None) -> Tensor:
        """Return the mean negative log-likelihood in nats a code."""
        codes = codes.flatten(1)
        logits = self(text, codes, order)
        wanted = codes if order is None else codes.gather(1, order)
        return F.cross_entropy(logits.flatten(0, 1).float(), wanted.flatten())

    def stream(
        self,
        text: Tensor,
        sampling: TokenSampling,
        seeds: Sequence[int],
        given: Tensor | None = None,
        keep: Tensor | None = None,
    ) -> Iterator[Tensor]:
        """Draw codes in raster order for text (B, T), yielding (B, <= S) after every code.

        Picture i uses `seeds[i]` alone. Where `keep` (B, S) is true the code of `given` (B, S) is
        taken. At most ROWS_AT_ONCE pictures; fewer are padded to that many, so that the arithmetic
        of a picture is the same alone and in company.
        """
        count = len(text)
        uniforms = _fill(torch.stack([_uniforms(seed, self.length) for seed in seeds]))
        text = _fill(text)
        guided = sampling.guidance != 0
        decoder = _Decoder(self, torch.cat([text, torch.zeros_like(text)]) if guided else text)
        codes = torch.zeros(len(text), 0, dtype=torch.int64)
        for position in range(self.length):
            logits = decoder.step(codes)
            if guided:
                scale = guidance_at(
                    sampling.guidance_schedule, sampling.guidance, position, self.length
                )
                with_text, without_text = logits.chunk(2)
                logits = guide(with_text, without_text, scale)
            chosen = choose(logits, sampling, uniforms[:, position])
            if given is not None and keep is not None:
                held = _fill(keep)[:, position]
                chosen = torch.where(held, _fill(given)[:, position], chosen)
            codes = torch.cat([codes, chosen[:, None]], dim=1)
            yield codes[:count]

    @staticmethod
    def _text_coordinates(text: Tensor) -> Tensor:
        before = torch.arange(text.shape[1]) - text.shape[1]
        return before[None, :, None].expand(len(text), -1, 2)

    def _mask(self, text: Tensor) -> Tensor:
        """Return who may see whom (B, 1, T + S, T + S)."""
        batch, prefix = text.shape
        total = prefix + self.length
        causal = torch.ones(total, total, dtype=torch.bool).tril()
        causal[:prefix, :prefix] = True
        real = torch.cat([text != 0, torch.ones(batch, self.length, dtype=torch.bool)], dim=1)
        allowed = causal[None] & real[:, None, :]
        return (allowed | torch.eye(total, dtype=torch.bool))[:, None]


class _Decoder:
    """One drawing in progress: the cache, and what every step needs again."""

    def __init__(self, prior: GPT, text: Tensor) -> None:
        self.prior = prior
        self.rows, self.prefix = text.shape
        self.cache = KeyValueCache(prior.transformer.config, self.rows, self.prefix + prior.length)
        self.table, self.head = prior.codes(), prior.head()
        mask = prior._mask(text)
        self.visible = mask[:, :, -1:]
        x = prior.text(text)
        start = mask[:, :, : self.prefix, : self.prefix]
        prior.transformer(x, prior._text_coordinates(text), start, self.cache)

    def step(self, codes: Tensor) -> Tensor:
        """Return logits (rows, V) of the position after `codes` (B, <= S)."""
        prior, position = self.prior, codes.shape[1]
        if position:
            last = F.embedding(codes[:, -1], self.table) + prior.placed[position - 1]
            last = last.repeat(self.rows // len(codes), 1)
        else:
            last = prior.begin.expand(self.rows, -1)
        x = (last + prior.target[position])[:, None]
        seen = self.visible[..., : self.prefix + position + 1]
        where = prior.image_coordinates[position].view(1, 1, 2)
        features = prior.transformer(x, where, seen, self.cache)
        return F.linear(features[:, 0], self.head, prior.head_bias)


def _uniforms(seed: int, count: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, generator=generator, dtype=torch.float64)


def _fill(rows: Tensor) -> Tensor:
    missing = ROWS_AT_ONCE - len(rows)
    return torch.cat([rows, rows[-1:].expand(missing, *rows.shape[1:])]) if missing else rows
