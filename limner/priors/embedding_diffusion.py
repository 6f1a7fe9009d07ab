"""unCLIP's diffusion prior: a causal transformer that says which embedding a noised one was.

Ramesh 2022, arXiv 2204.06125, section 2.2. Shapes as in `limner.priors.embedding`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from limner.priors.embedding import EmbeddingPrior, EmbeddingPriorConfig
from limner.sampling.diffusion import dpm_solver, unit_noise
from limner.sampling.schedule import Process, time_features
from limner.sampling.tokens import guide_halves


@dataclass(frozen=True)
class EmbeddingDiffusionConfig(EmbeddingPriorConfig):
    """Sizes as EmbeddingPriorConfig has them, and how noise grows in `times` steps."""

    schedule: str = "cosine"
    times: int = 1000

    def __post_init__(self) -> None:
        super().__post_init__()
        Process(self.schedule, "start", self.times)


class EmbeddingDiffusion(EmbeddingPrior):
    """Text tokens, text embedding, time, noised embedding, and a query: its output is x_0."""

    config: EmbeddingDiffusionConfig

    def __init__(self, config: EmbeddingDiffusionConfig) -> None:
        super().__init__(config)
        self.config = config
        self.process = Process(config.schedule, "start", config.times)
        self.time = nn.Sequential(
            nn.Linear(config.width, config.width), nn.SiLU(), nn.Linear(config.width, config.width)
        )
        self.noised = nn.Linear(config.embedding, config.width)
        self.query = nn.Parameter(torch.randn(config.width))
        self.out = nn.Linear(config.width, config.embedding)

    def forward(self, ids: Tensor, texts: Tensor, x: Tensor, times: Tensor) -> Tensor:
        """Map noised vectors (B, D), of root mean square 1, at times (B,) to clean ones (B, D)."""
        before, real = self.read(ids, texts)
        time = self.time(time_features(times, self.config.width))
        query = self.query.expand(len(ids), -1)
        behind = torch.stack([time, self.noised(x), query.to(time)], dim=1)  # (B, 3, W)
        features = self.attend(torch.cat([before, behind], dim=1), F.pad(real, (0, 3), value=True))
        return self.out(features[:, -1]).float()

    def loss(self, ids: Tensor, texts: Tensor, images: Tensor, random: torch.Generator) -> Tensor:
        """Return the mean squared error of x_0 at random times (section 2.2, equation 2)."""
        start = images * self.config.embedding**0.5  # so that each number is about 1, as noise is
        noise = torch.randn(start.shape, generator=random).to(start)
        times = torch.randint(self.process.times, (len(start),), generator=random).to(ids.device)
        x = self.process.noised(start, noise, times)
        return F.mse_loss(self(ids, texts, x, times), start)

    def stream(
        self, ids: Tensor, texts: Tensor, seeds: Sequence[int], *, steps: int, guidance: float
    ) -> Iterator[Tensor]:
        """Yield what is expected after each of `steps`; UsageError unless they are in [1, T]."""
        levels = self.process.levels(steps)
        if guidance:
            ids, texts = (torch.cat([each, torch.zeros_like(each)]) for each in (ids, texts))

        def denoise(x: Tensor, time: int) -> Tensor:
            times = torch.full((len(ids),), time, device=x.device)
            if not guidance:
                return self(ids, texts, x, times)
            return guide_halves(self(ids, texts, x.repeat(2, 1), times), guidance)

        fresh = unit_noise(seeds, (self.config.embedding,), texts.device)
        for moment in dpm_solver(denoise, next(fresh), levels, fresh):
            yield F.normalize(moment.start, dim=-1)
