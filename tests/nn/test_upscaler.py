"""The networks that enlarge: how they begin, how far they see, sizes that are refused."""

import pytest
import torch
from torch.nn import functional as F

from limner.errors import ConfigError
from limner.nn.upscaler import CompactUpscaler, Upscaler, UpscalerConfig


def test_a_new_network_is_the_plain_enlarging() -> None:
    images = torch.rand(2, 3, 6, 7) * 2 - 1
    plain = F.interpolate(images, scale_factor=4.0, mode="bicubic")
    assert torch.equal(Upscaler(UpscalerConfig(4, 8, 1))(images), plain)


@pytest.mark.parametrize(
    "make", [lambda: Upscaler(UpscalerConfig(2, 4, 1)), lambda: CompactUpscaler(4, 3, 2)]
)
def test_a_pixel_sees_as_far_as_its_reach(make: object) -> None:
    torch.manual_seed(0)
    network = make()  # type: ignore[operator]
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    images = torch.zeros(1, 3, 1, 41).expand(1, 3, 31, 41).clone()
    changed = images.clone()
    changed[..., 20] = 0.5
    moved = (network(changed) - network(images)).abs().amax((0, 1, 2))
    seen = moved.nonzero().flatten() // 2
    assert 20 - int(seen.min()) <= network.reach + 2 and int(seen.max()) - 20 <= network.reach + 2


@pytest.mark.parametrize("values", [{"factor": 3}, {"width": 0}, {"blocks": 0}, {"width": 257}])
def test_sizes_are_checked(values: dict[str, int]) -> None:
    with pytest.raises(ConfigError):
        UpscalerConfig(**values)
