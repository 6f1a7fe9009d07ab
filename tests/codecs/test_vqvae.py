"""The VQ-VAE and the VQGAN: stages, attention, their quantisers' codes, wrong settings told."""

from typing import Any

import pytest
import torch

from limner.codecs import create_codec
from limner.codecs.vqvae import VQGANConfig
from limner.errors import ConfigError
from limner.nn.conv import SpatialAttention
from tests.codecs.tiny import TINY


def build(**changes: Any) -> Any:
    torch.manual_seed(0)
    return create_codec(TINY["vqvae"] | changes)


@pytest.mark.parametrize("stages", [1, 2, 4])
def test_each_stage_halves_the_grid(stages: int) -> None:
    shape: dict[str, Any] = {}
    for part in ("encoder", "decoder"):
        shape |= {f"{part}_channels": [8] * stages, f"{part}_blocks": [0] * stages}
    codec = build(**shape)
    side = 32 // 2**stages
    assert codec.maps == ((side, side),) and codec.vocabulary == 24
    codes = codec.encode(torch.zeros(2, 3, 32, 32))
    assert codes.shape == (2, side, side)
    assert codec.decode(codes).shape == (2, 3, 32, 32)


@torch.no_grad()
def test_codes_are_the_nearest_vectors_to_the_encoder_s() -> None:
    codec, images = build().eval(), torch.rand(2, 3, 32, 32) * 2 - 1
    z = codec.encoder(images)
    distances = (z[:, :, None] - codec.quantizer.codebook.T[None, :, :, None, None]).square().sum(1)
    assert torch.equal(codec.encode(images), distances.argmin(1))
    assert codec.embed(codec.encode(images)).shape == z.shape


def test_a_forward_pass_in_training_learns_the_codebook_and_encoding_does_not() -> None:
    codec, images = build().train(), torch.rand(2, 3, 32, 32) * 2 - 1
    before = codec.quantizer.codebook.clone()
    codec.encode(images)
    assert torch.equal(codec.quantizer.codebook, before)
    codec(images)
    assert not torch.equal(codec.quantizer.codebook, before)


@pytest.mark.parametrize(
    "options",
    [
        {"update": "gradient", "start": "random", "reset": 0.0},
        {"update": "gradient", "start": "kmeans", "normalised": True, "gradient": "rotation"},
        {"update": "ema", "gradient": "rotation"},
        {"update": "ema", "start": "random", "normalised": True},
    ],
)
def test_every_way_of_learning_learns(options: dict[str, Any]) -> None:
    codec = build(**options).train()
    coarse = torch.rand(4, 3, 4, 4, generator=torch.Generator().manual_seed(0)) * 2 - 1
    images = coarse.repeat_interleave(8, 2).repeat_interleave(8, 3)
    optimizer = torch.optim.Adam(codec.parameters(), lr=1e-2)
    losses = []
    for _ in range(40):
        output, _, auxiliary = codec(images)
        reconstruction = (output - images).square().mean()
        optimizer.zero_grad()
        (reconstruction + auxiliary).backward()
        optimizer.step()
        losses.append(float(reconstruction.detach()))
    assert losses[-1] < 0.4 * losses[0]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"codebook": 1}, "codebook is 1; expected 2 to 16777216"),
        ({"codebook": 2**24 + 1}, "codebook is 16777217; expected 2 to 16777216"),
        ({"dimensions": 0}, "dimensions is 0; expected at least 1"),
        ({"update": "sgd"}, "update is 'sgd'; expected gradient or ema"),
        ({"decay": 1}, "decay is 1; expected a number of at least 0 and below 1"),
        ({"size": 36}, "size is 36; expected a multiple of 8, at least 16"),
        ({"encoder_channels": []}, r"encoder_channels is \[\]; expected 1 numbers"),
        ({"codebook": [24]}, "codebook is .*; expected an int"),
    ],
)
def test_wrong_settings_are_told(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=f"codec 'vqvae': {words}"):
        build(**changes)


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
