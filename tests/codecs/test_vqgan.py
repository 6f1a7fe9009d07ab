"""The VQGAN: attention where the grid is coarsest, and unit codes of few dimensions."""

import pytest
import torch

from limner.codecs import create_codec
from limner.codecs.vqgan import VQGANConfig
from limner.nn.conv import SpatialAttention
from tests.codecs.tiny import TINY


@torch.no_grad()
def test_codes_are_unit_vectors_of_few_dimensions() -> None:
    config = VQGANConfig()
    assert (config.dimensions, config.normalised, config.update) == (8, True, "gradient")
    codec = create_codec(TINY["vqgan"]).eval()
    vectors = codec.embed(torch.arange(24).view(1, 4, 6))
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(1, 4, 6))


@torch.no_grad()
def test_every_cell_sees_the_whole_picture_only_with_attention(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Group norms share statistics over the picture; without them only attention reaches far.
    monkeypatch.setattr(torch.nn.GroupNorm, "forward", lambda module, x: x)
    images = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    changed = images.clone()
    changed[..., -8:, -8:] *= -1
    for name, sees in (("vqvae", False), ("vqgan", True)):
        torch.manual_seed(0)
        codec = create_codec(TINY[name])
        found = sum(isinstance(each, SpatialAttention) for each in codec.modules())
        assert found == (2 if sees else 0)
        moved = (codec.encoder(images) - codec.encoder(changed)).abs().sum(1)[0]
        assert moved[3, 3] > 0
        assert (float(moved[0, 0]) > 0) == sees
