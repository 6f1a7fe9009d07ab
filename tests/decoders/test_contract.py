"""What every decoder and upsampler promises; a registered one without a tiny config fails."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from limner.decoders import DECODERS, UPSAMPLERS, create_decoder, create_upsampler
from limner.errors import ConfigError, UsageError
from limner.sampling.diffusion import DIFFUSION_SAMPLERS, unit_noise
from limner.sampling.schedule import PREDICTIONS
from tests.decoders.tiny import (
    CONDITIONS,
    DECODERS_TINY,
    EMBEDDING,
    SIZE,
    TEXT_VOCABULARY,
    UPSAMPLERS_TINY,
)

every_upsampler = pytest.mark.parametrize("name", UPSAMPLERS)
every_decoder = pytest.mark.parametrize("name", DECODERS)
every_condition = pytest.mark.parametrize("condition", CONDITIONS)


def lively(module: nn.Module) -> Any:
    """Return a module whose every part speaks up."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return module.eval()


def decoder(name: str, condition: str = "both", **changes: Any) -> Any:
    torch.manual_seed(0)
    return lively(create_decoder({**DECODERS_TINY[name], **CONDITIONS[condition], **changes}))


def upsampler(name: str, **changes: Any) -> Any:
    torch.manual_seed(0)
    return lively(create_upsampler({**UPSAMPLERS_TINY[name], **changes}))


def told(condition: str, rows: int) -> dict[str, Tensor]:
    """Return what a decoder of so many conditions is told of `rows` pictures."""
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(1, TEXT_VOCABULARY, (rows, 5), generator=generator)
    ids[:, 0] = 0
    vectors = nn.functional.normalize(torch.randn(rows, EMBEDDING, generator=generator), dim=1)
    found = {}
    if condition in ("embedding", "both"):
        found["embedding"] = vectors
    if condition in ("text", "both"):
        found["text"] = ids
    return found


def noised(rows: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(2)
    return torch.randn(rows, 3, SIZE, SIZE, generator=generator), torch.arange(rows) * 100


def test_every_part_has_a_tiny_config() -> None:
    assert set(DECODERS_TINY) == set(DECODERS) and set(UPSAMPLERS_TINY) == set(UPSAMPLERS)


@every_decoder
@every_condition
@torch.no_grad()
def test_a_decoder_hears_what_it_is_told(name: str, condition: str) -> None:
    built = decoder(name, condition)
    x, times = noised(3)
    known = told(condition, 3)
    output = built(x, times, **known)
    assert output.shape == x.shape and output.dtype == torch.float32
    assert not torch.allclose(built(x, times + 1, **known), output)
    for key, value in known.items():
        other = built(x, times, **known | {key: value.flip(0)})
        assert not torch.allclose(other[0], output[0]), key
        torch.testing.assert_close(other[1], output[1])
        none = built(x, times, **known | {key: torch.zeros_like(value)})
        left_out = built(x, times, **{k: v for k, v in known.items() if k != key})
        torch.testing.assert_close(none, left_out)
        assert not torch.allclose(none, output)


@every_decoder
@torch.no_grad()
def test_padding_means_nothing(name: str) -> None:
    built = decoder(name, "text")
    x, times = noised(2)
    text = told("text", 2)["text"]
    longer = nn.functional.pad(text, (3, 0))
    torch.testing.assert_close(built(x, times, text=longer), built(x, times, text=text))
    changed = text.clone()
    changed[:, -1] = text[:, -1] % (TEXT_VOCABULARY - 1) + 1
    assert not torch.allclose(built(x, times, text=changed), built(x, times, text=text))


@every_decoder
@every_condition
@torch.no_grad()
def test_a_picture_does_not_depend_on_its_company(name: str, condition: str) -> None:
    built = decoder(name, condition)
    x, times = noised(4)
    known = told(condition, 4)
    together = built(x, times, **known)
    alone = built(x[2:3], times[2:3], **{key: value[2:3] for key, value in known.items()})
    torch.testing.assert_close(together[2:3], alone, atol=1e-5, rtol=1e-5)


@every_decoder
@every_condition
def test_gradients_reach_every_parameter(name: str, condition: str) -> None:
    built = decoder(name, condition).train()
    x, times = noised(4)
    known = {key: value.clone() for key, value in told(condition, 4).items()}
    for value in known.values():
        value[0] = 0
    built.loss(x, x.flip(0), times, **known).backward()
    for key, parameter in built.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, key


@every_decoder
@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_two_pictures_are_learnt_and_drawn_by_every_sampler(name: str, prediction: str) -> None:
    built = decoder(name, "embedding", prediction=prediction, times=50).train()
    generator = torch.Generator().manual_seed(0)
    images = torch.tensor([-0.6, 0.6]).view(2, 1, 1, 1).expand(2, 3, SIZE, SIZE).contiguous()
    vectors = told("embedding", 2)["embedding"]
    optimizer = torch.optim.AdamW(built.parameters(), lr=5e-3)
    losses = []
    for _ in range(60):
        times = torch.randint(50, (8,), generator=generator)
        noise = torch.randn(8, 3, SIZE, SIZE, generator=generator)
        loss = built.loss(images.repeat(4, 1, 1, 1), noise, times, embedding=vectors.repeat(4, 1))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-10:]) < 0.8 * sum(losses[:10])
    built.eval()
    for sampler in DIFFUSION_SAMPLERS.values():
        fresh = unit_noise([1, 2], (3, SIZE, SIZE))

        @torch.no_grad()
        def denoise(x: Tensor, time: int) -> Tensor:
            times = torch.full((2,), time)
            return built.process.start(x, built(x, times, embedding=vectors), times).clamp(-1, 1)

        *_, last = sampler(denoise, next(fresh), built.process.levels(10), fresh)
        low, high = last.x.mean((1, 2, 3)).tolist()
        # Noise at the noisiest times says least of the picture, and takes the longest to learn.
        assert last.x.isfinite().all() and (prediction == "noise" or high > low + 0.3)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"size": 18}, "size is 18; expected a multiple of 4"),
        ({"widths": []}, r"widths is \[\]; expected multiples of 4 x heads, 8"),
        ({"widths": [8, 12]}, r"widths is \[8, 12\]; expected multiples of 4 x heads, 8"),
        ({"embedding": -1}, "embedding is -1; expected at least 0"),
        ({"levels": [3]}, "levels are given, but the decoder 'unet' tells no values apart"),
        ({"schedule": "sine"}, "schedule is 'sine'; expected linear or cosine"),
        ({"text_vocabulary": 9, "text_encoder": {"name": "gpt"}}, "unknown text encoder 'gpt'"),
    ],
)
def test_a_decoder_that_cannot_be_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=f"decoder 'unet': {words}"):
        create_decoder(DECODERS_TINY["unet"] | changes)


