"""What every generator and discriminator promises; a registered one without a tiny config fails."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from limner.errors import ConfigError
from limner.gan import DISCRIMINATORS, GENERATORS, create_discriminator, create_generator
from limner.gan.encoder import encoder_of
from limner.gan.generator import ModulatedConv
from limner.priors import create_prior
from tests.gan.tiny import DISCRIMINATORS_TINY, GENERATORS_TINY, SIZE, VOCABULARY

every_generator = pytest.mark.parametrize("name", GENERATORS)
every_discriminator = pytest.mark.parametrize("name", DISCRIMINATORS)


def lively(module: nn.Module) -> Any:
    """Return a module whose every part speaks up."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return module.eval()


def generator(name: str, **changes: Any) -> Any:
    torch.manual_seed(0)
    table = {**GENERATORS_TINY[name], "text_vocabulary": VOCABULARY, **changes}
    return lively(create_generator(table))


def discriminator(name: str, **changes: Any) -> Any:
    torch.manual_seed(0)
    table = {**DISCRIMINATORS_TINY[name], "text_vocabulary": VOCABULARY, **changes}
    return lively(create_discriminator(table))


def texts(rows: int) -> Tensor:
    ids = torch.randint(1, VOCABULARY, (rows, 5), generator=torch.Generator().manual_seed(1))
    ids[:, 0] = 0
    return ids


def chances(rows: int) -> tuple[Tensor, Tensor]:
    source = torch.Generator().manual_seed(2)
    return torch.randn(rows, 6, generator=source), torch.randn(rows, 5, generator=source)


def seen_by(judge: Any, rows: int) -> list[Tensor]:
    source = torch.Generator().manual_seed(3)
    if judge.sees == "pixels":
        return [torch.randn(rows, 3, SIZE, SIZE, generator=source)]
    return [torch.randn(rows, each, 4, 4, generator=source) for each in judge.config.map_channels]


def test_every_part_has_a_tiny_config() -> None:
    assert set(GENERATORS_TINY) == set(GENERATORS)
    assert set(DISCRIMINATORS_TINY) == set(DISCRIMINATORS)


@every_generator
@torch.no_grad()
def test_a_picture_depends_on_its_text_its_noise_and_nothing_else(name: str) -> None:
    built, ids, (noise, chance) = generator(name), texts(3), chances(3)
    drawn = built(ids, noise, chance)
    assert drawn.images.shape == (3, 3, SIZE, SIZE) and drawn.images.dtype == torch.float32
    assert drawn.condition.mean.shape == drawn.condition.log_variance.shape == (3, 5)
    for other in (
        built(ids.flip(0), noise, chance),
        built(ids, noise.flip(0), chance),
        built(ids, noise, chance.flip(0)),
    ):
        assert not torch.allclose(other.images[0], drawn.images[0])
    alone = built(ids[1:2], noise[1:2], chance[1:2])
    torch.testing.assert_close(alone.images, drawn.images[1:2], atol=1e-5, rtol=1e-5)
    longer = built(nn.functional.pad(ids, (3, 0)), noise, chance)
    torch.testing.assert_close(longer.images, drawn.images)


@every_generator
def test_the_condition_is_drawn_around_what_the_text_means(name: str) -> None:
    built, ids = generator(name), texts(2)
    noise, chance = chances(2)
    mean, log_variance = built(ids, noise, chance).condition[1:]
    expected = mean + torch.exp(log_variance / 2) * chance
    torch.testing.assert_close(built(ids, noise, chance).condition.drawn, expected)


@every_generator
def test_gradients_reach_every_parameter_of_a_generator(name: str) -> None:
    built = generator(name).train()
    drawn = built(texts(4), *chances(4))
    drawn.images.square().sum().backward()
    assert all(each.grad is not None and each.grad.abs().sum() > 0 for each in built.parameters())


@pytest.mark.parametrize("name", ["modulated", "cells"])
def test_a_latent_has_its_own_channels_and_bounds(name: str) -> None:
    built = generator(name, channels_drawn=6, bounded=True)
    drawn = built(texts(2), *chances(2)).images
    assert drawn.shape == (2, 6, SIZE, SIZE) and drawn.abs().max() <= 1
    judge, seen = discriminator("residual", channels_drawn=6), encoder_of(built.config)
    assert judge([drawn], texts(2)).shape == (2,)
    assert [each.shape for each in seen(drawn)] == [(2, 6), (2, 6)]


def test_cells_begin_as_a_prior_over_them() -> None:
    prior: Any = create_prior(
        {"name": "gpt", "text_vocabulary": VOCABULARY, "vocabulary": 9, "grid": [4, 4],
         "width": 16, "layers": 2, "heads": 2, "hidden": 16}
    )  # fmt: skip
    built = generator("cells", text_encoder={"name": "own", "layers": 0})
    built.begin_as(prior)
    assert torch.equal(built.cells.placed, prior.target)
    assert torch.equal(built.cells.transformer.norm.weight, prior.transformer.norm.weight)
    with pytest.raises(ConfigError, match=r"target of the prior that it is to begin as"):
        generator("cells", patch=2, text_encoder={"name": "own", "layers": 0}).begin_as(prior)


