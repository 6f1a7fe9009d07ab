"""Losses and measures against closed forms and loops."""

import math

import pytest
import torch
from torch import Tensor

from limner.codecs import autoencoders
from limner.codecs.dvae import map_pixels
from limner.train.losses import (
    RECONSTRUCTION,
    adaptive_weight,
    discriminator_loss,
    logit_laplace_loss,
    perceptual_loss,
    pixel_loss,
    psnr,
    ssim,
)


def pictures(seed: int = 0) -> Tensor:
    return torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_nothing_wrong_costs_nothing() -> None:
    assert pixel_loss(pictures(), pictures()) == 0
    assert perceptual_loss([pictures()], [pictures()]) == 0
    assert psnr(pictures(), pictures()).tolist() == pytest.approx([10 * math.log10(4e10)] * 2)
    torch.testing.assert_close(ssim(pictures(), pictures()), torch.ones(2))


@pytest.mark.parametrize("error", [0.01, 0.1, 1.0])
def test_psnr_of_a_constant_error(error: float) -> None:
    images = pictures() * 0.1
    found = psnr(images + error, images)
    torch.testing.assert_close(
        found, torch.full((2,), 20 * math.log10(2 / error)), atol=1e-3, rtol=0
    )


def test_psnr_of_opposite_pictures_is_zero() -> None:
    white = torch.ones(1, 3, 8, 8)
    assert psnr(-white, white).item() == pytest.approx(0, abs=1e-5)


def test_measures_judge_each_picture_alone() -> None:
    images = pictures()
    worse = images.clone()
    worse[1] += 0.5
    assert psnr(worse, images)[0] > 90 > psnr(worse, images)[1]
    assert ssim(worse, images)[0] == pytest.approx(1, abs=1e-5)
    assert ssim(worse, images)[1] < 0.99


@pytest.mark.parametrize(("one", "other"), [(0.5, 0.5), (0.2, 0.8), (-0.6, 0.6), (1.0, 0.0)])
def test_ssim_of_flat_pictures_is_the_luminance_term(one: float, other: float) -> None:
    bound = 0.02**2
    wanted = (2 * one * other + bound) / (one**2 + other**2 + bound)
    flat = torch.ones(1, 3, 9, 9)
    assert ssim(flat * one, flat * other).item() == pytest.approx(wanted, abs=1e-3)


def test_ssim_is_its_equation_in_a_loop() -> None:
    x, y = pictures(1)[:1, :1].double(), pictures(2)[:1, :1].double()
    bound1, bound2 = 0.02**2, 0.06**2
    values = []
    for row in range(10):
        for column in range(10):
            a = x[0, 0, row : row + 7, column : column + 7].flatten()
            b = y[0, 0, row : row + 7, column : column + 7].flatten()
            covariance = ((a - a.mean()) * (b - b.mean())).sum() / 48
            top = (2 * a.mean() * b.mean() + bound1) * (2 * covariance + bound2)
            bottom = (a.mean() ** 2 + b.mean() ** 2 + bound1) * (a.var() + b.var() + bound2)
            values.append(top / bottom)
    assert ssim(x, y).item() == pytest.approx(float(torch.stack(values).mean()), abs=1e-5)
    torch.testing.assert_close(ssim(x, y), ssim(y, x))


def test_pixel_loss_of_a_constant_error_has_no_gradient_term() -> None:
    error = 0.25
    found = pixel_loss(pictures() + error, pictures())
    assert found.item() == pytest.approx(error + 0.5 * error**2, abs=1e-5)


def test_pixel_loss_of_a_ramp() -> None:
    ramp = torch.arange(5.0).expand(1, 1, 5, 5) / 10
    wanted = 0.2 + 0.1 + 0 + 0.5 * (0.0 + 0.01 + 0.04 + 0.09 + 0.16) / 5
    assert pixel_loss(ramp, torch.zeros_like(ramp)).item() == pytest.approx(wanted, abs=1e-6)


def test_perceptual_loss_sees_directions_alone() -> None:
    features = [torch.randn(2, 8, 4, 4), torch.randn(2, 16, 2, 2)]
    assert perceptual_loss(features, [f * 3 for f in features]).item() == pytest.approx(0, abs=1e-6)
    assert perceptual_loss(features, [-f for f in features]).item() == pytest.approx(4, abs=1e-5)
    one, other = torch.zeros(1, 2, 1, 1), torch.zeros(1, 2, 1, 1)
    one[0, 0], other[0, 1] = 5.0, 0.1
    assert perceptual_loss([one], [other]).item() == pytest.approx(2)


def test_hinge_is_satisfied_beyond_one() -> None:
    sure = torch.full((2, 1, 3, 3), 1.5)
    assert discriminator_loss(sure, -sure) == 0
    assert discriminator_loss(-sure, sure) == 5
    assert discriminator_loss(sure * 0, sure * 0) == 2


def test_every_codec_names_a_reconstruction_loss() -> None:
    named = {codec.likelihood for _, codec in autoencoders().values()}
    assert named == set(RECONSTRUCTION)


def test_logit_laplace_is_the_density_of_a_transformed_laplace() -> None:
    images = pictures()
    mean, log_scale = torch.randn(2, 3, 16, 16), torch.randn(2, 3, 16, 16) * 0.5
    base = torch.distributions.Laplace(mean, log_scale.exp())
    density = torch.distributions.TransformedDistribution(
        base, torch.distributions.SigmoidTransform()
    )
    wanted = -density.log_prob(map_pixels(images)).mean()
    found = logit_laplace_loss(torch.cat([mean, log_scale], dim=1), images)
    torch.testing.assert_close(found, wanted)


def test_logit_laplace_is_least_at_the_truth() -> None:
    images = pictures()
    truth = map_pixels(images).logit()
    small = torch.full_like(truth, -3)
    right = logit_laplace_loss(torch.cat([truth, small], dim=1), images)
    wrong = logit_laplace_loss(torch.cat([truth + 0.5, small], dim=1), images)
    unsure = logit_laplace_loss(torch.cat([truth, small + 2], dim=1), images)
    assert right < unsure < wrong


def test_the_adaptive_weight_levels_the_gradients() -> None:
    layer = torch.randn(4, 3, requires_grad=True)
    output = torch.randn(8, 3) @ layer.T
    reconstruction, adversarial = output.square().mean(), -7 * output.mean()
    weight = adaptive_weight(reconstruction, adversarial, layer)
    assert not weight.requires_grad
    ours = torch.autograd.grad(reconstruction, layer, retain_graph=True)[0].norm()
    theirs = torch.autograd.grad(weight * adversarial, layer, retain_graph=True)[0].norm()
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    assert adaptive_weight(reconstruction, adversarial * 1e-9, layer) == 1e4
    assert adaptive_weight(reconstruction * 0, adversarial, layer) == 0
