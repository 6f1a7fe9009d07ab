"""The text tower of CLIP and SigLIP: learnt positions and pre-norm blocks, in plain torch.

Shapes: B texts, T token positions (left-padded with id 0), L positions of the tower, D width.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from limner.errors import ConfigError
from limner.nn.checks import check_least
from limner.nn.pre_norm import BlockConfig, PreNormBlock, initialise_blocks


@dataclass(frozen=True)
class LearnedPositionsConfig(BlockConfig):
    """`vocabulary` ids come in, 0 for padding among them; a text has at most `length` positions.

    With `padding` 0 padding is unseen (CLIP); otherwise the positions behind a text hold the id
    `padding`, and there are always `length` of them (SigLIP). In a `causal` tower a token sees
    those before it, otherwise all. `head`, where it is not 0, is the width that a matrix behind the
    last norm maps to.
    """

    vocabulary: int = field(kw_only=True)
    length: int = 77
    padding: int = 0
    causal: bool = True
    head: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_least(self, "length")
        check_least(self, "head", least=0)
        check_least(self, "vocabulary", least=2)
        if not self.causal and not self.padding:
            raise ConfigError(
                "causal is false without padding; expected the id that fills a text up"
            )
        if not 0 <= self.padding < self.vocabulary:
            raise ConfigError(f"padding is {self.padding}; expected an id below {self.vocabulary}")


class LearnedPositions(nn.Module):
    """A transformer with learnt positions, as the text towers of CLIP and SigLIP are."""

    def __init__(self, config: LearnedPositionsConfig) -> None:
        super().__init__()
        self.config = config
        self.width, width = config.head or config.width, config.width
        self.embed = nn.Embedding(config.vocabulary - 1, width)
        self.places = nn.Parameter(torch.randn(config.length, width) * 0.01)
        self.blocks = nn.ModuleList(PreNormBlock(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(width, config.epsilon)
        self.head = nn.Linear(width, config.head) if config.head else None
        nn.init.normal_(self.embed.weight, std=0.02)
        initialise_blocks(self.blocks, width)

    def forward(self, ids: Tensor) -> Tensor:
        """Map ids (B, T) to features (B, T, D); those of a text's end are the last.

        With `padding` the last features are those of the tower's last position, which padding may
        hold. Raises ConfigError for more positions than there are.
        """
        length = ids.shape[1]
        first, count = self._aligned(ids)
        # What is before a token of CLIP is never padding, so no other mask is needed.
        x = self._embedded(first)
        for block in self.blocks:
            x = block(x, causal=self.config.causal)
        x = self.norm(x)
        if self.head is not None:
            x = self.head(x)
        if self.config.padding:
            return x[:, -length:]
        # And back: the last token of every text is the last of its row.
        place = torch.arange(length, device=ids.device)
        back = ((place + count) % length)[..., None]
        features: Tensor = x.gather(1, back.expand_as(x))
        return features

    def states(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Return states (B, L, D) before the last block, and what a text's end became (B, D).

        The first are of all positions, padding included; the second is behind the last norm.
        """
        first, count = self._aligned(ids)
        x = self._embedded(first)
        before = x
        for block in self.blocks:
            before = x
            x = block(x, causal=self.config.causal)
        end = (count - 1).clamp_min(0)[..., None].expand(-1, -1, x.shape[2])
        return before, self.norm(x.gather(1, end)[:, 0])

    def _aligned(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Return ids (B, L) whose texts begin at the left, and how many are real (B, 1)."""
        length, config = ids.shape[1], self.config
        if length > config.length:
            raise ConfigError(
                f"the text has {length} positions; this encoder has {config.length}, so make "
                "text_length smaller"
            )
        # Positions count from a text's first token: padding goes to the right.
        if config.padding:
            ids = nn.functional.pad(ids, (config.length - length, 0))
        count = (ids != 0).sum(1, keepdim=True)
        place = torch.arange(ids.shape[1], device=ids.device)
        first = ids.gather(1, (place - count) % ids.shape[1])
        return (first.masked_fill(first == 0, config.padding) if config.padding else first), count

    def _embedded(self, first: Tensor) -> Tensor:
        x: Tensor = self.embed((first - 1).clamp_min(0)) + self.places[: first.shape[1]]
        return x
