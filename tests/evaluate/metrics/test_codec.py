"""Pictures through a codec: known values, other libraries' values, and the use of its codes."""

import math
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from limner.errors import UsageError
from limner.evaluate.metrics.codec import (
    bits_of,
    code_use,
    code_use_by_map,
    psnr,
    reconstruct,
    reconstruction_distance,
    ssim,
)
from limner.evaluate.metrics.networks import Network
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


def codec(*maps: tuple[int, int], vocabulary: int = 16, groups: int = 1) -> Any:
    layout = maps[0] if len(maps) == 1 else (sum(h * w for h, w in maps),)
    return SimpleNamespace(maps=maps, vocabulary=vocabulary, groups=groups, layout=layout)


@pytest.mark.parametrize(
    ("shape", "bits"),
    [
        (codec((8, 8)), 256),
        (codec((8, 8), groups=2), 512),
        (codec((1, 1), (2, 2), (4, 4)), 84),
        (codec((4, 4), vocabulary=1000), 159.45),
    ],
)
def test_bits_of_a_picture(shape: Any, bits: float) -> None:
    assert bits_of(shape) == pytest.approx(bits, abs=0.01)


def test_even_codes_have_their_number_as_perplexity() -> None:
    codes = torch.arange(16).view(1, 4, 4).repeat(3, 1, 1) % 4
    use = code_use(codes, codec((4, 4)))
    assert use.used == pytest.approx(0.25) and use.perplexity == pytest.approx(4)


def test_one_code_alone_has_perplexity_one() -> None:
    use = code_use(torch.full((5, 2, 2), 7), codec((2, 2)))
    assert use.used == pytest.approx(1 / 16) and use.perplexity == pytest.approx(1)


def test_groups_are_counted_apart() -> None:
    """Two groups that share no code would look twice as rich together as each of them is."""
    codes = torch.stack([torch.zeros(3, 2, 2), torch.arange(12).view(3, 2, 2)], dim=-1).long()
    use = code_use(codes, codec((2, 2), groups=2))
    assert use.used == pytest.approx((1 / 16 + 12 / 16) / 2)
    assert use.perplexity == pytest.approx((1 + 12) / 2)


def test_maps_are_counted_apart() -> None:
    codes = torch.tensor([[5, 0, 1, 2, 3], [5, 0, 1, 2, 3]])
    first, second = code_use_by_map(codes, codec((1, 1), (2, 2)))
    assert (first.used, first.perplexity) == pytest.approx((1 / 16, 1))
    assert (second.used, second.perplexity) == pytest.approx((4 / 16, 4))
    both = code_use(codes, codec((1, 1), (2, 2)))
    assert (both.used, both.perplexity) == pytest.approx((2.5 / 16, 2.5))


def test_maps_with_groups() -> None:
    codes = torch.randint(16, (50, 5, 2))
    uses = code_use_by_map(codes, codec((1, 1), (2, 2), groups=2))
    assert [0 < use.used <= 1 and 1 <= use.perplexity <= 16 for use in uses] == [True, True]


STEP = 1 / 127.5  # between two values of 8 bits


class Change:
    """A codec whose codes are the pixels, and which gives them back scaled and shifted."""

    def __init__(self, shift: float = 0.0, scale: float = 1.0) -> None:
        self.shift, self.scale = shift, scale
        self.sizes: list[int] = []

    def encode(self, images: Tensor) -> Tensor:
        self.sizes.append(len(images))
        return images

    def decode(self, codes: Tensor) -> Tensor:
        return codes * self.scale + self.shift


def means(pictures: Sequence[Image.Image]) -> Tensor:
    return to_tensor(pictures).mean((2, 3))


def network() -> Network:
    return Network("stub", "ab" * 32, means)


def true_pictures(count: int = 40) -> Tensor:
    """Return pictures of 8 bits whose values are multiples of four steps, far from both ends."""
    random = torch.Generator().manual_seed(1)
    return torch.randint(-20, 20, (count, 3, 6, 6), generator=random) * 4 * STEP + STEP / 2


def distance(codec: Any, truth: Tensor) -> Any:
    return reconstruction_distance(network(), reconstruct(codec, truth), truth)


def test_a_codec_that_changes_nothing_is_at_no_distance() -> None:
    codec = Change()
    found = distance(codec, true_pictures())
    assert codec.sizes == [32, 8]
    assert found.name == "rFID(stub abababab)" and found.better == "lower"
    for end in (found.estimate.value, found.estimate.low, found.estimate.high):
        assert end == pytest.approx(0, abs=1e-9)
    assert found.estimate.n == 40


def test_a_shift_is_at_its_square() -> None:
    found = distance(Change(shift=8 * STEP), true_pictures()).estimate
    assert found.value == pytest.approx(3 * (8 * STEP) ** 2, rel=1e-4)
    assert found.high - found.low < 1e-6  # no picture's share differs: both are left out together


def test_a_scale_shrinks_mean_and_spread() -> None:
    truth = true_pictures()
    seen = truth.double().mean((2, 3))
    spread = torch.cov(seen.T).trace()
    found = distance(Change(scale=0.25), truth - STEP / 2).estimate
    shifted = seen - STEP / 2
    wanted = 0.75**2 * (shifted.mean(0).square().sum() + spread)
    assert found.value == pytest.approx(float(wanted), rel=0.02)
    assert found.low < found.value < found.high


def test_what_leaves_the_range_is_clipped() -> None:
    assert float(reconstruct(Change(shift=9.0), true_pictures(3)).max()) == 1.0  # type: ignore[arg-type]


@pytest.mark.parametrize("count", [1, 2])
def test_so_few_pictures_are_refused(count: int) -> None:
    with pytest.raises(UsageError, match=f"{count} are too few prompts or pictures"):
        distance(Change(), true_pictures(count))
