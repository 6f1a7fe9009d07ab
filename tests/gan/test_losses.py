"""Losses of adversaries and penalties against closed forms."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from limner.gan.losses import (
    ADVERSARIAL,
    balance,
    between,
    discriminator_loss,
    generator_loss,
    r1_penalty,
    wgan_gp_penalty,
)

REAL, FAKE, WRONG = torch.tensor([2.0, -0.5]), torch.tensor([0.3, -3.0]), torch.tensor([0.0, 1.5])


def log_one_minus(score: float) -> float:
    return math.log(1 - 1 / (1 + math.exp(-score)))


def log_sigmoid(score: float) -> float:
    return math.log(1 / (1 + math.exp(-score)))


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


CLOSED: dict[str, tuple[Callable[[float], float], ...]] = {
    # what the discriminator pays for real, for fake, and the generator
    "minimax": (lambda s: -log_sigmoid(s), lambda s: -log_one_minus(s), log_one_minus),
    "nonsaturating": (
        lambda s: -log_sigmoid(s), lambda s: -log_one_minus(s), lambda s: -log_sigmoid(s),
    ),
    "hinge": (lambda s: max(0, 1 - s), lambda s: max(0, 1 + s), lambda s: -s),
    "wasserstein": (lambda s: -s, lambda s: s, lambda s: -s),
}  # fmt: skip


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_losses_are_their_closed_forms(name: str) -> None:
    real, fake, generator = (
        mean([term(float(score)) for score in scores])
        for term, scores in zip(CLOSED[name], (REAL, FAKE, FAKE), strict=True)
    )
    wrong = mean([CLOSED[name][1](float(score)) for score in WRONG])
    kind = ADVERSARIAL[name]
    assert float(discriminator_loss(kind, REAL, FAKE)) == pytest.approx(real + fake, abs=1e-6)
    both = float(discriminator_loss(kind, REAL, FAKE, [WRONG]))
    assert both == pytest.approx(real + (fake + wrong) / 2, abs=1e-6)
    assert float(generator_loss(kind, FAKE)) == pytest.approx(generator, abs=1e-6)


def test_the_penalties_of_a_linear_score_are_their_closed_forms() -> None:
    weights = torch.randn(3, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.double)
    length = float(weights.norm())
    images = torch.randn(5, 3, 4, 4, dtype=torch.double, requires_grad=True)
    scores = (images * weights).sum((1, 2, 3))
    assert float(r1_penalty(scores, [images]).detach()) == pytest.approx(0.5 * length**2, rel=1e-6)
    scores = (images * weights).sum((1, 2, 3))
    found = float(wgan_gp_penalty(scores, [images]).detach())
    assert found == pytest.approx((length - 1) ** 2, rel=1e-6)


def test_the_penalties_of_a_quadratic_score_are_their_closed_forms() -> None:
    images = torch.randn(4, 3, 2, 2, dtype=torch.double, requires_grad=True)
    curve = torch.tensor(0.7, dtype=torch.double, requires_grad=True)

    def scores() -> Tensor:
        return 0.5 * curve * images.square().sum((1, 2, 3))  # its gradient is curve * images

    lengths = images.detach().flatten(1).norm(dim=1)
    r1, gp = r1_penalty(scores(), [images]), wgan_gp_penalty(scores(), [images])
    assert float(r1.detach()) == pytest.approx(
        float(0.5 * (0.7 * lengths).square().mean()), rel=1e-6
    )
    assert float(gp.detach()) == pytest.approx(float((0.7 * lengths - 1).square().mean()), rel=1e-6)
    (slope,) = torch.autograd.grad(r1, curve)
    assert float(slope) == pytest.approx(float(0.7 * lengths.square().mean()), rel=1e-6)
    (slope,) = torch.autograd.grad(gp, curve)
    expected = (2 * (0.7 * lengths - 1) * lengths).mean()
    assert float(slope) == pytest.approx(float(expected), rel=1e-6)


def test_gradients_of_several_maps_count_together() -> None:
    one = torch.zeros(2, 3, requires_grad=True)
    other = torch.zeros(2, 5, requires_grad=True)
    scores = 3 * one.sum(1) + 4 * other[:, 0]
    assert float(r1_penalty(scores, [one, other]).detach()) == pytest.approx(
        0.5 * (27 + 16), rel=1e-6
    )


def test_points_lie_on_the_lines_between() -> None:
    real, fake = torch.ones(3, 2, 2), torch.zeros(3, 2, 2)
    (points,) = between([real], [fake], torch.tensor([0.0, 0.25, 1.0]))
    assert points.requires_grad and points.flatten(1)[:, 0].tolist() == [0.0, 0.25, 1.0]


def test_the_balance_falls_as_the_discriminator_wins() -> None:
    even, ahead = torch.zeros(4), torch.full((4,), 5.0)
    assert balance(even, even) == pytest.approx(2.0)
    assert balance(ahead, -ahead) == pytest.approx(2 * math.log(1 + math.exp(-5)) / 5.006715, 1e-4)
