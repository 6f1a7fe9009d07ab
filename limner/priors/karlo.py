"""The prior of Karlo's unCLIP: a causal transformer that says which embedding a noised one was.

Lee 2022, github.com/kakaobrain/karlo; Ramesh 2022, arXiv 2204.06125, 2.2. CLIP's tower reads
the text for it. It comes from published weights. Shapes: B pictures, T text positions (left-padded
with id 0), D dimensions of CLIP's space, L positions, W width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from limner.nn.checks import check_least
from limner.nn.pre_norm import BlockConfig, PreNormBlock
from limner.priors.embedding import EmbeddingPriorBase
from limner.sampling.diffusion import ddpm, unit_noise
from limner.sampling.schedule import Process, time_features
from limner.sampling.tokens import guide_halves

_OTHERS = 4  # positions behind the text: its vector, the time, the noised vector, the question


@dataclass(frozen=True)
class KarloPriorConfig(BlockConfig):
    """Sizes of the transformer; `length` text positions, and what noise is taken off, in `times`.

    Normalised embeddings are clipped to `limit`.
    """

    text_vocabulary: int = 49409
    embedding: int = 768
    length: int = 77
    times: int = 1000
    limit: float = 5.0
    width: int = 2048
    layers: int = 20
    heads: int = 32
    hidden: int = 8192

    def __post_init__(self) -> None:
        super().__post_init__()
        check_least(self, "text_vocabulary", "embedding", "length")
        check_least(self, "limit", least=0)
        Process("cosine", "start", self.times)


class KarloPrior(EmbeddingPriorBase):
    """Text states, text vector, time, noised vector, and a question: its output is x_0."""

    def __init__(self, config: KarloPriorConfig) -> None:
        super().__init__()
        self.config = config
        width, size = config.width, config.embedding
        self.process = Process("cosine", "start", config.times, "ends")
        self.time = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        self.noised = nn.Linear(size, width)
        self.text_vector = nn.Linear(size, width)
        self.text_states = nn.Linear(size, width)
        self.query = nn.Parameter(torch.randn(width) * 0.01)
        self.places = nn.Parameter(torch.randn(config.length + _OTHERS, width) * 0.01)
        self.blocks = nn.ModuleList(PreNormBlock(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, size)
        self.mean = nn.Parameter(torch.zeros(size))
        self.std = nn.Parameter(torch.ones(size))
        self._reader: tuple[Any, ...] = ()  # a tuple: it is no part of this one

    def read_by(self, clip: Any) -> None:
        """Take the CLIP that reads the text."""
        self._reader = (clip,)

    def forward(self, told: Any, x: Tensor, times: Tensor) -> Tensor:
        """Map noised normalised vectors (B, D) at times (B,) to clean ones; `told` are CLIP's."""
        states, real, vectors = told
        length = states.shape[1]
        # 1. Text, then the four others; places of a text count from its first token.
        places = (real.cumsum(1) - 1).clamp_min(0)  # (B, T)
        words = self.text_states(states) + self.places[places]
        time = self.time(time_features(times, self.config.width).roll(self.config.width // 2, 1))
        others = [self.text_vector(vectors), time, self.noised(x), self.query.expand_as(time)]
        behind = torch.stack(others, dim=1) + self.places[-_OTHERS:]
        h = torch.cat([words, behind], dim=1)  # (B, L, W)
        # 2. Each position sees those before it that mean something, and itself.
        keys = F.pad(real, (0, _OTHERS), value=True)[:, None]  # (B, 1, L)
        all_of = torch.ones(length + _OTHERS, length + _OTHERS, dtype=torch.bool, device=x.device)
        mask = (all_of.tril() & keys) | all_of.tril().triu()
        for block in self.blocks:
            h = block(h, mask=mask[:, None])
        return self.out(self.norm(h[:, -1])).float()

    def stream(
        self, ids: Tensor, texts: Tensor, seeds: Sequence[int], *, steps: int, guidance: float
    ) -> Iterator[Tensor]:
        """Yield the vectors (B, D) that are expected after each of `steps`; as EmbeddingPrior.

        They have the lengths of CLIP's. `texts` are what CLIP says of `ids`, which it is asked for.
        """
        (clip,) = self._reader
        told = clip.read(torch.cat([ids, torch.zeros_like(ids)]) if guidance else ids)
        limit = self.config.limit

        def denoise(x: Tensor, time: int) -> Tensor:
            times = torch.full((len(told.vectors),), time, device=x.device)
            if not guidance:
                return self(told, x, times).clamp(-limit, limit)
            output = guide_halves(self(told, x.repeat(2, 1), times), guidance)
            return output.clamp(-limit, limit)

        fresh = unit_noise(seeds, (self.config.embedding,), texts.device)
        for moment in ddpm(denoise, next(fresh), self.process.levels(steps), fresh):
            yield moment.start * self.std + self.mean
