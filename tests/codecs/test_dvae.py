"""The discrete VAE: schedules, the divergence, the relaxation and the mapping of pixels."""

from math import log
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from limner.codecs import create_codec
from limner.codecs.dvae import anneal, map_pixels, uniform_divergence, unmap_pixels
from limner.errors import ConfigError
from tests.codecs.tiny import SIZE, TINY

CONFIG = TINY["dvae"]


def build(**changes: Any) -> Any:
    torch.manual_seed(0)
    return create_codec(CONFIG | changes)


@given(st.floats(0, 1), st.floats(-3, 3), st.floats(-3, 3))
def test_a_schedule_stays_between_its_ends(share: float, start: float, end: float) -> None:
    low, high = sorted((start, end))
    assert low - 1e-9 <= anneal(share, start, end) <= high + 1e-9
    assert anneal(0, start, end) == pytest.approx(start)
    assert anneal(1 + share, start, end) == pytest.approx(end)
    assert anneal(0.5, start, end) == pytest.approx((start + end) / 2)


def test_temperature_falls_and_the_divergence_gains_weight() -> None:
    codec = build(temperature=0.1, temperature_until=0.5, kl_weight=2.0, kl_until=0.2)
    assert (codec.temperature, codec.kl_weight) == (1, 0)
    seen = []
    for share in (0.0, 0.1, 0.2, 0.5, 1.0):
        codec.advance(share)
        seen.append((codec.temperature, codec.kl_weight))
    temperatures, weights = zip(*seen, strict=True)
    assert list(temperatures) == sorted(temperatures, reverse=True)
    assert list(weights) == sorted(weights)
    assert temperatures[3:] == pytest.approx((0.1, 0.1)) and weights[2:] == pytest.approx((2, 2, 2))
    assert weights[1] == pytest.approx(1)
    codec.advance(0.0)
    assert (codec.temperature, codec.kl_weight) == seen[0], "a schedule has no memory"


def test_divergence_of_even_and_of_certain_codes() -> None:
    even = torch.full((2, 8, 3, 3), 0.7)
    assert uniform_divergence(even).tolist() == pytest.approx([0, 0], abs=1e-5)
    certain = torch.zeros(1, 8, 3, 3)
    certain[:, 5] = 1e4
    assert uniform_divergence(certain).item() == pytest.approx(9 * log(8), rel=1e-5)


def test_divergence_is_that_of_torch() -> None:
    logits = torch.randn(3, 7, 2, 2)
    ours = torch.distributions.Categorical(logits=logits.movedim(1, -1))
    uniform = torch.distributions.Categorical(logits=torch.zeros(3, 2, 2, 7))
    wanted = torch.distributions.kl_divergence(ours, uniform).sum((1, 2))
    torch.testing.assert_close(uniform_divergence(logits), wanted)


@torch.no_grad()
def test_the_auxiliary_loss_is_beta_over_192_of_a_cell() -> None:
    """The paper divides by the number of pixel values: a cell of 8 x 8 pixels has 192."""
    codec = build().eval()
    codec.advance(1.0)
    images = torch.rand(2, 3, SIZE, SIZE) * 2 - 1
    a_cell = uniform_divergence(codec.encoder(images)).mean() / 16
    torch.testing.assert_close(codec(images)[2], 6.6 / 192 * a_cell)


@torch.no_grad()
def test_a_cold_mixture_is_one_vector_of_the_codebook() -> None:
    codec = build().train()
    codec.temperature = 1e-3
    given_vectors = []
    codec.decoder.register_forward_pre_hook(lambda _, inputs: given_vectors.append(inputs[0]))
    codec(torch.rand(1, 3, SIZE, SIZE))
    vectors = given_vectors[0].permute(0, 2, 3, 1).reshape(-1, CONFIG["dimensions"])
    assert torch.cdist(vectors, codec.codebook.weight).min(1).values.max() < 1e-3


@torch.no_grad()
def test_cold_mixtures_follow_the_logits() -> None:
    """The Gumbel maximum is a draw from the categorical distribution of the cell."""
    codec = build(vocabulary=3, dimensions=3).train()
    codec.temperature = 1e-3
    codec.codebook.weight.copy_(torch.eye(3))
    chosen = []
    codec.decoder.register_forward_pre_hook(lambda _, inputs: chosen.append(inputs[0].argmax(1)))
    image = torch.rand(1, 3, SIZE, SIZE)
    codec(image.expand(500, -1, -1, -1))
    shares = torch.nn.functional.one_hot(chosen[0], 3).float().mean(0)
    torch.testing.assert_close(
        shares, codec.encoder(image).softmax(1)[0].permute(1, 2, 0), atol=0.08, rtol=0
    )


@given(st.floats(-1, 1))
def test_pixels_map_within_the_margin_and_back(pixel: float) -> None:
    value = map_pixels(torch.tensor(pixel))
    assert 0.1 - 1e-6 <= value <= 0.9 + 1e-6
    assert unmap_pixels(value).item() == pytest.approx(pixel, abs=1e-5)


def test_pixels_map_as_in_the_paper() -> None:
    """x in [0, 255] becomes (1 - 2 epsilon) / 255 x + epsilon."""
    levels = torch.arange(256.0)
    torch.testing.assert_close(map_pixels(levels / 127.5 - 1), 0.8 / 255 * levels + 0.1)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"vocabulary": 1}, "vocabulary is 1; expected 2 to 65536"),
        ({"dimensions": 0}, "dimensions is 0; expected at least 1"),
        ({"temperature": 0.0}, "temperature is 0; expected above 0 and at most 1"),
        ({"temperature": 2}, "temperature is 2; expected above 0 and at most 1"),
        ({"temperature_until": 0.0}, "temperature_until is 0; expected a share of the training"),
        ({"kl_until": 1.5}, "kl_until is 1.5; expected a share of the training"),
        ({"kl_weight": -1.0}, "kl_weight is -1; expected at least 0"),
        ({"size": 20}, "size is 20; expected a multiple of 8, at least 16"),
        ({"encoder_channels": []}, r"encoder_channels is \[\]; expected 1 numbers"),
        ({"decoder_channels": [8, 8]}, r"decoder_channels is \[8, 8\]; expected 3 numbers"),
    ],
)
def test_wrong_settings_are_told(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=f"codec 'dvae': .*{words}"):
        build(**changes)


def test_fewer_stages_make_a_finer_grid() -> None:
    stages = {"encoder_channels": [8, 8], "decoder_channels": [8, 8]}
    codec = build(**stages, encoder_blocks=[0, 0], decoder_blocks=[0, 0])
    assert codec.grid == (8, 8) and codec.encode(torch.zeros(1, 3, SIZE, SIZE)).shape == (1, 8, 8)


@torch.no_grad()
def test_the_first_logits_know_the_codebook() -> None:
    """The mean vector of a cell's mixture follows the picture before anything is learnt."""
    codec = build(vocabulary=512, dimensions=4)
    vectors = codec.codebook.weight
    torch.testing.assert_close(vectors.norm(dim=1), torch.full((512,), 2.0))
    logits = codec.encoder(torch.rand(8, 3, SIZE, SIZE) * 2 - 1).permute(0, 2, 3, 1).flatten(0, 2)
    solution = torch.linalg.lstsq(vectors, logits.T).solution
    torch.testing.assert_close(vectors @ solution, logits.T, atol=1e-3, rtol=1e-3)
    assert len(logits.argmax(1).unique()) > 20
