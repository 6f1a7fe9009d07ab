"""A learned codebook: continuous vectors (B, D, H, W) to codes (B, H, W) int64 and back.

Shapes: N vectors of a batch, V codes, D dimensions.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from limner.codecs.lookup import nearest
from limner.errors import ConfigError
from limner.nn.checks import check_choice, check_least
from limner.nn.ranks import all_gather, broadcast

CHOICES = {
    "update": ("gradient", "ema"),
    "start": ("random", "kmeans"),
    "gradient": ("straight_through", "rotation"),
}
START_BATCHES = 4  # a batch may have fewer vectors than there are codes; a few have enough
START_ROUNDS = 5  # of k-means on each of them
FORGOTTEN = 1e-6  # running use below which a mean is noise
VOCABULARY_LIMIT = 2**24
STRETCH = 100.0  # most that the rotation trick multiplies a gradient by
ZERO = 1e-12  # a vector shorter than this has no direction


@dataclass(frozen=True)
class CodebookOptions:
    """How a codebook of vectors is compared, learnt and kept in use.

    `update` is "gradient", codebook and commitment loss (VQ-VAE, arXiv 1711.00937, equation 3), or
    "ema", running means (its appendix A.1); `commitment` weighs the second loss.
    `decay`, of the running means and uses, is warmed up: codes then follow an encoder that is new.
    `start` is "random" or "kmeans", which takes the codes from the first batches of training.
    A code whose running use falls below `reset` of the mean gets a vector of the batch; 0 is never.
    `normalised` codes are unit vectors (ViT-VQGAN, arXiv 2110.04627, section 3.2).
    `gradient` is how it passes to the encoder: "straight_through" or "rotation" (arXiv 2410.06424).
    Raises ConfigError for another value.
    """

    update: str = "gradient"
    decay: float = 0.99
    commitment: float = 0.25
    start: str = "random"
    reset: float = 0.0
    normalised: bool = True
    gradient: str = "straight_through"

    def __post_init__(self) -> None:
        for name, known in CHOICES.items():
            check_choice(self, name, known)
        for name, limit in (("decay", 1.0), ("reset", 1.0), ("commitment", float("inf"))):
            if not 0 <= getattr(self, name) < limit:
                below = "" if limit == float("inf") else f" and below {limit:g}"
                raise ConfigError(
                    f"{name} is {getattr(self, name):g}; expected a number of at least 0{below}"
                )


def check_codebook(config: Any) -> None:
    """Raise ConfigError unless a codec config has a usable `codebook` size and `dimensions`."""
    if not 2 <= config.codebook <= VOCABULARY_LIMIT:
        raise ConfigError(f"codebook is {config.codebook}; expected 2 to {VOCABULARY_LIMIT}")
    check_least(config, "dimensions")


class VectorQuantizer(nn.Module):
    """The nearest vector of a learned codebook, (V, D); see `CodebookOptions` for the ways.

    Only `forward` in training mode changes the codebook and its counts, which are all in the state.
    Where several ranks train it, it learns from the vectors of all.
    Vectors for k-means and resets are drawn from torch's global generator on the CPU.
    """

    codebook: Tensor
    use: Tensor
    batches: Tensor

    def __init__(
        self, vocabulary: int, dimensions: int, options: CodebookOptions | None = None
    ) -> None:
        super().__init__()
        self.vocabulary = vocabulary
        self.options = options or CodebookOptions()
        codebook = F.normalize(torch.randn(vocabulary, dimensions), dim=-1)
        if self.options.update == "gradient":
            self.codebook = nn.Parameter(codebook)
        else:
            self.register_buffer("codebook", codebook)
        self.register_buffer("use", torch.ones(vocabulary))  # vectors a batch, running mean
        self.register_buffer("batches", torch.zeros((), dtype=torch.int64))

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Quantise (B, D, H, W); in training, learn from it. The loss is that of equation 3."""
        # 1. What is compared: unit vectors or plain ones, from all ranks where it learns.
        vectors = self._vectors(z)
        flat = vectors.detach().flatten(0, -2)
        every = all_gather(flat) if self.training else flat
        if self.training:
            self._prepare(every)
        # 2. The nearest codes, and the losses of equation 3.
        codes = self._nearest(flat)
        chosen = self._codes()[codes].view_as(vectors)
        loss = self.options.commitment * F.mse_loss(vectors, chosen.detach())
        if self.options.update == "gradient":
            loss = loss + F.mse_loss(chosen, vectors.detach())
        # 3. Learn from the batch only after it was quantised with the codebook before it.
        if self.training:
            self._learn(every, all_gather(codes))
        quantised = self._pass_gradient(vectors, chosen.detach())
        return quantised.movedim(-1, 1), codes.view(vectors.shape[:-1]), loss

    def encode(self, z: Tensor) -> Tensor:
        """Return the codes (B, H, W) of (B, D, H, W), and learn nothing."""
        vectors = self._vectors(z.detach())
        return self._nearest(vectors.flatten(0, -2)).view(vectors.shape[:-1])

    def embed(self, codes: Tensor) -> Tensor:
        """Return the vectors (B, D, H, W) that stand for codes (B, H, W)."""
        return F.embedding(codes, self._codes()).movedim(-1, 1)

    def _vectors(self, z: Tensor) -> Tensor:
        return self._compared(z.float().movedim(1, -1))

    def _compared(self, vectors: Tensor) -> Tensor:
        return F.normalize(vectors, dim=-1) if self.options.normalised else vectors

    def _codes(self) -> Tensor:
        return self._compared(self.codebook)

    def _nearest(self, vectors: Tensor) -> Tensor:
        return nearest(vectors, self._codes())

    def _pass_gradient(self, vectors: Tensor, chosen: Tensor) -> Tensor:
        """Return the chosen vectors, through which a gradient reaches those of the encoder."""
        if self.options.gradient == "rotation":
            vectors = rotate(vectors, chosen)
        return chosen + (vectors - vectors.detach())

    @torch.no_grad()
    def _prepare(self, vectors: Tensor) -> None:
        """Before a batch is quantised: start the codebook, or put dead codes back to use."""
        mean = len(vectors) / self.vocabulary  # vectors a code, were all used alike
        if self.batches == 0:
            self.use.fill_(0 if self.options.start == "kmeans" else mean)
        if self.options.start == "kmeans" and self.batches < START_BATCHES:
            self._start(vectors)
        elif self.options.reset:
            least = self.options.reset * mean
            self._replace(self.use < least, vectors, 2 * least)

    def _start(self, vectors: Tensor) -> None:
        """k-means over the batches so far: the earlier ones count as their codes' means do.

        Sculley 2010, "Web-scale k-means clustering". Codes that get no vector are drawn anew.
        """
        # The batches so far count as `earlier` vectors that all lie on their code's mean.
        before, earlier = self._codes().clone(), self.use.clone()
        for _ in range(START_ROUNDS):
            self._replace(self.use == 0, vectors, 0.0)
            codes = self._nearest(vectors)
            self.use.copy_(earlier + self._count(codes))
            self._move(earlier[:, None] * before + self._sum(vectors, codes), self.use)
        if self.batches + 1 == START_BATCHES:  # from here on it is the use of one batch
            self.use /= START_BATCHES

    def _replace(self, dead: Tensor, vectors: Tensor, use: float) -> None:
        """Put dead codes on random vectors of the batch."""
        count = int(dead.sum())
        if count:
            drawn = torch.randperm(len(vectors))[:count]
            if count > len(vectors):
                drawn = torch.randint(len(vectors), (count,))
            self.codebook[dead] = vectors[broadcast(drawn).to(vectors.device)]
            self.use[dead] = use

    @torch.no_grad()
    def _learn(self, vectors: Tensor, codes: Tensor) -> None:
        """After a batch is quantised: running use and, with "ema", running means of the codes.

        With counts N and sums m = N e of appendix A.1, m itself need not be kept.
        """
        starting = self.options.start == "kmeans" and self.batches < START_BATCHES
        self.batches += 1
        if starting:
            return
        since = int(self.batches)
        decay = min(self.options.decay, since / (since + 10))
        before = self._codes() * (decay * self.use[:, None])
        self.use.mul_(decay).add_(self._count(codes), alpha=1 - decay)
        if self.options.update == "ema":
            self._move(before + (1 - decay) * self._sum(vectors, codes), self.use)

    def _count(self, codes: Tensor) -> Tensor:
        return torch.bincount(codes, minlength=self.vocabulary).to(self.use.dtype)

    def _sum(self, vectors: Tensor, codes: Tensor) -> Tensor:
        return torch.zeros_like(self.codebook).index_add_(0, codes, vectors)

    def _move(self, sums: Tensor, counts: Tensor) -> None:
        used = counts > FORGOTTEN
        means = self._compared(sums / counts.clamp_min(FORGOTTEN)[:, None])
        self.codebook.copy_(torch.where(used[:, None], means, self.codebook))


def rotate(vectors: Tensor, chosen: Tensor) -> Tensor:
    """Turn and stretch each vector (..., D) onto the chosen one, by a map the gradient takes as is.

    Fifty 2024, the rotation trick, arXiv 2410.06424: (I - 2rr' + 2qe') ‖c‖ / ‖v‖ with unit vectors
    e and q of v and c, and r of e + q. Near zero the stretch stops at STRETCH, so that a gradient
    does not explode; a vector that is zero has no direction to turn, and passes it straight on.
    """
    v, c = vectors.detach(), chosen.detach()
    e, q = F.normalize(v, dim=-1), F.normalize(c, dim=-1)
    r = F.normalize(e + q, dim=-1)  # half way from e to q
    turned = (
        vectors
        - 2 * (vectors * r).sum(-1, keepdim=True) * r
        + 2 * (vectors * e).sum(-1, keepdim=True) * q
    )
    length = v.norm(dim=-1, keepdim=True)  # ‖v‖
    stretch = (c.norm(dim=-1, keepdim=True) / length.clamp_min(ZERO)).clamp_max(STRETCH)
    return torch.where(length > ZERO, turned * stretch, vectors)
