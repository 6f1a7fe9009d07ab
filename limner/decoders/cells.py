"""A decoder whose cells read the words: a transformer takes noise off a codec's latent.

As in DiT (Peebles 2022, arXiv 2212.09748) cells are tokens; the words stand before them, time and
embedding are added to them. Words are read by the transformer that paints, so that each cell learns
which thing of two it shows. It predicts as `UNet` does, or which of its values each number of the
latent has: with a cross-entropy it learns to be sure, and what is expected of them takes off noise
as any prediction of x_0 does ("score interpolation", Dieleman 2022, arXiv 2211.15089, section 3).

Shapes: B pictures, C channels, H and W numbers of a side, S cells, D dimensions of the embedding, T
text tokens (left-padded with id 0), W width.
"""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from limner.decoders.base import DecoderBase, DecoderConfig
from limner.errors import ConfigError
from limner.nn.cells import WordsAndCells
from limner.nn.checks import check_heads, check_least
from limner.nn.scalars import ScalarHead
from limner.nn.transformer import TransformerConfig
from limner.sampling.schedule import time_features
from limner.text.encoders import text_encoder_of


@dataclass(frozen=True)
class CellsConfig(DecoderConfig):
    """Sizes of the transformer; the embedding says `local` numbers of each cell, beside of all.

    It also stands as so many `tokens` behind the words (Ramesh 2022, arXiv 2204.06125, section
    2.1), so that what attends to words finds there what no word says.
    """

    width: int = 256
    layers: int = 6
    heads: int = 4
    hidden: int = 704
    local: int = 16
    tokens: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_least(self, "layers", "heads", "hidden", "local")
        check_least(self, "tokens", least=0)
        check_heads(self.width, self.heads)
        if self.size % self.patch:
            raise ConfigError(f"size is {self.size}; expected a multiple of the patch {self.patch}")


class CellsDecoder(DecoderBase):
    """A transformer over the text and all cells at once; every cell sees every word and cell.

    An embedding of zeros and a text of zeros are none, as in `UNet`.
    """

    config: CellsConfig

    def __init__(self, config: CellsConfig) -> None:
        super().__init__(config)
        side, width, numbers = config.size // config.patch, config.width, config.patch**2
        self.side = side
        self.time = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        if config.embedding:
            self.no_embedding = nn.Parameter(torch.randn(config.embedding))
            self.whole = nn.Linear(config.embedding, width)
            self.local = nn.Linear(config.embedding, side * side * config.local)
            self.from_local = nn.Linear(config.local, width)
            if config.tokens:
                self.tokens = nn.Linear(config.embedding, config.tokens * width)
        if config.text_vocabulary:
            self.no_text = nn.Parameter(torch.randn(width) * 0.02)
            self.text = text_encoder_of(config)
        self.into = nn.Linear((config.channels + config.given) * numbers, width)
        self.cells = WordsAndCells(
            side, TransformerConfig(width, config.layers, config.heads, config.hidden)
        )
        self.out: nn.Linear
        if config.levels:
            self.out = ScalarHead(width, config.channels, config.levels)
        else:
            self.out = nn.Linear(width, config.channels * config.patch**2)
            nn.init.zeros_(self.out.weight)
            nn.init.zeros_(self.out.bias)

    def begin_as(self, prior: Any) -> None:
        """Take words, places and transformer from a GPT over the codes of the same cells.

        Of another decoder of cells all is taken but `tokens` that it has not. Raises ConfigError
        where their sizes differ, or words are read in two ways.
        """
        if isinstance(prior, CellsDecoder):
            self._go_on_from(prior)
            return
        self.cells.begin_as(prior)
        if isinstance(self.out, ScalarHead):
            self.out.begin_as(prior)
        if not self.config.text_vocabulary:
            return
        given, own = prior.text.state_dict(), self.text.state_dict()
        if {name: value.shape for name, value in given.items()} != {
            name: value.shape for name, value in own.items()
        }:
            raise ConfigError(
                "the prior that it is to begin as reads text in another way; give the text_encoder "
                "and the tokenizer of that prior"
            )
        self.text.load_state_dict(given)

    def _go_on_from(self, other: "CellsDecoder") -> None:
        mine = replace(self.config, tokens=other.config.tokens)
        if mine != other.config or other.config.tokens not in (0, self.config.tokens):
            raise ConfigError(
                "the decoder that it is to begin as has other sizes; give the settings of that "
                "decoder, with or without tokens",
                param="unclip_training.begin_as",
            )
        self.load_state_dict(other.state_dict(), strict=False)

    def forward(
        self,
        x: Tensor,
        times: Tensor,
        embedding: Tensor | None = None,
        text: Tensor | None = None,
        given: Tensor | None = None,
    ) -> Tensor:
        """Map x_t (B, C, H, W) and times (B,) to a prediction (B, C, H, W) in fp32.

        `embedding` (B, D) holds unit vectors, `text` (B, T) ids, `given` (B, G, H, W) pixels.
        """
        features = self._features(x, times, embedding, text, given)
        drawn = self.out(features)
        if isinstance(self.out, ScalarHead):
            drawn = self.out.expected(drawn)  # (B, S, C)
        drawn = drawn.mT.unflatten(2, (self.side, self.side))
        return F.pixel_shuffle(drawn, self.config.patch).float()

    def loss(self, start: Tensor, noise: Tensor, times: Tensor, **told: Tensor | None) -> Tensor:
        """Return the error of the prediction, with `levels` in nats a number of the latent."""
        if not isinstance(self.out, ScalarHead):
            return super().loss(start, noise, times, **told)
        features = self._features(self.process.noised(start, noise, times), times, **told)
        return self.out.loss(self.out(features), start.flatten(2).mT)

    def _features(
        self,
        x: Tensor,
        times: Tensor,
        embedding: Tensor | None = None,
        text: Tensor | None = None,
        given: Tensor | None = None,
    ) -> Tensor:
        """Return what the cells (B, S, W) make of what they are told."""
        config, rows = self.config, len(x)
        # 1. Each cell has its numbers, the time, and what the embedding says of all and of it.
        x = x if given is None else torch.cat([x, given], dim=1)
        cells = self.into(F.pixel_unshuffle(x, config.patch).flatten(2).mT)  # (B, S, W)
        cells = cells + self.time(time_features(times, config.width))[:, None]
        if config.embedding:
            told = x.new_zeros(rows, config.embedding) if embedding is None else embedding
            scaled = told * config.embedding**0.5  # so that each number is about 1
            seen = torch.where(told.any(1, keepdim=True), scaled, self.no_embedding)
            local = self.from_local(self.local(seen).unflatten(1, (self.side**2, -1)))
            cells = cells + self.whole(seen)[:, None] + local
        # 2. The words stand before the cells; where there are none, the cells are told so.
        ids = times.new_zeros(rows, 0, dtype=torch.long)
        words = cells[:, :0]
        if config.text_vocabulary:
            ids = times.new_zeros(rows, 1, dtype=torch.long) if text is None else text
            words = self.text(ids)  # (B, T, W)
            cells = cells + (ids == 0).all(1)[:, None, None] * self.no_text
        if config.embedding and config.tokens:
            said = self.tokens(seen).unflatten(1, (config.tokens, -1))
            words = torch.cat([words, said.to(words.dtype)], dim=1)
            ids = F.pad(ids, (0, config.tokens), value=1)  # they are no padding
        features: Tensor = self.cells(words, ids, cells)
        return features
