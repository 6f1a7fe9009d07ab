"""PSNR and SSIM."""

import math

import pytest
import torch

from limner.codecs.features import FeatureNetwork
from limner.errors import UsageError
from limner.evaluate.metrics import perceptual_distance, psnr, ssim


def pictures() -> torch.Tensor:
    return torch.rand(2, 3, 24, 24, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_equal_pictures_are_as_near_as_can_be() -> None:
    images = pictures()
    assert psnr(images, images) == pytest.approx(100)
    assert ssim(images, images) == pytest.approx(1, abs=1e-5)


def test_psnr_of_a_known_difference() -> None:
    images = pictures()
    assert psnr(images + 0.2, images) == pytest.approx(-20 * math.log10(0.1), abs=1e-4)


def test_ssim_of_flat_pictures_is_its_term_for_light() -> None:
    dark, light = torch.full((1, 3, 16, 16), -0.6), torch.full((1, 3, 16, 16), 0.2)
    expected = (2 * 0.2 * 0.6 + 1e-4) / (0.2**2 + 0.6**2 + 1e-4)
    assert ssim(dark, light) == pytest.approx(expected, abs=1e-3)


def test_noise_lowers_both() -> None:
    images = torch.zeros(1, 3, 32, 32)
    images[..., 16:] = 0.5
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    assert psnr(images + 0.02 * noise, images) > psnr(images + 0.2 * noise, images)
    assert ssim(images + 0.02 * noise, images) > ssim(images + 0.2 * noise, images) + 0.1


def test_pictures_smaller_than_a_window_are_refused() -> None:
    with pytest.raises(UsageError, match="SSIM needs 11"):
        ssim(torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 8, 8))


def stages(images: torch.Tensor) -> list[torch.Tensor]:
    return [images[:, :2], images[:, 1:] * 3]


def test_perceptual_distance_of_features_at_a_known_angle() -> None:
    first, second = torch.zeros(1, 3, 4, 4), torch.zeros(1, 3, 4, 4)
    first[:, 1], second[:, 0], second[:, 1] = 1, 1, 1
    # Layer one: (0, 1) against (1, 1), 45 degrees apart; layer two: (1, 0) in both.
    expected = 2 - 2 * math.cos(math.pi / 4)
    assert perceptual_distance(stages, first, second) == pytest.approx(expected, abs=1e-5)
    assert perceptual_distance(stages, first, first) == 0


def test_perceptual_distance_sees_another_picture_and_not_another_length() -> None:
    network = FeatureNetwork(3, 2, channels=8)
    images = pictures()
    assert perceptual_distance(network, images, images.flip(-1)) > 0.01
    assert perceptual_distance(stages, images, images * 2) == pytest.approx(0, abs=1e-5)
