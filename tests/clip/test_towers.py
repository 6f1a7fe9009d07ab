"""What every image encoder promises of its maps; one without a tiny config fails."""

from typing import Any

import pytest
import torch

from limner.clip.towers import IMAGE_ENCODERS, create_image_encoder
from tests.tiny_clip import RESNET, VIT
from tests.tiny_vision import ENCODERS

TINY: dict[str, dict[str, Any]] = {"vit": VIT, "resnet": RESNET, **ENCODERS}


@pytest.mark.parametrize("name", IMAGE_ENCODERS)
def test_maps_have_the_channels_that_are_told_and_show_where_things_are(name: str) -> None:
    torch.manual_seed(0)
    built = create_image_encoder(TINY[name]).eval()
    images = torch.randn(2, 3, built.size, built.size, requires_grad=True)
    changed = images.detach().clone()
    changed[:, :, -1, -1] += 1.0
    maps, others = built.maps(images), built.maps(changed)
    assert [each.shape[1] for each in maps] == list(built.map_channels)
    assert all(each.shape[0] == 2 and each.shape[2] == each.shape[3] > 1 for each in maps)
    moved = (others[0] - maps[0]).detach().abs().sum((0, 1))
    assert moved[-1, -1] > 2 * moved[0, 0]
    sum(each.square().sum() for each in maps).backward()
    assert images.grad is not None and images.grad.abs().sum() > 0


@pytest.mark.parametrize("name", IMAGE_ENCODERS)
def test_features_are_as_they_were_without_maps(name: str) -> None:
    torch.manual_seed(0)
    built = create_image_encoder(TINY[name]).eval()
    images = torch.randn(2, 3, built.size, built.size)
    before = built(images)
    built.maps(images)
    assert torch.equal(built(images), before) and before.shape == (2, built.width)
