"""The losses of adversaries as pure functions. Scores are (B,), higher where a picture looks real.

`ADVERSARIAL` names every one. A penalty is a mean over the pictures of a batch.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

Term = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Adversarial:
    """What the discriminator pays for scores of `real` and `fake`, and the `generator` for its own.

    Each maps scores (B,) to costs (B,).
    """

    real: Term
    fake: Term
    generator: Term


def _softplus_of_minus(scores: Tensor) -> Tensor:
    return F.softplus(-scores)


def _minus(scores: Tensor) -> Tensor:
    return -scores


HINGE = Adversarial(lambda scores: F.relu(1 - scores), lambda s: F.relu(1 + s), _minus)
ADVERSARIAL: dict[str, Adversarial] = {
    # Goodfellow 2014, arXiv 1406.2661, equation 1: the generator lowers log(1 - D).
    "minimax": Adversarial(_softplus_of_minus, F.softplus, lambda scores: -F.softplus(scores)),
    # The same, section 3: the generator raises log D, whose gradient does not vanish.
    "nonsaturating": Adversarial(_softplus_of_minus, F.softplus, _softplus_of_minus),
    # Lim 2017, arXiv 1705.02894, section 3.
    "hinge": HINGE,
    # Arjovsky 2017, arXiv 1701.07875, equation 2: needs a penalty, or spectral norm.
    "wasserstein": Adversarial(_minus, lambda scores: scores, _minus),
}
PENALTIES = ("none", "wgan_gp", "r1")


def discriminator_loss(
    kind: Adversarial, real: Tensor, fake: Tensor, mismatched: Sequence[Tensor] = ()
) -> Tensor:
    """Return the discriminator's loss; real pictures with wrong captions count as fake.

    The fakes and each set of mismatched pairs have equal shares (Reed 2016, arXiv 1605.05396,
    algorithm 1).
    """
    wrong = torch.stack([kind.fake(scores).mean() for scores in (fake, *mismatched)])
    return kind.real(real).mean() + wrong.mean()


def generator_loss(kind: Adversarial, fake: Tensor) -> Tensor:
    """Return the generator's loss of the scores of what it drew."""
    return kind.generator(fake).mean()


def gradient_squares(scores: Tensor, seen: Sequence[Tensor]) -> Tensor:
    """Return the squared length (B,) of each score's gradient in what was seen, differentiably."""
    # Where no score depends on another picture, the gradient of the sum holds each one's own.
    gradients = torch.autograd.grad(scores.sum(), seen, create_graph=True)
    squares = [each.square().flatten(1).sum(1) for each in gradients]
    return torch.stack(squares).sum(0)


def r1_penalty(scores: Tensor, seen: Sequence[Tensor]) -> Tensor:
    """Return half the mean squared gradient at real pictures (Mescheder 2018, 1801.04406, eq. 9).

    `scores` (B,) were computed of `seen`, which requires gradients.
    """
    return 0.5 * gradient_squares(scores, seen).mean()


def wgan_gp_penalty(scores: Tensor, seen: Sequence[Tensor]) -> Tensor:
    """Return the mean of (|gradient| - 1)^2 at pictures `between` real and drawn ones.

    Gulrajani 2017, arXiv 1704.00028, equation 3.
    """
    return ((gradient_squares(scores, seen) + 1e-12).sqrt() - 1).square().mean()


def between(real: Sequence[Tensor], fake: Sequence[Tensor], shares: Tensor) -> list[Tensor]:
    """Return points on the lines from fake to real, `shares` (B,) of the way, to take gradients at.

    The tensors of both are (B, ...).
    """
    points = []
    for one, other in zip(real, fake, strict=True):
        share = shares.view(-1, *[1] * (one.ndim - 1)).to(one)
        points.append((share * one + (1 - share) * other).detach().requires_grad_(True))
    return points


def balance(real: Tensor, fake: Tensor) -> float:
    """Return the discriminator's loss over the generator's, both as in "nonsaturating".

    About 2 where the discriminator knows nothing; near 0 where it knows all. It is no use of
    Wasserstein scores, whose scale says nothing.
    """
    ours = F.softplus(-real).mean() + F.softplus(fake).mean()
    return float(ours / F.softplus(-fake).mean().clamp_min(1e-12))
