"""The decoder of cells that tells the values of finite scalars apart."""

from typing import Any

import pytest
import torch
from torch import nn

from limner.codecs.quantize import FiniteScalar
from limner.decoders import create_decoder
from limner.errors import ConfigError
from limner.priors import create_prior
from limner.sampling.diffusion import dpm_solver, unit_noise
from tests.decoders.tiny import DECODERS_TINY

SIDE, LEVELS = 2, [4, 3]
CHANNELS = 2 * len(LEVELS)  # two codes a cell


def decoder(**changes: Any) -> Any:
    torch.manual_seed(0)
    sizes = {"size": SIDE, "channels": CHANNELS, "patch": 1, "levels": LEVELS}
    return create_decoder({**DECODERS_TINY["cells"], **sizes, **changes})


def latents(codes: torch.Tensor) -> torch.Tensor:
    """Return latents (B, C, 2, 2) of codes (B, 2, 2, 2)."""
    quantizer = FiniteScalar(LEVELS)
    return torch.cat([quantizer.embed(each) for each in codes.unbind(-1)], dim=1)


def test_two_latents_are_learnt_and_drawn_to_the_last_value() -> None:
    built = decoder(embedding=2, times=50)
    codes = torch.randint(12, (2, SIDE, SIDE, 2), generator=torch.Generator().manual_seed(1))
    start, vectors = latents(codes), torch.eye(2)
    generator, losses = torch.Generator().manual_seed(0), []
    optimizer = torch.optim.AdamW(built.parameters(), lr=1e-2)
    for _ in range(150):
        times = torch.randint(50, (16,), generator=generator)
        noise = torch.randn(16, CHANNELS, SIDE, SIDE, generator=generator)
        rows = torch.arange(16) % 2
        loss = built.loss(start[rows], noise, times, embedding=vectors[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    built.eval()
    fresh = unit_noise([1, 2], (CHANNELS, SIDE, SIDE))

    @torch.no_grad()
    def denoise(x: torch.Tensor, time: int) -> torch.Tensor:
        drawn: torch.Tensor = built(x, torch.full((2,), time), embedding=vectors)
        return drawn

    *_, last = dpm_solver(denoise, next(fresh), built.process.levels(10), fresh)
    assert losses[0] > 1.0 and sum(losses[-10:]) / 10 < 0.2  # ln 4 and ln 3 are chance
    torch.testing.assert_close(last.x, start, atol=0.1, rtol=0)


def test_what_is_expected_lies_among_the_values() -> None:
    built = decoder()
    nn.init.normal_(built.out.weight)
    drawn = built(torch.randn(3, CHANNELS, SIDE, SIDE) * 9, torch.tensor([0, 500, 999]))
    assert drawn.shape == (3, CHANNELS, SIDE, SIDE) and drawn.dtype == torch.float32
    assert drawn.min() >= -1 and drawn[:, 0::2].max() <= 0.5 and drawn[:, 1::2].max() <= 1


def test_it_begins_with_what_tells_digits_apart_in_a_prior() -> None:
    prior: Any = create_prior(
        {
            "name": "gpt", "text_vocabulary": 20, "vocabulary": 12, "levels": LEVELS, "groups": 2,
            "grid": [SIDE, SIDE], "width": 16, "layers": 2, "heads": 2, "hidden": 24,
        }
    )  # fmt: skip
    built = decoder()
    built.begin_as(prior)
    rows = built.out.weight.view(CHANNELS, 4, 16)
    digits = prior.head.table.by_digit
    assert torch.equal(rows[0], digits[0, :4]) and torch.equal(rows[1, :3], digits[0, 4:])
    assert torch.equal(rows[2], digits[1, :4]) and not rows[1, 3].any()


def test_the_embedding_stands_among_the_words() -> None:
    built = decoder(embedding=2, text_vocabulary=20, tokens=3).eval()
    nn.init.normal_(built.out.weight)
    for part in (built.whole, built.local):  # what is left is what the tokens say
        nn.init.zeros_(part.weight)
    x, times, vectors = torch.randn(2, CHANNELS, SIDE, SIDE), torch.tensor([5, 5]), torch.eye(2)
    text = torch.tensor([[0, 0, 3, 4], [0, 0, 3, 4]])
    drawn = built(x, times, embedding=vectors, text=text)
    assert not torch.allclose(built(x, times, embedding=vectors.flip(0), text=text), drawn)
    longer = torch.nn.functional.pad(text, (3, 0))
    torch.testing.assert_close(built(x, times, embedding=vectors, text=longer), drawn)
    assert built(x, times).shape == drawn.shape  # neither is told


def test_a_decoder_goes_on_from_another_without_tokens() -> None:
    trained, built = decoder(embedding=2), decoder(embedding=2, tokens=3)
    for parameter in trained.parameters():
        nn.init.normal_(parameter)
    built.begin_as(trained)
    held = trained.state_dict()
    assert set(built.state_dict()) - set(held) == {"tokens.weight", "tokens.bias"}
    assert all(torch.equal(built.state_dict()[name], value) for name, value in held.items())
    for other in (decoder(embedding=2, width=32), decoder(embedding=2, tokens=2)):
        with pytest.raises(ConfigError, match="begin as has other sizes"):
            built.begin_as(other)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"levels": [4, 3, 2]}, r"levels is \[4, 3, 2\], and 4 channels are drawn"),
        ({"levels": [4, 1]}, "each of 2 at least"),
        ({"patch": 2}, "levels are given with patch 2; values"),
        ({"prediction": "v"}, "levels are given with prediction 'v'"),
    ],
)
def test_levels_that_cannot_be_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        decoder(**changes)
