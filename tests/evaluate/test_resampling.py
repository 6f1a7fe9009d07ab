"""Intervals: they cover the truth as often as they say."""

import numpy as np
import pytest

from limner.evaluate.resampling import bootstrap_mean, jackknife


def test_a_bootstrap_covers_the_mean_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for seed in range(200):
        found = bootstrap_mean(rng.exponential(size=60), seed=seed)
        covered += found.low <= 1 <= found.high
    assert 180 <= covered <= 199


@pytest.mark.parametrize(("count", "confidence"), [(12, 0.95), (20, 0.975), (200, 0.95)])
def test_few_values_have_intervals_as_wide_as_students(count: int, confidence: float) -> None:
    stats = pytest.importorskip("scipy.stats")
    values = np.random.default_rng(count).normal(size=count)
    found = bootstrap_mean(values, confidence=confidence)
    half = stats.t.ppf((1 + confidence) / 2, count - 1) * values.std(ddof=1) / count**0.5
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.12)


def test_many_values_are_resampled_in_parts() -> None:
    found = bootstrap_mean(np.arange(6_000) % 2)
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * 0.5 / 6_000**0.5, rel=0.1)


def test_a_jackknife_of_a_mean_is_its_standard_error() -> None:
    values = np.random.default_rng(0).normal(size=4000)
    found = jackknife(lambda rows: float(values[rows].mean()), len(values))
    assert found.value == pytest.approx(values.mean())
    half = 1.96 * values.std() / len(values) ** 0.5
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.6)
    assert found.n == 4000


def test_two_values_are_the_ends_of_their_interval() -> None:
    found = bootstrap_mean([1.0, 4.0])
    assert (found.value, found.low, found.high) == pytest.approx((2.5, 1, 4))


def test_of_one_value_nothing_is_known() -> None:
    found = bootstrap_mean([3.0])
    assert (found.value, found.low, found.high) == (3, -np.inf, np.inf)


def test_the_same_seed_gives_the_same_interval() -> None:
    values = np.arange(30)
    assert bootstrap_mean(values, seed=4) == bootstrap_mean(values, seed=4)
    assert bootstrap_mean(values, seed=4) != bootstrap_mean(values, seed=5)
