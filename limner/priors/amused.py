"""The prior of aMUSEd: all codes at once from a masked grid, in a few passes that keep the surest.

Shapes: B pictures, T text positions (left-padded with 0), L places of the text tower, S cells, V
codes, h and w the grid. Patil 2024, arXiv 2401.01808; MaskGIT (Chang 2022, arXiv 2202.04200) from a
text. CLIP's tower reads it. It comes from published weights.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from limner.errors import ConfigError
from limner.nn.checks import check_least
from limner.nn.uvit import UViT, UViTSizes
from limner.priors import base
from limner.sampling.tokens import TokenSampling, choose, guidance_at, guide_halves
from limner.text.learned_positions import LearnedPositions, LearnedPositionsConfig

AESTHETIC = 6.0  # the score that its pipeline asks for
NUMBERS = 5  # width, height, crop from above and from the left, and that score


@dataclass(frozen=True)
class AmusedConfig:
    """Sizes of the network and of CLIP's text tower, and how a picture is drawn.

    `text_vocabulary` counts the ids of the tokenizer, 0 for padding among them; `text_encoder` are
    the settings of the tower, whose padding is seen; `empty` are the ids of the empty text. `rows`
    are the ids that the network reads, the last of them the mask's. A picture takes `passes`, and
    `noise` is how far chance decides, at first, which cells are sure.
    """

    text_vocabulary: int
    text_encoder: dict[str, Any]
    text_width: int
    pooled: int
    empty: tuple[int, ...]
    vocabulary: int = 8192
    rows: int = 8256
    grid: tuple[int, int] = (16, 16)
    size: int = 256
    width: int = 1024
    heads: int = 16
    layers: int = 22
    hidden: int = 2816
    channels: int = 768
    side_heads: int = 12
    sides: int = 3
    embedded: int = 768
    micro: int = 256
    halves: bool = False
    passes: int = 12
    noise: float = 2.0
    groups: ClassVar[int] = 1
    levels: ClassVar[tuple[int, ...]] = ()
    maps: ClassVar[base.Maps] = ()

    def __post_init__(self) -> None:
        check_least(self, "text_vocabulary", "vocabulary", "text_width", "pooled", "size")
        check_least(self, "width", "heads", "layers", "hidden", "channels", "side_heads", "sides")
        check_least(self, "embedded", "micro", "passes")
        check_least(self, "noise", least=0)
        if min(self.grid) < 1 or (self.halves and any(each % 2 for each in self.grid)):
            raise ConfigError(f"grid is {list(self.grid)}; expected rows and columns to halve")
        if self.width % self.heads or self.channels % self.side_heads:
            raise ConfigError(
                f"width is {self.width} for {self.heads} heads and channels is {self.channels} for "
                f"{self.side_heads}; expected a multiple of the heads"
            )
        if self.rows <= self.vocabulary:
            raise ConfigError(
                f"rows is {self.rows} for {self.vocabulary} codes; expected more, for the mask"
            )
        if not all(0 < each < self.text_vocabulary for each in self.empty):
            raise ConfigError(f"empty is {list(self.empty)}; expected ids of the tokenizer")

    @property
    def tower(self) -> LearnedPositionsConfig:
        """The settings of the text tower."""
        known: dict[str, Any] = {"vocabulary": self.text_vocabulary, "width": self.text_width}
        held = {key: value for key, value in self.text_encoder.items() if key != "name"}
        try:
            return LearnedPositionsConfig(**held, **known)
        except TypeError as error:
            raise ConfigError(f"text_encoder has settings that no tower has: {error}") from error

    @property
    def network(self) -> UViTSizes:
        """The sizes of the network."""
        return UViTSizes(
            self.width, self.heads, self.layers, self.hidden, self.channels, self.side_heads,
            self.sides, self.embedded, self.rows, self.vocabulary, self.text_width, self.pooled,
            self.micro, NUMBERS, self.halves,
        )  # fmt: skip


class Amused(base.PriorBase):
    """Masked codes that a transformer uncovers in a few passes, as aMUSEd draws."""

    nll_kind: ClassVar[str] = "each code without any other"
    empty: Tensor

    def __init__(self, config: AmusedConfig) -> None:
        super().__init__()
        self.config = config
        self.tower = LearnedPositions(config.tower)
        self.pooled = nn.Linear(config.text_width, config.pooled, bias=False)
        self.network = UViT(config.network)
        self.register_buffer("empty", torch.tensor(config.empty), persistent=False)

    @property
    def mask(self) -> int:
        """The id of a cell that is not known."""
        return self.config.rows - 1

    @property
    def steps(self) -> int:
        """How often `stream` yields: once a pass."""
        return self.config.passes

    def text(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the network sees of ids (B, T): positions and a condition.

        A row of padding alone is the empty text.
        """
        ids = nn.functional.pad(ids, (max(0, len(self.empty) - ids.shape[1]), 0))
        blank = (ids == 0).all(1)
        if bool(blank.any()):
            ids = ids.clone()
            ids[blank, -len(self.empty) :] = self.empty
        states, last = self.tower.states(ids)  # (B, L, E), (B, E)
        side = float(self.config.size)
        numbers = ids.new_tensor([side, side, 0, 0, AESTHETIC], dtype=torch.float32)
        return self.network.read(states, self.pooled(last), numbers.expand(len(ids), -1))

    def forward(self, text: Tensor, codes: Tensor, sampled: None = None) -> Tensor:
        """Return logits (B, S, 1, V) of every cell where none is known."""
        hidden = torch.full((len(codes), *self.config.grid), self.mask, device=codes.device)
        logits: Tensor = self.network(hidden, *self.text(text))
        return logits.flatten(1, 2)[:, :, None]

    def stream(
        self,
        text: Tensor,
        sampling: TokenSampling,
        seeds: Sequence[int],
        known: base.Known | None = None,
    ) -> Iterator[Tensor]:
        """Draw all codes, and again those that are least sure; as PriorBase, each time all cells.

        Cells that are not known for sure yet hold what the pass would draw.
        """
        count, text, steps = len(text), self.fill(text), self.config.passes
        noise = self.noise(seeds, 2 * steps * self.length, 1, text.device)
        choices, chances = noise.view(len(text), 2, steps, self.length).unbind(1)
        codes = torch.full((len(text), self.length), self.mask, device=text.device)
        if (held := self.known_rows(known)) is not None:
            codes = torch.where(held[1][..., 0], held[0][..., 0], codes)
        guided = sampling.guidance != 0
        seen = self.text(torch.cat([text, torch.zeros_like(text)]) if guided else text)
        hidden = (codes == self.mask).sum(1, keepdim=True)  # (B, 1), at first
        for step in range(steps):
            # 1. Logits of every cell, pushed from those of the empty text.
            both = codes.view(-1, *self.config.grid).repeat(2 if guided else 1, 1, 1)
            logits = self.network(both, *seen).flatten(1, 2)  # (B or 2B, S, V)
            if guided:
                scale = guidance_at(sampling.guidance_schedule, sampling.guidance, step, steps)
                logits = guide_halves(logits, scale)
            # 2. A code for each that is not known.
            flat = logits.flatten(0, 1)
            chosen = choose(flat, sampling, choices[:, step].flatten()).view_as(codes)
            unknown = codes == self.mask
            drawn = torch.where(unknown, chosen, codes)
            yield self.unpad(drawn[..., None], count)
            # 3. The least sure are hidden again.
            if step + 1 < steps:
                sure = logits.softmax(-1).gather(-1, drawn[..., None])[..., 0]
                sure = torch.where(unknown, sure, torch.finfo(sure.dtype).max)
                warmth = self.config.noise * (1 - step / (steps - 1))
                again = hide(sure, chances[:, step], warmth, self._left(hidden, unknown, step))
                codes = torch.where(again, self.mask, drawn)

    def _left(self, hidden: Tensor, unknown: Tensor, step: int) -> Tensor:
        """Return how many cells (B, 1) stay hidden after a pass: fewer each time, at least one."""
        # In single precision, as it was published: half of 64 cells are 31 or 32 by its last bit.
        share = torch.cos(torch.tensor(step + 1) / self.config.passes * math.pi / 2)
        wanted = (hidden * share.to(hidden.device)).floor().long()
        return torch.minimum(unknown.sum(1, keepdim=True) - 1, wanted).clamp_min(1)


def hide(sure: Tensor, uniforms: Tensor, warmth: float, count: Tensor) -> Tensor:
    """Return which cells (B, S) to hide: the `count` (B, 1) least likely, with noise of Gumbel.

    `sure` (B, S) are the probabilities of the codes drawn, `uniforms` (B, S) are in [0, 1).
    """
    gumbel = -torch.log((-torch.log(uniforms.clamp_min(1e-20))).clamp_min(1e-20))
    confidence = torch.log(sure.clamp_min(1e-20)) + warmth * gumbel.to(sure.dtype)
    least = confidence.sort(dim=-1).values.gather(1, count)
    return confidence < least
