"""Morphing with models too small to draw: its ends, its evenness, what has no way."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from PIL import Image

from limner.errors import UsageError
from limner.nn.told import Told
from limner.pipelines.morph import (
    STEADY,
    End,
    _faded,
    _smooth,
    _told,
    changes,
    mixed_logits,
    morph_steps,
)
from limner.types import Request
from tests.tiny_clip import tiny_clip
from tests.tiny_gan import tiny_gan
from tests.tiny_model import SIZE, tiny_pipeline
from tests.tiny_unclip import tiny_unclip

APPLE, SKY = "a red apple", "three red apples under the night sky"
RED = Image.new("RGB", (20, 30), "red")
PIPELINES: dict[str, Callable[[], Any]] = {
    "dalle": tiny_pipeline,
    "gan": lambda: tiny_gan()[0],
    "gan-latent": lambda: tiny_gan("cells", latent=True)[0],
    "unclip": lambda: tiny_unclip()[0],
    "latent": lambda: tiny_unclip(latent=True)[0],
    "upsampled": lambda: tiny_unclip(upsampler="convolution")[0],
}


def frames_of(pipeline: Any, first: End, last: End, count: int = 7, seed: int = 3) -> torch.Tensor:
    steps = list(morph_steps(pipeline, first, last, seed, pipeline.defaults, count))
    assert [step.index for step in steps] == list(range(1, count + 1))
    assert steps[-1].images is not None
    return steps[-1].images


def drawn(pipeline: Any, prompt: str, seed: int = 3) -> torch.Tensor:
    *_, step = pipeline.stream(Request(prompt, seed=seed))
    return step.images


@pytest.mark.parametrize("kind", PIPELINES)
def test_a_morph_begins_and_ends_as_the_prompts_are_drawn(kind: str) -> None:
    pipeline = PIPELINES[kind]()
    images = frames_of(pipeline, End(APPLE), End(SKY))
    assert images.shape == (7, 3, pipeline.size, pipeline.size) and images.abs().max() <= 1
    torch.testing.assert_close(images[:1], drawn(pipeline, APPLE), atol=1e-5, rtol=0)
    torch.testing.assert_close(images[-1:], drawn(pipeline, SKY), atol=1e-5, rtol=0)
    again = frames_of(pipeline, End(APPLE), End(SKY))
    assert torch.equal(images, again)


@pytest.mark.parametrize("kind", PIPELINES)
def test_frames_between_are_near_one_another(kind: str) -> None:
    pipeline = PIPELINES[kind]()
    images = frames_of(pipeline, End(APPLE), End(SKY), count=24, seed=5)
    whole = float(changes(images[[0, -1]]))
    assert whole > 0
    assert float(changes(images).max()) < 0.6 * whole, "no frame makes the change alone"


@pytest.mark.parametrize("kind", ["dalle", "unclip", "latent"])
def test_a_picture_is_an_end(kind: str) -> None:
    pipeline = PIPELINES[kind]()
    images = frames_of(pipeline, End("", RED), End(APPLE), count=3)
    torch.testing.assert_close(images[-1:], drawn(pipeline, APPLE), atol=1e-5, rtol=0)
    if kind == "dalle":
        square = torch.tensor([1.0, -1, -1])[:, None, None].expand(1, 3, SIZE, SIZE)
        torch.testing.assert_close(images[:1], pipeline.codec.reconstruct(square))


def test_a_prior_that_draws_one_picture_at_a_time_morphs_between_its_two(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pipeline = tiny_pipeline()
    monkeypatch.setattr(type(pipeline.prior), "batch_rows", 1)
    images = frames_of(pipeline, End(APPLE), End(SKY), count=3)
    torch.testing.assert_close(images[:1], drawn(pipeline, APPLE), atol=1e-5, rtol=0)
    torch.testing.assert_close(images[-1:], drawn(pipeline, SKY), atol=1e-5, rtol=0)


def test_equal_ends_stand_still() -> None:
    pipeline = tiny_gan()[0]
    images = frames_of(pipeline, End(APPLE), End(APPLE), count=4)
    assert float(changes(images).max()) < 1e-5


def test_pictures_stand_where_the_change_is() -> None:
    def way(share: float) -> torch.Tensor:
        return torch.full((1, 3, 2, 2), share)

    found = {share: way(share) for share in (0.0, 0.01, 0.02, 0.03, 0.5, 1.0)}
    _smooth(way, found)
    shares = sorted(found)
    gaps = changes(torch.cat([found[share] for share in shares]))
    assert len(shares) == 6 and (shares[0], shares[-1]) == (0.0, 1.0)
    assert float(gaps.max()) <= STEADY * float(gaps.quantile(0.5)) + 1e-6


def test_logits_are_mixed_between_the_first_two_rows() -> None:
    logits = torch.tensor([[0.0, 4.0], [2.0, 0.0], [9.0, 9.0]])
    mixed = mixed_logits(0.25)(torch.zeros(3, 0), logits)
    assert torch.equal(mixed, torch.tensor([[0.5, 3.0]] * 3))


@pytest.mark.parametrize(
    ("pipeline", "first", "told"),
    [
        (lambda: tiny_gan()[0], End("", RED), "a GAN draws from words and cannot read one"),
        (lambda: tiny_clip(), End(APPLE), "a model of the family 'clip' cannot morph"),
    ],
)
def test_what_has_no_way_is_told(pipeline: Any, first: End, told: str) -> None:
    model = pipeline()
    with pytest.raises(UsageError, match=told):
        list(morph_steps(model, first, End(APPLE), 3, getattr(model, "defaults", None), 3))


def test_words_are_told_less_and_less_away_from_the_ends() -> None:
    ends = [Told(((1, 2),)), Told(((3, 4),))]
    said = [_told(ends, share)[0] for share in (0.0, 0.25, 0.5, 0.75, 1.0)]
    assert said[0] == ends[0] and said[-1] == ends[1]
    assert [each.things for each in said[1::2]] == [((1, 2),), ((3, 4),)]
    assert [each.weight for each in said] == [1.0, 0.25, 0.0, 0.25, 1.0]
    assert said[2].odds == 1.0 and 1 < said[1].odds < said[0].odds
    assert _told([], 0.5) == []


def test_where_pictures_jump_they_fade() -> None:
    values = torch.tensor([0.0, 0.01, 0.02, 0.9, 0.91, 0.92])
    pictures = values[:, None, None, None].expand(-1, 3, 4, 4).clone()
    found = _faded(pictures)
    assert torch.equal(found[0], pictures[0]) and torch.equal(found[-1], pictures[-1])
    gaps = changes(found)
    torch.testing.assert_close(gaps, torch.full_like(gaps, 0.92 / 5))
    even = torch.linspace(0, 1, 6)[:, None, None, None].expand(-1, 3, 4, 4)
    assert _faded(even) is even
    alike = torch.zeros(3, 3, 4, 4)
    assert torch.equal(_faded(alike), alike)
