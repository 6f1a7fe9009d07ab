"""PSNR and SSIM."""

import math

import numpy as np
import pytest
import torch
from PIL import Image

from limner.errors import UsageError
from limner.evaluate.metrics.pictures import psnr, ssim
from limner.images import to_tensor


def pictures() -> torch.Tensor:
    return torch.rand(2, 3, 24, 24, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_equal_pictures_are_as_near_as_can_be() -> None:
    images = pictures()
    torch.testing.assert_close(psnr(images, images), torch.full((2,), 100.0))
    torch.testing.assert_close(ssim(images, images), torch.ones(2))


def test_psnr_of_a_known_difference() -> None:
    images = pictures()
    assert psnr(images + 0.2, images).tolist() == pytest.approx([-20 * math.log10(0.1)] * 2)


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


def uint8_pairs() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Pairs of pictures (H, W, 3) uint8."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (24, 24, 3), dtype=np.uint8)
    ramp = np.broadcast_to(np.arange(40, dtype=np.uint8)[:, None, None] * 6, (40, 40, 3))
    rough = np.clip(ramp.astype(int) + rng.integers(-20, 21, ramp.shape), 0, 255).astype(np.uint8)
    flat = [np.full((16, 16, 3), value, np.uint8) for value in (0, 125, 130, 255)]
    return {
        "noise against noise": (noise, rng.permutation(noise)),
        "a ramp and noise upon it": (ramp, rough),
        "flat greys": (flat[1], flat[2]),
        "black and white": (flat[0], flat[3]),
        "black and nearly black": (flat[0], flat[0] + 3),
        "not square": (noise[:13], 255 - noise[:13]),
    }


@pytest.mark.parametrize("name", uint8_pairs())
def test_both_measures_are_those_of_scikit_image_on_uint8(name: str) -> None:
    theirs = pytest.importorskip("skimage.metrics")
    one, other = uint8_pairs()[name]
    found, truth = (to_tensor([Image.fromarray(each)]) for each in (one, other))
    wanted = theirs.structural_similarity(
        one, other, channel_axis=-1, data_range=255, gaussian_weights=True, sigma=1.5,
        use_sample_covariance=False,
    )  # fmt: skip
    assert ssim(found, truth).item() == pytest.approx(wanted, abs=1e-4)
    assert psnr(found, truth).item() == pytest.approx(
        theirs.peak_signal_noise_ratio(other, one, data_range=255), abs=1e-3
    )


def test_windows_are_in_fp32_under_autocast() -> None:
    images = pictures()
    worse = images + 0.1
    with torch.autocast("cpu", torch.bfloat16):
        found = ssim(worse, images)
    torch.testing.assert_close(found, ssim(worse, images))


def test_ssim_of_flat_pictures_is_its_term_for_light() -> None:
    dark, light = torch.full((1, 3, 16, 16), -0.6), torch.full((1, 3, 16, 16), 0.2)
    expected = (2 * 0.2 * 0.6 + 1e-4) / (0.2**2 + 0.6**2 + 1e-4)
    assert ssim(dark, light).item() == pytest.approx(expected, abs=1e-3)


def test_noise_lowers_both() -> None:
    images = torch.zeros(1, 3, 32, 32)
    images[..., 16:] = 0.5
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    assert psnr(images + 0.02 * noise, images) > psnr(images + 0.2 * noise, images)
    assert ssim(images + 0.02 * noise, images) > ssim(images + 0.2 * noise, images) + 0.1


def test_pictures_smaller_than_a_window_are_refused() -> None:
    with pytest.raises(UsageError, match="SSIM needs 11"):
        ssim(torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 8, 8))
