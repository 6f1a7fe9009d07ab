"""rFID: none of a codec that changes nothing, and the closed form of planted changes."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from PIL.Image import Image
from torch import Tensor

from limner.errors import UsageError
from limner.evaluate.metrics.networks import Network
from limner.evaluate.metrics.reconstruction import reconstruct, reconstruction_distance
from limner.images import to_tensor

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


def means(pictures: Sequence[Image]) -> Tensor:
    return to_tensor(pictures).mean((2, 3))


def network() -> Network:
    return Network("stub", "ab" * 32, means)


def pictures(count: int = 40) -> Tensor:
    """Return pictures of 8 bits whose values are multiples of four steps, far from both ends."""
    random = torch.Generator().manual_seed(1)
    return torch.randint(-20, 20, (count, 3, 6, 6), generator=random) * 4 * STEP + STEP / 2


def distance(codec: Any, truth: Tensor) -> Any:
    return reconstruction_distance(network(), reconstruct(codec, truth), truth)


def test_a_codec_that_changes_nothing_is_at_no_distance() -> None:
    codec = Change()
    found = distance(codec, pictures())
    assert codec.sizes == [32, 8]
    assert found.name == "rFID(stub abababab)" and found.better == "lower"
    for end in (found.estimate.value, found.estimate.low, found.estimate.high):
        assert end == pytest.approx(0, abs=1e-9)
    assert found.estimate.n == 40


def test_a_shift_is_at_its_square() -> None:
    found = distance(Change(shift=8 * STEP), pictures()).estimate
    assert found.value == pytest.approx(3 * (8 * STEP) ** 2, rel=1e-4)
    assert found.high - found.low < 1e-6  # no picture's share differs: both are left out together


def test_a_scale_shrinks_mean_and_spread() -> None:
    truth = pictures()
    seen = truth.double().mean((2, 3))
    spread = torch.cov(seen.T).trace()
    found = distance(Change(scale=0.25), truth - STEP / 2).estimate
    shifted = seen - STEP / 2
    wanted = 0.75**2 * (shifted.mean(0).square().sum() + spread)
    assert found.value == pytest.approx(float(wanted), rel=0.02)
    assert found.low < found.value < found.high


def test_what_leaves_the_range_is_clipped() -> None:
    assert float(reconstruct(Change(shift=9.0), pictures(3)).max()) == 1.0  # type: ignore[arg-type]


@pytest.mark.parametrize("count", [1, 2])
def test_so_few_pictures_are_refused(count: int) -> None:
    with pytest.raises(UsageError, match=f"{count} are too few prompts or pictures"):
        distance(Change(), pictures(count))
