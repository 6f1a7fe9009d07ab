"""The continuous VAE: its scale in the loss and of its latents, and settings that are refused."""

from typing import Any

import pytest
import torch

from limner.codecs import create_autoencoder
from limner.codecs.kl import LOG_VARIANCE
from limner.errors import ConfigError
from limner.nn.gaussian import normal_divergence
from tests.codecs.tiny import SIZE, TINY


def build(**changes: Any) -> Any:
    torch.manual_seed(0)
    return create_autoencoder(TINY["kl"] | changes).eval()


@torch.no_grad()
def test_the_auxiliary_loss_is_a_share_of_each_pixel_value() -> None:
    codec, images = build(kl_weight=0.5), torch.rand(2, 3, SIZE, SIZE) * 2 - 1
    wanted = 0.5 * normal_divergence(*codec.latent(images)).mean() / (3 * SIZE * SIZE)
    torch.testing.assert_close(codec(images)[2], wanted)


@torch.no_grad()
def test_a_wild_log_variance_is_bounded() -> None:
    codec = build()
    codec.encoder.head[2].weight.mul_(1e6)
    _, log_variance = codec.latent(torch.rand(2, 3, SIZE, SIZE))
    assert (log_variance.min(), log_variance.max()) == LOG_VARIANCE
    assert codec.train()(torch.rand(2, 3, SIZE, SIZE))[2].isfinite()


@torch.no_grad()
def test_latents_are_about_as_large_as_noise() -> None:
    codec, images = build().train(), torch.rand(8, 3, SIZE, SIZE) * 2 - 1
    codec.encoder.head[2].weight.mul_(30)
    for _ in range(60):
        codec(images)
    latents = codec.eval().encode(images)
    assert float(latents.std()) == pytest.approx(1, rel=0.05)
    torch.testing.assert_close(latents * codec.deviation, codec.latent(images)[0])
    assert torch.equal(codec.decode(codec.nearest(codec.embed(latents))), codec.reconstruct(images))


@torch.no_grad()
def test_a_file_that_does_not_say_the_deviation_is_read() -> None:
    codec, other = build(), build()
    state = {key: value for key, value in codec.state_dict().items() if key != "deviation"}
    other.deviation.fill_(3)
    other.load_state_dict(state)
    assert other.deviation == 1


def test_two_halvings_keep_a_finer_latent() -> None:
    stages = {"encoder_channels": [8, 8], "decoder_channels": [8, 8]}
    codec = build(**stages, encoder_blocks=[0, 0], decoder_blocks=[0, 0])
    assert codec.grid == (8, 8)
    assert codec.latent(torch.zeros(1, 3, SIZE, SIZE))[0].shape == (1, 3, 8, 8)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"channels": 0}, "channels is 0; expected at least 1"),
        ({"kl_weight": -1e-6}, "kl_weight is -1e-06; expected at least 0"),
        ({"kl_weight": float("nan")}, "kl_weight is nan; expected at least 0"),
        ({"size": 8}, "size is 8; expected a multiple of 8, at least 16"),
    ],
)
def test_wrong_settings_are_told(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=f"codec 'kl': .*{words}"):
        build(**changes)
