"""Token sampling: what is kept, how guidance pushes, and that choices follow the distribution."""

import math
from dataclasses import fields

import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from limner.sampling.tokens import (
    SAMPLERS,
    TokenSampling,
    choose,
    guidance_at,
    guide,
    keep_min_p,
    keep_top_p,
    keep_typical,
    probabilities,
    softmax,
)

SEEDS = st.integers(0, 10**6)
SHARES = st.floats(0.01, 0.99)


def logits_of(seed: int, rows: int = 3, vocabulary: int = 17) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, vocabulary, generator=generator, dtype=torch.float64) * 3


def kept(logits: Tensor) -> Tensor:
    return logits > -math.inf


def keep_top_k(logits: Tensor, k: int) -> Tensor:
    """Return logits with all but the k largest ruled out, by definition; no two are equal."""
    return logits.masked_fill(logits.argsort(-1).argsort(-1) < logits.shape[-1] - k, -math.inf)


@settings(max_examples=50, deadline=None)
@given(SEEDS, st.integers(1, 16))
def test_top_k_keeps_the_k_largest(seed: int, k: int) -> None:
    logits = logits_of(seed)
    found = probabilities(logits, TokenSampling(top_k=k))
    torch.testing.assert_close(found, keep_top_k(logits, k).softmax(-1))
    assert ((found > 0).sum(-1) == k).all()


@pytest.mark.parametrize("k", [0, 17, 99])
def test_top_k_of_none_or_all_keeps_all(k: int) -> None:
    found = probabilities(logits_of(0), TokenSampling(top_k=k))
    torch.testing.assert_close(found, logits_of(0).softmax(-1), rtol=1e-14, atol=0)


@settings(max_examples=50, deadline=None)
@given(SEEDS)
def test_probabilities_are_those_of_torch(seed: int) -> None:
    logits = logits_of(seed)
    logits[:, ::3] = -math.inf
    found = softmax(logits)
    torch.testing.assert_close(found, logits.softmax(-1), rtol=1e-14, atol=0)
    assert (found[:, ::3] == 0).all()


@settings(max_examples=50, deadline=None)
@given(SEEDS, SHARES)
def test_top_p_keeps_the_smallest_set_that_reaches_p(seed: int, p: float) -> None:
    logits = logits_of(seed)
    found = kept(keep_top_p(logits, p))
    chances = logits.softmax(-1)
    for row, mask in zip(chances, found, strict=True):
        assert row[mask].sum() >= p - 1e-9
        assert row[mask].sum() - row[mask].min() < p + 1e-9
        assert mask.all() or row[mask].min() >= row[~mask].max()


def test_top_p_of_one_keeps_all_and_a_tiny_one_keeps_the_best() -> None:
    logits = logits_of(1)
    assert torch.equal(keep_top_p(logits, 1.0), logits)
    best = kept(keep_top_p(logits, 1e-9))
    assert (best.sum(-1) == 1).all()
    assert torch.equal(best.int().argmax(-1), logits.argmax(-1))


@settings(max_examples=50, deadline=None)
@given(SEEDS, SHARES)
def test_min_p_keeps_what_is_likely_beside_the_best(seed: int, share: float) -> None:
    logits = logits_of(seed)
    chances = logits.softmax(-1)
    wanted = chances >= share * chances.amax(-1, keepdim=True) * (1 - 1e-12)
    assert torch.equal(kept(keep_min_p(logits, share)), wanted)


def test_min_p_of_zero_keeps_all() -> None:
    assert torch.equal(keep_min_p(logits_of(2), 0.0), logits_of(2))


@settings(max_examples=30, deadline=None)
@given(SEEDS, st.floats(-4, 8), st.floats(-4, 8))
def test_guidance_is_linear(seed: int, one: float, other: float) -> None:
    with_text, without = logits_of(seed), logits_of(seed + 1)
    middle = (guide(with_text, without, one) + guide(with_text, without, other)) / 2
    assert torch.allclose(guide(with_text, without, (one + other) / 2), middle)
    assert torch.equal(guide(with_text, without, 0.0), with_text)
    assert torch.allclose(guide(with_text, without, -1.0), without)


@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine"])
def test_schedules_end_at_the_scale_and_never_fall(schedule: str) -> None:
    scales = [guidance_at(schedule, 3.0, step, 64) for step in range(64)]
    assert scales[-1] == pytest.approx(3.0)
    assert scales == sorted(scales)
    assert (scales[0] == 3.0) == (schedule == "constant")
    assert 0 < scales[0] <= 3.0


def test_a_ramp_rises_from_none_to_all_as_in_var() -> None:
    assert [guidance_at("ramp", 3.0, step, 4) for step in range(4)] == [0.0, 1.0, 2.0, 3.0]
    assert guidance_at("ramp", 3.0, 0, 1) == 0.0