@every_upsampler
@pytest.mark.parametrize("factor", [2, 4])
@torch.no_grad()
def test_pictures_are_enlarged(name: str, factor: int) -> None:
    built = upsampler(name, factor=factor)
    assert (built.size, built.small) == (SIZE, SIZE // factor)
    small = torch.rand(2, 3, built.small, built.small, generator=torch.Generator().manual_seed(0))
    large = list(built.stream(small, unit_noise([3, 4], (3, SIZE, SIZE)), steps=3))
    assert len(large) == (3 if built.stochastic else 1)
    assert large[-1].shape == (2, 3, SIZE, SIZE) and large[-1].abs().max() <= 1
    other = list(built.stream(small, unit_noise([3, 5], (3, SIZE, SIZE)), steps=3))[-1]
    assert torch.equal(other[1], large[-1][1]) != built.stochastic
    torch.testing.assert_close(other[0], large[-1][0])


@every_upsampler
def test_pictures_are_made_small_and_noised_by_what_is_told(name: str) -> None:
    built = upsampler(name, noise=0.5)
    images = torch.full((300, 3, SIZE, SIZE), 0.25)
    small, level = built.lessened(images, torch.Generator().manual_seed(0))
    assert small.shape == (300, 3, SIZE // 2, SIZE // 2) and level.shape == (300, 1, 1, 1)
    assert 0 <= level.min() < 0.05 and 0.45 < level.max() <= 0.5
    measured = (small - 0.25).flatten(1).std(1) / level.flatten()
    assert measured.mean().item() == pytest.approx(1, abs=0.02)
    again, _ = built.lessened(images, torch.Generator().manual_seed(0))
    assert torch.equal(again, small)


@every_upsampler
def test_one_picture_is_learnt_to_be_enlarged(name: str) -> None:
    built = upsampler(name, **({"times": 50} if name == "diffusion" else {})).train()
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(2, 3, 4, 4, generator=generator) * 2 - 1
    images = nn.functional.interpolate(coarse, (SIZE, SIZE))
    optimizer = torch.optim.AdamW(built.parameters(), lr=5e-3)
    losses = []
    for _ in range(60):
        loss = built.loss(images.repeat(2, 1, 1, 1), generator)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert all(parameter.grad is not None for parameter in built.parameters())
    assert sum(losses[-10:]) < 0.6 * sum(losses[:10])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"factor": 3}, "factor is 3; expected 2 or 4"),
        ({"size": 15}, "size is 15; expected a multiple of 2"),
        ({"noise": 1.5}, "noise is 1.5; expected 0 to 1"),
    ],
)
@every_upsampler
def test_an_upsampler_that_cannot_be_is_refused(
    name: str, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError, match=f"upsampler '{name}': {words}"):
        create_upsampler(UPSAMPLERS_TINY[name] | changes)


def test_steps_and_samplers_out_of_range_are_refused() -> None:
    built = upsampler("diffusion")
    small = torch.zeros(1, 3, built.small, built.small)
    for options, words in (
        ({"steps": 0}, "steps is 0; expected a whole number of 1 to 1000"),
        ({"sampler": "heun"}, "sampler is 'heun'; expected ddpm, ddim, euler, dpm_solver"),
    ):
        with pytest.raises(UsageError, match=words):
            list(built.stream(small, unit_noise([0], (3, SIZE, SIZE)), **options))
