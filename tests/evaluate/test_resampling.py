"""Intervals: they cover the truth as often as they say."""

import numpy as np
import pytest

from limner.errors import UsageError
from limner.evaluate.resampling import Estimate, bootstrap_mean, jackknife, share_of, student


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


@pytest.mark.parametrize(("count", "spread"), [(40, False), (12, False), (200, True)])
def test_a_jackknife_covers_the_truth_as_often_as_it_says(count: int, spread: bool) -> None:
    """Of a mean and of a standard deviation: with 1.96 in place of Student's 2.26 it is 0.92."""
    rng = np.random.default_rng(count)
    covered = 0
    for seed in range(2000):
        values = rng.normal(size=count)

        def statistic(rows: np.ndarray, values: np.ndarray = values) -> float:
            return float(values[rows].std(ddof=1) if spread else values[rows].mean())

        found = jackknife(statistic, count, seed=seed)
        covered += found.low <= float(spread) <= found.high
    assert 0.933 < covered / 2000 < 0.968  # three standard errors are 0.015


def test_a_share_is_never_certain() -> None:
    found = share_of([1.0] * 20)
    assert (found.value, found.n) == (1, 20)
    assert (found.low, found.high) == pytest.approx((0.8389, 1), abs=5e-5)
    assert share_of(np.zeros(20)).high == pytest.approx(0.1611, abs=5e-5)
    assert share_of([0.5, 1, 0, 0]).value == 0.375


@pytest.mark.parametrize(("share", "count"), [(0.97, 20), (0.99, 60), (0.5, 20)])
def test_intervals_of_shares_cover_the_truth_near_one_too(share: float, count: int) -> None:
    rng = np.random.default_rng(count)
    marks = rng.random((2000, count)) < share
    found = [share_of(row) for row in marks]
    assert np.mean([each.low <= share <= each.high for each in found]) > 0.93


@pytest.mark.parametrize("free", [1, 2, 3, 4, 9, 30, 1000])
def test_students_quantiles_are_those_of_scipy(free: int) -> None:
    stats = pytest.importorskip("scipy.stats")
    for tail, close in ((0.025, 0.021), (0.005, 0.06)):
        assert student(tail, free) == pytest.approx(stats.t.ppf(1 - tail, free), rel=close)


@pytest.mark.parametrize("count", [1, 2])
def test_too_few_pictures_are_refused_in_words(count: int) -> None:
    with pytest.raises(UsageError, match=f"{count} are too few prompts or pictures .* give 3"):
        jackknife(lambda rows: float(len(rows)), count)


def test_an_unknown_interval_is_said_in_words() -> None:
    assert str(bootstrap_mean([3.0])) == "3 (no interval: 1 is too few)"
    assert str(Estimate(2.0, 1.0, 3.5, 4)) == "2 (1 to 3.5)"
    assert Estimate(2.0, -1.0, 3.5, 4).interval("+.2f") == "-1.00 to +3.50"


def test_of_two_values_little_is_known() -> None:
    found = bootstrap_mean([1.0, 4.0])
    assert found.value == 2.5
    assert found.high - 2.5 == pytest.approx(12.706 * 1.5, rel=1e-4) == 2.5 - found.low


@pytest.mark.parametrize("count", [2, 3, 6, 9])
def test_means_of_few_are_covered_as_often_as_they_say(count: int) -> None:
    """The least and the greatest of three values hold their mean in three cases of four."""
    rng = np.random.default_rng(count)
    found = [bootstrap_mean(rng.normal(size=count), seed=seed) for seed in range(1000)]
    assert 0.925 < np.mean([each.low <= 0 <= each.high for each in found]) < 0.975


def test_of_one_value_nothing_is_known() -> None:
    found = bootstrap_mean([3.0])
    assert (found.value, found.low, found.high) == (3, -np.inf, np.inf)


def test_the_same_seed_gives_the_same_interval() -> None:
    values = np.arange(30)
    assert bootstrap_mean(values, seed=4) == bootstrap_mean(values, seed=4)
    assert bootstrap_mean(values, seed=4) != bootstrap_mean(values, seed=5)
