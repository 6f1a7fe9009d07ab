"""What votes between pictures say: win rates, and strengths by Bradley and Terry.

K is the number of models; `wins` (K, K) holds how often the row's model won against the column's.
Votes are taken as independent; those of one person tell what this person prefers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from limner.evaluate.resampling import Estimate, Score, Z

CHOICES = ("left", "right", "equal", "neither")
PRIOR = 0.5  # of a win each way for every pair, so that a model that always won is not infinite
_ROUNDS, _CLOSE = 10_000, 1e-10

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Vote:
    """One judgement: the models drawn left and right, by number, and one of CHOICES."""

    left: int
    right: int
    choice: str

    @property
    def winner(self) -> int | None:
        """Return the model chosen, None for "equal" and "neither"."""
        return {"left": self.left, "right": self.right}.get(self.choice)


@dataclass(frozen=True)
class Pair:
    """The votes between two models; `win_rate` is of the first, among the decided ones."""

    first: int
    second: int
    wins: int
    losses: int
    equal: int
    neither: int

    @property
    def win_rate(self) -> Score:
        """Return wins / (wins + losses) with its Wilson interval."""
        return Score.measured(self.wins, self.wins + self.losses)

    @property
    def better(self) -> int | None:
        """Return the model preferred, None where the interval holds one half."""
        rate = self.win_rate
        if rate.low <= 0.5 <= rate.high:
            return None
        return self.first if rate.low > 0.5 else self.second


@dataclass(frozen=True)
class Standing:
    """What all votes say; `strengths` is empty for two models, of which the win rate says all."""

    pairs: list[Pair]
    strengths: list[Estimate]
    left: Score  # how often the left picture was chosen: far from one half, votes are suspect

    def sentences(self, names: Sequence[str]) -> list[str]:
        """Return the findings in words, the strongest model first."""
        found = []
        order = sorted(range(len(self.strengths)), key=lambda k: -self.strengths[k].value)
        for place, model in enumerate(order, 1):
            each = self.strengths[model]
            interval = f"{each.low:+.2f} to {each.high:+.2f}"
            found.append(f"{place}. {names[model]}: strength {each.value:+.2f} ({interval})")
        for pair in self.pairs:
            first, second = names[pair.first], names[pair.second]
            rate = pair.win_rate
            shares = f"{first} wins {rate} of {rate.n} decided votes"
            ties = f"{pair.equal} equal, {pair.neither} neither"
            verdict = "no preference shown"
            if pair.better is not None:
                verdict = f"{names[pair.better]} is preferred"
            found.append(f"{first} against {second}: {verdict}; {shares}; {ties}")
        return found

    def to_json(self, letters: Sequence[str]) -> dict[str, Any]:
        """Return pairs, strengths and left with models named by their letters."""
        return {
            "pairs": [
                {
                    "a": letters[each.first],
                    "b": letters[each.second],
                    "wins_a": each.wins,
                    "wins_b": each.losses,
                    "equal": each.equal,
                    "neither": each.neither,
                    "win_rate": each.win_rate.to_json(),
                    "better": "none" if each.better is None else letters[each.better],
                }
                for each in self.pairs
            ],
            "strengths": [
                {"model": letter, "strength": each.to_json()}
                for letter, each in zip(letters, self.strengths, strict=False)
            ],
            "left": self.left.to_json(),
        }


def standing_of(votes: Sequence[Vote], models: int) -> Standing:
    """Return what votes among `models` models say; a pair without votes has the interval (0, 1)."""
    pairs = [_pair(votes, *each) for each in combinations(range(models), 2)]
    decided = [each for each in votes if each.winner is not None]
    left = Score.measured(sum(each.choice == "left" for each in decided), len(decided))
    strengths: list[Estimate] = []
    # For the strengths a vote "equal" or "neither" is half a win for each side.
    if models > 2:
        strengths = bradley_terry(win_table(votes, models))
    return Standing(pairs, strengths, left)


def win_table(votes: Sequence[Vote], models: int) -> Floats:
    """Return how often each model won against each (K, K); a tie is half a win for both."""
    wins = np.zeros((models, models))
    for each in votes:
        if each.winner is None:
            wins[each.left, each.right] += 0.5
            wins[each.right, each.left] += 0.5
        else:
            wins[each.winner, each.left + each.right - each.winner] += 1
    return wins


def bradley_terry(wins: Floats, prior: float = PRIOR) -> list[Estimate]:
    """Return each model's strength, a natural log-odds whose mean is 0, with its 95 % interval.

    The chance that i beats j is 1 / (1 + exp(s_j - s_i)) (Bradley and Terry 1952).
    """
    # `prior` wins each way for every pair: without them a model that only wins never settles.
    added = wins + prior * (1 - np.eye(len(wins)))
    strengths = fit_strengths(added)
    half = Z * np.sqrt(np.diag(strengths_covariance(added, strengths)))
    votes = (wins + wins.T).sum(1)
    return [
        Estimate(float(value), float(value - margin), float(value + margin), round(float(count)))
        for value, margin, count in zip(strengths, half, votes, strict=True)
    ]


def fit_strengths(wins: Floats) -> Floats:
    """Return the likeliest strengths (K,), their mean 0, by minorisation and maximisation."""
    # Hunter 2004, The Annals of Statistics 32(1), equation 3. They are finite where no set of
    # models has won every vote against the rest.
    duels, won = wins + wins.T, wins.sum(1)
    chances = np.ones(len(wins))
    for _ in range(_ROUNDS):
        found = won / (duels / (chances[:, None] + chances)).sum(1)
        # Only ratios are known: the mean is taken out each time.
        found /= np.exp(np.log(found).mean())
        settled = np.abs(np.log(found / chances)).max() < _CLOSE
        chances = found
        if settled:
            break
    return np.asarray(np.log(chances), np.float64)


def strengths_covariance(wins: Floats, strengths: Floats) -> Floats:
    """Return the covariance (K, K) of fitted strengths: the observed information's inverse."""
    # The information is that of the log-likelihood in log-odds, a Laplacian; its pseudo-inverse is
    # the covariance under the constraint that strengths sum to 0.
    chance = 1 / (1 + np.exp(strengths[None, :] - strengths[:, None]))
    weights = (wins + wins.T) * chance * (1 - chance)
    return np.asarray(np.linalg.pinv(np.diag(weights.sum(1)) - weights), np.float64)


def _pair(votes: Sequence[Vote], first: int, second: int) -> Pair:
    here = [each for each in votes if {each.left, each.right} == {first, second}]

    def count(choice: str) -> int:
        return sum(each.choice == choice for each in here)

    wins = sum(each.winner == first for each in here)
    losses = sum(each.winner == second for each in here)
    return Pair(first, second, wins, losses, count("equal"), count("neither"))
