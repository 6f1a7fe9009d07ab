"""CLIP's residual network: the size of RN50, and what its grid and pool do."""

from typing import Any

import pytest
import torch

from limner.clip.resnet import AttentionPool, ResNet, ResNetConfig
from limner.errors import ConfigError

TINY = ResNetConfig(size=16, width=4, blocks=(1, 1), heads=2)


def test_rn50_has_as_many_weights_as_openai_published() -> None:
    """The image tower of RN50 has 38,316,896, with a projection of 2048 to 1024 and its bias."""
    with torch.device("meta"):
        tower = ResNet(ResNetConfig(size=224, width=64, blocks=(3, 4, 6, 3), heads=32))
    count = sum(parameter.numel() for parameter in tower.parameters())
    assert count + 2048 * 1024 + 1024 == 38_316_896


def test_pictures_become_one_vector_each_alone_or_in_a_batch() -> None:
    torch.manual_seed(0)
    tower = ResNet(TINY).eval()
    images = torch.randn(3, 3, 16, 16)
    features = tower(images)
    assert features.shape == (3, tower.width) == (3, 32)
    torch.testing.assert_close(features[1:2], tower(images[1:2]), rtol=1e-4, atol=1e-6)
    assert not torch.allclose(features[0], features[1])


def test_the_pool_attends_as_torch_does() -> None:
    torch.manual_seed(0)
    pool = AttentionPool(4, 8, 2)
    reference = torch.nn.MultiheadAttention(8, 2, batch_first=True)
    with torch.no_grad():
        parts = (pool.query, pool.key, pool.value)
        reference.in_proj_weight.copy_(torch.cat([each.weight for each in parts]))
        reference.in_proj_bias.copy_(torch.cat([each.bias for each in parts]))
        reference.out_proj.weight.copy_(torch.eye(8))
        grid = torch.randn(2, 8, 2, 2)
        cells = grid.flatten(2).mT
        cells = torch.cat([cells.mean(1, keepdim=True), cells], dim=1) + pool.places
        expected, _ = reference(cells[:, :1], cells, cells)
        torch.testing.assert_close(pool(grid), expected[:, 0])


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"blocks": ()}, r"blocks is \[\]; expected at least 1 a stage"),
        ({"blocks": (1, 0)}, r"blocks is \[1, 0\]"),
        ({"blocks": (300,)}, "at most 256"),
        ({"width": 0}, "width is 0; expected at least 1"),
        ({"width": 3}, "width is 3; expected an even number"),
        ({"heads": 7}, "512 channels at the end to be a multiple of 7 heads"),
        ({"size": 24}, "size is 24; 3 stages need a multiple of 16"),
    ],
)
def test_sizes_that_make_no_tower_are_refused(values: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        ResNetConfig(**values)
