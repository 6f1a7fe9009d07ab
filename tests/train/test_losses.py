"""Losses and measures against closed forms and loops."""

import pytest
import torch
from torch import Tensor

from limner.codecs import autoencoders
from limner.codecs.dvae import map_pixels
from limner.train.losses import (
    RECONSTRUCTION,
    adaptive_weight,
    logit_laplace_loss,
    perceptual_loss,
    pixel_loss,
)


def pictures(seed: int = 0) -> Tensor:
    return torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_nothing_wrong_costs_nothing() -> None:
    assert pixel_loss(pictures(), pictures()) == 0
    assert perceptual_loss([pictures()], [pictures()]) == 0


def test_pixel_loss_of_a_constant_error_has_no_gradient_term() -> None:
    error = 0.25
    found = pixel_loss(pictures() + error, pictures())
    assert found.item() == pytest.approx(error + 0.5 * error**2, abs=1e-5)


def test_pixel_loss_of_a_ramp() -> None:
    ramp = torch.arange(5.0).expand(1, 1, 5, 5) / 10
    wanted = 0.2 + 0.1 + 0 + 0.5 * (0.0 + 0.01 + 0.04 + 0.09 + 0.16) / 5
    assert pixel_loss(ramp, torch.zeros_like(ramp)).item() == pytest.approx(wanted, abs=1e-6)


def test_a_detail_that_is_missing_costs_what_it_stands_out_by() -> None:
    sky = torch.full((1, 3, 32, 32), -1.0)
    starry = sky.clone()
    starry[..., 16, 16] = 1.0
    around = 2 / 17**2  # of what its surroundings are brighter by
    weight = 1 + 8 * (2 - around)
    assert pixel_loss(sky, starry, 8.0) > 0.9 * weight * pixel_loss(sky, starry)
    assert pixel_loss(sky + 0.1, sky, 8.0) == pixel_loss(sky + 0.1, sky)


def test_perceptual_loss_sees_directions_alone() -> None:
    features = [torch.randn(2, 8, 4, 4), torch.randn(2, 16, 2, 2)]
    assert perceptual_loss(features, [f * 3 for f in features]).item() == pytest.approx(0, abs=1e-6)
    assert perceptual_loss(features, [-f for f in features]).item() == pytest.approx(4, abs=1e-5)
    one, other = torch.zeros(1, 2, 1, 1), torch.zeros(1, 2, 1, 1)
    one[0, 0], other[0, 1] = 5.0, 0.1
    assert perceptual_loss([one], [other]).item() == pytest.approx(2)


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
