"""What unCLIP's priors share: text and its embedding in, the embedding of a picture out.

Ramesh 2022, arXiv 2204.06125, section 2.2. Shapes: B pictures, T text tokens (left-padded with id
0), D dimensions of the shared space, L positions, W width.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from limner.errors import ConfigError
from limner.nn.checks import check_heads, check_least
from limner.nn.transformer import KeyValueCache, Transformer, TransformerConfig
from limner.text.encoders import check_text_encoder, text_encoder_of


@dataclass(frozen=True)
class EmbeddingPriorConfig:
    """Sizes of the transformer, and of what it reads and gives: `embedding` is D.

    `text_encoder` holds the `name` and settings of one of TEXT_ENCODERS; {} is our own.
    """

    text_vocabulary: int
    embedding: int
    width: int = 128
    layers: int = 4
    heads: int = 4
    hidden: int = 352
    text_encoder: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_least(self, "text_vocabulary", "embedding", "width", "layers", "heads", "hidden")
        check_heads(self.width, self.heads)
        check_text_encoder(self)


class EmbeddingPriorBase(nn.Module):
    """Text ids (B, T) and vectors of texts (B, D) to vectors of pictures (B, D).

    A text without an id and a vector of zeros are no text: what training drops, and what guidance
    pushes away from. A prior is this and one file.
    """

    config: Any

    @property
    def steps(self) -> int | None:
        """How often `stream` yields; None where that is for the caller to say."""
        return None

    def read_by(self, clip: Any) -> None:
        """Be told the model's CLIP, which reads the text for a prior without a text encoder."""

    def fit(self, images: Tensor, texts: Tensor) -> None:
        """Learn what is counted and not trained from unit vectors (N, D) of pairs; mostly none."""

    def loss(self, ids: Tensor, texts: Tensor, images: Tensor, random: torch.Generator) -> Tensor:
        """Return the loss of pairs: ids (B, T), unit vectors of texts and of pictures (B, D)."""
        raise NotImplementedError

    def stream(
        self, ids: Tensor, texts: Tensor, seeds: Sequence[int], *, steps: int, guidance: float
    ) -> Iterator[Tensor]:
        """Yield vectors (B, D), the last of them the result; row i uses `seeds[i]` alone."""
        raise NotImplementedError


class EmbeddingPrior(EmbeddingPriorBase):
    """A prior of unit vectors with a text encoder and a transformer of its own."""

    config: EmbeddingPriorConfig

    def __init__(self, config: EmbeddingPriorConfig) -> None:
        super().__init__()
        self.text = text_encoder_of(config)
        self.text_embedding = nn.Linear(config.embedding, config.width)
        self.transformer = Transformer(
            TransformerConfig(config.width, config.layers, config.heads, config.hidden)
        )

    def read(self, ids: Tensor, texts: Tensor) -> tuple[Tensor, Tensor]:
        """Return what stands first, tokens and the vector (B, T + 1, W), and what of it is real."""
        vector = self.text_embedding(texts * self.config.embedding**0.5)
        real = F.pad(ids != 0, (0, 1), value=True)
        return torch.cat([self.text(ids), vector[:, None]], dim=1), real

    def attend(self, x: Tensor, real: Tensor, cache: KeyValueCache | None = None) -> Tensor:
        """Map (B, L, W) to features, causally; `real` (B, S) says which keys mean something.

        With a cache, x stands behind what the cache holds.
        """
        length, total = x.shape[1], real.shape[1]  # L new positions of S
        places = torch.arange(total, device=x.device)
        new = places[total - length :]
        alone = new[:, None] == places
        mask = ((new[:, None] >= places) & real[:, None]) | alone
        coordinates = new[None, :, None].expand(1, -1, 2)
        return self.transformer(x, coordinates, mask[:, None], cache)


def draw_nearest(
    prior: EmbeddingPriorBase,
    ids: Tensor,
    texts: Tensor,
    seed: int,
    *,
    steps: int,
    guidance: float,
    candidates: int = 2,
) -> Iterator[Tensor]:
    """Draw for one text (1, T), (1, D) and yield vectors (1, D): of `candidates`, the best one.

    The best has the largest dot product with the text's vector (arXiv 2204.06125, section 2.2).
    """
    if candidates < 1:
        raise ConfigError(f"candidates is {candidates}; expected at least 1")
    seeds = [(seed * candidates + number) % 2**63 for number in range(candidates)]
    rows = [each.expand(candidates, -1) for each in (ids, texts)]
    for drawn in prior.stream(rows[0], rows[1], seeds, steps=steps, guidance=guidance):
        best = int((drawn @ texts[0]).argmax())
        yield drawn[best : best + 1]
