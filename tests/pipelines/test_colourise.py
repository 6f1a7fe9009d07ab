"""Colour for grey pictures: the light stays, the colours come from the model, edges are kept."""

import pytest
import torch
from PIL import Image
from torch import Tensor

from limner.errors import UsageError
from limner.images import to_tensor
from limner.pipelines.colourise import (
    along_edges,
    fitted,
    light_of,
    painted,
    stream_colours,
    with_light,
)
from limner.types import Request, Sampling
from tests.tiny_gan import tiny_gan
from tests.tiny_unclip import tiny_unclip

STEPS = Sampling(steps=3)


def random_images(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(3)) * 2 - 1


def test_light_is_kept_and_colours_fit_into_the_range() -> None:
    images, light = random_images(2, 3, 8, 8), random_images(2, 1, 8, 8).roll(1, 2)
    found = with_light(images, light)
    torch.testing.assert_close(light_of(found), light, atol=1e-5, rtol=0)
    assert float(found.abs().max()) <= 1 + 1e-5
    torch.testing.assert_close(with_light(images, light_of(images)), images, atol=1e-5, rtol=0)
    white = with_light(images, torch.ones(2, 1, 8, 8))
    torch.testing.assert_close(white, torch.ones(2, 3, 8, 8))


def test_colour_stops_where_the_light_changes() -> None:
    light = torch.full((1, 1, 64, 64), -0.5)
    light[..., 32:] = 0.5
    colour = torch.zeros(1, 3, 64, 64)
    colour[:, 0, :, :33] = 0.4  # a pixel too far
    sharp = along_edges(colour, light, light)[0, 0, 20]
    assert float(sharp[31]) > 0.3 and float(sharp[32]) < 0.2
    assert float(sharp[10]) == pytest.approx(0.4, abs=1e-3) and abs(float(sharp[50])) < 1e-3
    large = light.repeat_interleave(4, 2).repeat_interleave(4, 3)
    finer = along_edges(colour, light, large)[0, 0, 80]
    assert len(finer) == 256 and float(finer[127]) > 0.3 and float(finer[128]) < 0.25


@pytest.mark.parametrize("latent", [False, True])
@pytest.mark.parametrize("prompt", ["", "a red apple"])
def test_pictures_of_any_shape_keep_their_light(latent: bool, prompt: str) -> None:
    pipeline, _ = tiny_unclip(latent=latent)
    grey = Image.effect_noise((40, 26), 50).convert("RGB")
    request = Request(prompt, n=2, seed=5, image=grey, sampling=STEPS)
    steps = list(stream_colours(pipeline, request))
    assert [each.index for each in steps] == list(range(1, 7))
    images = steps[-1].images
    assert images is not None and images.shape == (2, 3, 26, 40)
    wanted = light_of(to_tensor([grey])).expand(2, -1, -1, -1)
    torch.testing.assert_close(light_of(images), wanted, atol=1e-5, rtol=0)
    assert not torch.equal(images[0], images[1]), "each seed has its own colours"
    alone = list(stream_colours(pipeline, Request(prompt, seed=6, image=grey, sampling=STEPS)))
    assert torch.equal(alone[-1].images[0], images[1])  # type: ignore[index]
    assert all(each.images.shape[-1] == pipeline.small for each in steps[:-1])  # type: ignore[union-attr]


def test_a_latent_is_moved_towards_the_light() -> None:
    pipeline, _ = tiny_unclip(latent=True)
    grey = Image.new("RGB", (16, 16), (128, 128, 128))
    drawn = next(stream_colours(pipeline, Request("", seed=5, image=grey, sampling=STEPS)))
    assert drawn.images is not None
    torch.testing.assert_close(
        light_of(drawn.images), light_of(to_tensor([grey])), atol=1e-5, rtol=0
    )
    latent = random_images(1, 2, 2, 2)
    light = light_of(painted(pipeline, -latent)).detach()

    @torch.no_grad()
    def error(found: Tensor) -> float:
        return float((light_of(painted(pipeline, found)) - light).square().sum())

    before = error(latent)
    with torch.inference_mode():
        after = fitted(pipeline, latent, light, 20)
    assert error(after) < 0.5 * before


def test_other_families_are_refused() -> None:
    pipeline, _ = tiny_gan()
    request = Request("", image=Image.new("RGB", (8, 8)))
    with pytest.raises(UsageError, match="'gan' gives no colour to a picture; colourise with"):
        next(stream_colours(pipeline, request))
