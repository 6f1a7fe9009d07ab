"""Win rates and Bradley-Terry strengths: closed forms, another way to the maximum, coverage."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from limner.evaluate.arena.standings import (
    Vote,
    bradley_terry,
    fit_strengths,
    standing_of,
    strengths_covariance,
    win_table,
)
from limner.evaluate.resampling import wilson


def chances(strengths: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(strengths[None, :] - strengths[:, None])))


def test_two_models_have_the_closed_form() -> None:
    wins = np.array([[0.0, 30.0], [10.0, 0.0]])
    first, second = bradley_terry(wins, prior=0)
    assert first.value - second.value == pytest.approx(math.log(3))
    assert first.value == pytest.approx(-second.value) and first.n == second.n == 40
    # The variance of a log-odds is 1/wins + 1/losses; each strength is half of it.
    assert first.high - first.value == pytest.approx(1.959964 * math.sqrt(1 / 30 + 1 / 10) / 2)


@given(st.integers(2, 5), st.integers(0, 2**32 - 1))
def test_the_maximum_explains_each_models_wins(models: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    wins = rng.integers(0, 20, (models, models)).astype(np.float64) + 0.5
    np.fill_diagonal(wins, 0)
    fitted = fit_strengths(wins)
    expected = ((wins + wins.T) * chances(fitted)).sum(1)  # the score equations of the likelihood
    assert expected == pytest.approx(wins.sum(1), abs=1e-4)
    assert fitted.sum() == pytest.approx(0, abs=1e-9)
    covariance = strengths_covariance(wins, fitted)
    assert covariance.sum(1) == pytest.approx(np.zeros(models), abs=1e-9)


def test_a_model_that_always_wins_has_a_finite_strength() -> None:
    wins = np.array([[0, 9, 9], [0, 0, 5], [0, 4, 0]], float)
    best, *others = bradley_terry(wins)
    assert 1 < best.value < 10 and math.isfinite(best.high)
    assert all(best.low > each.value for each in others)
    unseen = bradley_terry(np.zeros((3, 3)))
    assert all(each.value == 0 and each.high > 1.5 and each.n == 0 for each in unseen)


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    truth = np.array([0.8, 0.1, -0.2, -0.7])
    rng = np.random.default_rng(0)
    held = []
    for _ in range(500):
        upper = np.triu(rng.binomial(30, chances(truth)), 1)
        wins = upper + np.triu(30 - upper, 1).T.astype(float)
        found = bradley_terry(wins)
        held += [each.low <= true <= each.high for each, true in zip(found, truth, strict=True)]
    assert np.mean(held) == pytest.approx(0.95, abs=0.02)


def test_votes_are_counted_by_model_and_not_by_side() -> None:
    votes = [Vote(0, 1, "left"), Vote(1, 0, "right"), Vote(1, 0, "left")]
    votes += [Vote(0, 1, "equal"), Vote(1, 0, "neither")]
    standing = standing_of(votes, 2)
    (pair,) = standing.pairs
    assert (pair.wins, pair.losses, pair.equal, pair.neither) == (2, 1, 1, 1)
    assert (pair.win_rate.low, pair.win_rate.high) == wilson(2, 3)
    assert standing.left.n == 3 and standing.left.value == pytest.approx(2 / 3)
    assert standing.strengths == [] and pair.better is None
    assert win_table(votes, 2).tolist() == [[0, 3], [2, 0]]


def test_the_findings_are_told_in_words() -> None:
    votes = [Vote(1, 0, "left")] * 20 + [Vote(2, 1, "right")] * 20 + [Vote(0, 2, "equal")] * 4
    said = standing_of(votes, 3).sentences(["a", "b", "c"])
    assert said[0].startswith("1. b: strength +")
    assert said[3].startswith("a against b: b is preferred; a wins 0.00 (0.00-0.16) of 20 decided")
    assert said[4] == (
        "a against c: no preference shown; a wins - of 0 decided votes; 4 equal, 0 neither"
    )
    told = standing_of(votes, 3).to_json("ABC")
    assert [each["better"] for each in told["pairs"]] == ["B", "none", "B"]
    assert [each["model"] for each in told["strengths"]] == ["A", "B", "C"]