def test_an_interval_guides_the_middle_alone() -> None:
    scales = [guidance_at("interval", 3.0, step, 64) for step in range(64)]
    assert scales == [0.0] * 8 + [3.0] * 40 + [0.0] * 16


@settings(max_examples=50, deadline=None)
@given(SEEDS, st.integers(1, 16), st.floats(0, 0.9), SHARES)
def test_choosing_among_k_is_choosing_with_the_others_ruled_out(
    seed: int, k: int, least: float, p: float
) -> None:
    logits = logits_of(seed)
    uniforms = torch.rand(3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    found = choose(logits, TokenSampling(0.7, k, p, least), uniforms)
    ruled_out = keep_top_k(logits, k)
    assert torch.equal(found, choose(ruled_out, TokenSampling(0.7, 0, p, least), uniforms))


def test_choices_follow_the_distribution() -> None:
    row = torch.tensor([2.0, 0.0, -1.0, 1.0, 0.5, -9.0])
    sampling = TokenSampling(temperature=0.8, top_k=5)
    count = 20_000
    uniforms = torch.rand(count, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    chosen = choose(row.expand(count, -1), sampling, uniforms)
    expected = keep_top_k(row.double() / 0.8, 5).softmax(-1) * count
    found = torch.bincount(chosen, minlength=6).double()
    assert found[5] == 0
    chi_square = ((found - expected).square() / expected)[:5].sum()
    assert chi_square < 18.47  # 4 degrees of freedom, p = 0.001


@settings(max_examples=50, deadline=None)
@given(SEEDS, st.floats(0.05, 0.99))
def test_typical_keeps_what_transformers_keeps(seed: int, share: float) -> None:
    logits = logits_of(seed)
    wanted = transformers.TypicalLogitsWarper(share)(None, logits)
    assert torch.equal(keep_typical(logits, share), wanted)


def test_typical_drops_the_likeliest_when_it_surprises_too_little() -> None:
    chances = torch.tensor([[0.4, 0.15, 0.15, 0.15, 0.15]])
    assert kept(keep_typical(chances.log(), 0.3)).tolist() == [[False, True, True, False, False]]
    assert kept(keep_typical(chances.log(), 1e-9)).sum() == 1
    assert torch.equal(keep_typical(chances.log(), 1.0), chances.log())


def test_typical_takes_what_is_cut_for_impossible() -> None:
    logits = keep_top_k(logits_of(3), 2)
    assert torch.equal(keep_typical(logits, 0.999), logits)
    assert choose(logits, TokenSampling(typical_p=0.01), torch.full((3,), 0.5)).shape == (3,)


def test_every_setting_of_sampling_has_its_line() -> None:
    assert list(SAMPLERS) == [field.name for field in fields(TokenSampling)]


@settings(max_examples=50, deadline=None)
@given(SEEDS, st.integers(0, 17), SHARES, st.floats(0, 0.9), st.floats(0.05, 5))
def test_only_kept_tokens_are_chosen(
    seed: int, k: int, p: float, least: float, temperature: float
) -> None:
    logits = logits_of(seed)
    sampling = TokenSampling(temperature, k, p, least)
    scaled = keep_min_p(keep_top_k(logits / temperature, k or 17), least)
    allowed = kept(keep_top_p(scaled, p))
    for value in (0.0, 0.25, 0.999, 1 - 2**-53):
        uniforms = torch.full((3,), value, dtype=torch.float64)
        chosen = choose(logits, sampling, uniforms)
        assert allowed.gather(1, chosen[:, None]).all()


def test_equal_numbers_give_equal_tokens_in_any_company() -> None:
    logits = logits_of(5, rows=6)
    uniforms = torch.rand(6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    sampling = TokenSampling(temperature=1.3, top_p=0.9)
    together = choose(logits, sampling, uniforms)
    assert torch.equal(together, choose(logits, sampling, uniforms))
    for row in range(6):
        alone = choose(logits[row : row + 1], sampling, uniforms[row : row + 1])
        assert alone[0] == together[row]


def test_one_choice_is_the_best_one() -> None:
    logits = logits_of(6, rows=5)
    uniforms = torch.linspace(0, 0.99, 5, dtype=torch.float64)
    assert torch.equal(choose(logits, TokenSampling(top_k=1), uniforms), logits.argmax(-1))


def test_the_choice_grows_with_its_number() -> None:
    row = torch.zeros(4)
    for value, wanted in ((0.0, 0), (0.2, 0), (0.25, 1), (0.74, 2), (0.99, 3)):
        uniforms = torch.tensor([value], dtype=torch.float64)
        assert choose(row[None], TokenSampling(), uniforms).item() == wanted