@every_discriminator
@pytest.mark.parametrize("spectral", [False, True])
def test_a_score_depends_on_the_picture_and_the_text(name: str, spectral: bool) -> None:
    judge, ids = discriminator(name, spectral=spectral), texts(3)
    seen = seen_by(judge, 3)
    looked = judge.look(seen)
    scores = judge.score(looked, judge.read(ids))
    assert scores.shape == (3,) and scores.dtype == torch.float32
    torch.testing.assert_close(judge(seen, ids), scores)
    assert not torch.allclose(judge.score(looked, judge.read(ids.flip(0)))[0], scores[0])
    assert not torch.allclose(judge([each.flip(0) for each in seen], ids)[0], scores[0])
    judge.train()(seen, ids).square().sum().backward()
    assert all(each.grad is not None and each.grad.abs().sum() > 0 for each in judge.parameters())


def test_a_batch_of_equal_pictures_is_seen_as_one() -> None:
    judge, ids = discriminator("residual"), texts(1).repeat(4, 1)
    varied = seen_by(judge, 4)[0]
    equal = varied[:1].repeat(4, 1, 1, 1)
    assert not torch.allclose(judge([varied], ids)[0], judge([equal], ids)[0])
    plain = discriminator("residual", deviation=False)
    torch.testing.assert_close(plain([varied], ids)[0], plain([equal], ids)[0])


def test_modulation_on_activations_is_that_on_weights() -> None:
    torch.manual_seed(0)
    layer = ModulatedConv(6, 5, 4)
    x, style = torch.randn(3, 6, 7, 7), torch.randn(3, 4)
    scales = layer.style(style)
    for row in range(3):
        weight = layer.weight * scales[row][None, :, None, None]  # equation 1
        weight = weight / (weight.square().sum((1, 2, 3), keepdim=True) + 1e-8).sqrt()  # equation 3
        expected = nn.functional.conv2d(x[row : row + 1], weight, layer.bias, padding=1)
        torch.testing.assert_close(layer(x, style)[row : row + 1], expected, atol=1e-5, rtol=1e-5)


def test_spectral_norm_bounds_the_gain() -> None:
    judge = discriminator("dcgan", spectral=True, batch_norm=False).train()
    for _ in range(30):
        judge(seen_by(judge, 2), texts(2))
    weight = judge.body[2].weight.flatten(1)
    assert float(torch.linalg.matrix_norm(weight.detach(), 2)) == pytest.approx(1.0, abs=0.02)


@every_discriminator
def test_spectral_norm_is_of_every_layer_but_the_text_encoder_s(name: str) -> None:
    """A linear layer or convolution that were left out would bound nothing."""
    judge = discriminator(name, spectral=True)
    layers = {
        name: is_parametrized(part, "weight")
        for name, part in judge.named_modules()
        if isinstance(part, nn.Linear | nn.Conv2d)
    }
    assert layers
    for layer, bounded in layers.items():
        assert bounded != layer.startswith("sentence."), layer


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("modulated", {"size": 32}, "2 channels with patch 2 make 16 pixels, but size is 32"),
        ("modulated", {"channels": [6, 8]}, "channels are .6, 8.; expected multiples of 4"),
        ("dcgan", {"noise": 0}, "noise is 0; expected at least 1"),
        ("dcgan", {"width": 18}, "width is 18 for 2 heads; expected a multiple of 4 x heads, as"),
        ("dcgan", {"patch": 2}, "has no setting 'patch'"),
        ("cells", {"patch": 3}, "size is 16; expected a multiple of the patch 3"),
        ("cells", {"local": 0}, "local is 0; expected at least 1"),
        ("dcgn", {}, "unknown generator 'dcgn'; did you mean 'dcgan'"),
    ],
)
def test_generators_that_cannot_be_are_refused(
    name: str, changes: dict[str, Any], words: str
) -> None:
    table = {**GENERATORS_TINY.get(name, {}), "name": name, "text_vocabulary": VOCABULARY}
    with pytest.raises(ConfigError, match=words):
        create_generator({**table, **changes})


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("residual", {"patch": 4}, "make 32 pixels, but size is 16"),
        ("clip", {"map_channels": []}, "map_channels are ..; expected at least one"),
        ("rezidual", {}, "did you mean 'residual'"),
    ],
)
def test_discriminators_that_cannot_be_are_refused(
    name: str, changes: dict[str, Any], words: str
) -> None:
    table = {**DISCRIMINATORS_TINY.get(name, {}), "name": name, "text_vocabulary": VOCABULARY}
    with pytest.raises(ConfigError, match=words):
        create_discriminator({**table, **changes})
