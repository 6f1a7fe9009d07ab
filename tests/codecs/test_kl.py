"""The continuous VAE: its divergence, its scale in the loss, and settings that are refused."""

from typing import Any

import pytest
import torch

from limner.codecs import create_autoencoder
from limner.codecs.kl import LOG_VARIANCE, normal_divergence
from limner.errors import ConfigError
from tests.codecs.tiny import SIZE, TINY


def build(**changes: Any) -> Any:
    torch.manual_seed(0)
    return create_autoencoder(TINY["kl"] | changes).eval()


def test_divergence_is_that_of_torch() -> None:
    mean, log_variance = torch.randn(2, 3, 4, 4), torch.randn(2, 3, 4, 4)
    ours = torch.distributions.Normal(mean, (log_variance / 2).exp())
    standard = torch.distributions.Normal(torch.zeros(()), torch.ones(()))
    wanted = torch.distributions.kl_divergence(ours, standard).sum((1, 2, 3))
    torch.testing.assert_close(normal_divergence(mean, log_variance), wanted)


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
