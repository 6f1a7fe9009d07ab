"""unCLIP's autoregressive prior: an embedding as a row of codes, predicted one after the other.

Ramesh 2022, arXiv 2204.06125, section 2.2: principal components in the order of their variance,
each cut into buckets. A token before them says how near picture and text are, so that drawings can
ask for near ones. Shapes as in `limner.priors.embedding`, and K components, V buckets.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from limner.errors import ConfigError
from limner.nn.checks import check_least
from limner.nn.transformer import KeyValueCache
from limner.priors.base import uniforms
from limner.priors.embedding import EmbeddingPrior, EmbeddingPriorConfig
from limner.sampling.tokens import TokenSampling, choose, guide_halves

_NEARNESSES = 16  # buckets of the dot product of picture and text, equally full


@dataclass(frozen=True)
class EmbeddingAutoregressiveConfig(EmbeddingPriorConfig):
    """Sizes as EmbeddingPriorConfig has them, K `components` and V `buckets` of each."""

    components: int = 64
    buckets: int = 128

    def __post_init__(self) -> None:
        super().__post_init__()
        check_least(self, "components")
        if self.components > self.embedding:
            raise ConfigError(
                f"components is {self.components}; expected at most embedding, {self.embedding}"
            )
        if not 2 <= self.buckets <= 4096:
            raise ConfigError(f"buckets is {self.buckets}; expected 2 to 4096")


class EmbeddingAutoregressive(EmbeddingPrior):
    """Text tokens, text embedding, nearness, then K codes, each from those before it."""

    config: EmbeddingAutoregressiveConfig
    mean: Tensor
    directions: Tensor
    lowest: Tensor
    bucket: Tensor
    edges: Tensor

    def __init__(self, config: EmbeddingAutoregressiveConfig) -> None:
        super().__init__(config)
        self.config = config
        count = config.components
        self.register_buffer("mean", torch.zeros(config.embedding))
        self.register_buffer("directions", torch.eye(count, config.embedding))
        self.register_buffer("lowest", -torch.ones(count))
        self.register_buffer("bucket", torch.full((count,), 2 / config.buckets))
        self.register_buffer("edges", torch.linspace(-1, 1, _NEARNESSES + 1)[1:-1].clone())
        self.nearness = nn.Embedding(_NEARNESSES, config.width)
        self.codes = nn.Embedding(count * config.buckets, config.width)
        self.target = nn.Parameter(torch.randn(count, config.width))
        self.head = nn.Linear(config.width, config.buckets)

    @property
    def steps(self) -> int:
        """One step for each component."""
        return self.config.components

    @torch.no_grad()
    def fit(self, images: Tensor, texts: Tensor) -> None:
        """Find the components of pictures (N, D), the range of each, and how near texts are.

        Raises ConfigError for fewer pictures than components.
        """
        if len(images) < self.config.components:
            raise ConfigError(
                f"there are {len(images)} pictures to find {self.config.components} components "
                "of; give more pictures or fewer components"
            )
        # 1. Principal components, those of the largest variance first.
        values = images.double()
        mean = values.mean(0)
        _, directions = torch.linalg.eigh((values - mean).T @ (values - mean))
        directions = directions.T.flip(0)[: self.config.components]  # the largest variance first
        # 2. Buckets of equal width over the range of each; nearness in buckets of equal number.
        parts = (values - mean) @ directions.T
        lowest, highest = parts.amin(0), parts.amax(0)
        shares = torch.arange(1, _NEARNESSES, dtype=torch.float64) / _NEARNESSES
        near = (values * texts.double()).sum(1)  # cosines (N,)
        found = (
            mean,
            directions,
            lowest,
            ((highest - lowest) / self.config.buckets).clamp_min(1e-9),
        )
        held = (self.mean, self.directions, self.lowest, self.bucket)
        for buffer, value in zip(held, found, strict=True):
            buffer.copy_(value)
        self.edges.copy_(near.quantile(shares.to(near)))

    def encode(self, images: Tensor) -> Tensor:
        """Return the codes (B, K) of unit vectors (B, D)."""
        parts = (images - self.mean) @ self.directions.T  # (B, K)
        codes = ((parts - self.lowest) / self.bucket).floor().long()
        return codes.clamp(0, self.config.buckets - 1)

    def decode(self, codes: Tensor) -> Tensor:
        """Return unit vectors (B, D) of the first components' codes (B, <= K)."""
        count = codes.shape[1]
        parts = (codes + 0.5) * self.bucket[:count] + self.lowest[:count]
        return F.normalize(self.mean + parts @ self.directions[:count], dim=-1)

    def loss(self, ids: Tensor, texts: Tensor, images: Tensor, random: torch.Generator) -> Tensor:
        """Return the mean negative log-likelihood in nats a code; `random` is not needed.

        Where the text is dropped, so is how near it is: the bucket is that of no nearness.
        """
        codes = self.encode(images)
        near = torch.bucketize((images * texts).sum(1), self.edges)
        before, real = self.read(ids, texts)
        x = torch.cat([before, self._inputs(near, codes[:, :-1])], dim=1)
        real = F.pad(real, (0, self.steps), value=True)
        logits = self.head(self.attend(x, real)[:, -self.steps :])
        return F.cross_entropy(logits.flatten(0, 1).float(), codes.flatten())

    def stream(
        self, ids: Tensor, texts: Tensor, seeds: Sequence[int], *, steps: int, guidance: float
    ) -> Iterator[Tensor]:
        """Yield vectors after each code; `steps` changes nothing.

        The nearness is drawn from the upper half (section 2.2).
        """
        numbers = torch.stack([uniforms(seed, self.steps + 1, 1)[:, 0] for seed in seeds])
        numbers = numbers.to(ids.device)  # (B, 1 + K): one for the nearness
        # 1. How near picture and text shall be: any bucket of the upper half.
        half = _NEARNESSES // 2
        near = half + (numbers[:, 0] * half).long()
        if guidance:
            ids, texts = (torch.cat([each, torch.zeros_like(each)]) for each in (ids, texts))
            near = torch.cat([near, torch.bucketize(torch.zeros_like(near), self.edges)])
        # 2. Text, vector and nearness are read once, into the cache.
        before, real = self.read(ids, texts)
        prefix = before.shape[1]
        shape = self.transformer.config
        cache = KeyValueCache(shape, len(ids), prefix + self.steps, before.device)
        x = torch.cat([before, self._inputs(near, near.new_zeros(len(near), 0))], dim=1)
        codes = near.new_zeros(len(seeds), 0)
        # 3. Code by code; what is known so far is a vector already.
        for index in range(self.steps):
            shown = F.pad(real, (0, index + 1), value=True)
            logits = self.head(self.attend(x, shown, cache)[:, -1]).float()
            logits = guide_halves(logits, guidance) if guidance else logits
            chosen = choose(logits, TokenSampling(), numbers[:, index + 1])
            codes = torch.cat([codes, chosen[:, None]], dim=1)
            yield self.decode(codes)
            if index + 1 < self.steps:
                rows = codes.repeat(len(ids) // len(codes), 1)
                x = self._inputs(near, rows)[:, -1:]

    def _inputs(self, near: Tensor, codes: Tensor) -> Tensor:
        """Return nearness and codes (B, < K) as inputs (B, 1 + ., W), each told what comes next."""
        places = torch.arange(codes.shape[1], device=codes.device) * self.config.buckets
        before = torch.cat([self.nearness(near)[:, None], self.codes(codes + places)], dim=1)
        return before + self.target[: before.shape[1]]
