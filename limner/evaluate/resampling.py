"""How sure a number is: intervals by drawing its pictures again (bootstrap) or leaving some out."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from limner.errors import UsageError

RESAMPLES, RESAMPLES_LIMIT = 2000, 50_000
_IN_TAIL = 40  # resamples that an end of an interval rests on
_LEAST_TAIL = 1e-9  # of two values the interval is all that resamples can show
_NUMBERS = 2**21  # drawn at once
GROUPS = 10
FEW = 10  # values, of which resamples reach too short
LEAST = 3  # pictures that a jackknife needs: without one of them two are left to compare

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A figure of `n` pictures or prompts and the ends of its interval, 95 % unless said."""

    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{self.value:.4g} ({self.interval()})"

    def interval(self, form: str = ".4g") -> str:
        """Return the ends in words, each in the format `form`, or that they are unknown."""
        if not (math.isfinite(self.low) and math.isfinite(self.high)):
            return f"no interval: {self.n} is too few"
        return f"{self.low:{form}} to {self.high:{form}}"

    def to_json(self) -> dict[str, float | int | None]:
        """Return the four fields, with six significant digits; null for an end that is unknown."""
        return {
            "value": _rounded(self.value),
            "low": _rounded(self.low),
            "high": _rounded(self.high),
            "n": self.n,
        }


def _rounded(value: float) -> float | None:
    return float(f"{value:.6g}") if np.isfinite(value) else None


def bootstrap_mean(values: Any, *, confidence: float = 0.95, seed: int = 0) -> Estimate:
    """Return the mean of values (N,) and its bootstrap interval over 2,000 resamples or more.

    Values are taken as independent. One value has the whole line as its interval.
    """
    rows = np.asarray(values, np.float64)
    if len(rows) < 2:
        return Estimate(float(rows.mean()) if len(rows) else 0.0, -np.inf, np.inf, len(rows))
    # 1. Few values: no resample lies beyond the least and the greatest of them, so the interval is
    # Student's own.
    if len(rows) < FEW:
        half = student((1 - confidence) / 2, len(rows) - 1) * rows.std(ddof=1) / len(rows) ** 0.5
        mean = float(rows.mean())
        return Estimate(mean, mean - float(half), mean + float(half), len(rows))
    # 2. Percentiles of the means of resamples (Efron 1979, The Annals of Statistics 7), widened as
    # Student's t is for few values (Hesterberg 2015, arXiv 1411.5279, section 5.3).
    tail = _widened_tail((1 - confidence) / 2, len(rows))
    # 3. The farther out an end, the more resamples, so that some lie beyond it.
    count = min(RESAMPLES_LIMIT, max(RESAMPLES, round(_IN_TAIL / tail)))
    low, high = np.quantile(resampled_means(rows, seed, count), [tail, 1 - tail])
    return Estimate(float(rows.mean()), float(low), float(high), len(rows))


def share_of(marks: Any) -> Estimate:
    """Return the mean of marks (N,) in [0, 1] with its Wilson interval.

    Marks between 0 and 1, of answers that are partly right, make the interval rather too wide.
    """
    # Resamples of 20 right answers of 20 are all right, as if no wrong one could ever come.
    rows = np.asarray(marks, np.float64)
    low, high = wilson(float(rows.sum()), len(rows))
    return Estimate(float(rows.mean()) if len(rows) else 0.0, low, high, len(rows))


def resampled_means(values: Floats, seed: int, count: int = RESAMPLES) -> Floats:
    """Return the means (count,) of samples drawn from values (N,) with replacement."""
    rng = np.random.default_rng(seed)
    shares = np.full(len(values), 1 / len(values))
    at_once = max(1, _NUMBERS // len(values))
    # How often each value is drawn, not which in turn: one product gives many means.
    parts = [
        rng.multinomial(len(values), shares, min(at_once, count - first)) @ values / len(values)
        for first in range(0, count, at_once)
    ]
    return np.concatenate(parts)


def student(tail: float, free: int) -> float:
    """Return the value that Student's t with `free` degrees of freedom passes in a share `tail`."""
    # Abramowitz and Stegun 1964, 26.7.5: at 0.025 2 % too low for 3 degrees, exact for 1 and 2.
    if free == 1:
        return 1 / math.tan(math.pi * tail)
    if free == 2:
        return (1 - 2 * tail) * math.sqrt(1 / (2 * tail * (1 - tail)))
    z = NormalDist().inv_cdf(1 - tail)
    return (
        z
        + (z**3 + z) / (4 * free)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * free**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * free**3)
    )


def _widened_tail(tail: float, count: int) -> float:
    """Return the share of resamples to leave out at each end: more of them for few values."""
    # It is the normal share beyond Student's quantile.
    free = count - 1
    return max(_LEAST_TAIL, NormalDist().cdf(-student(tail, free) * (count / free) ** 0.5))


def jackknife(
    statistic: Callable[[npt.NDArray[np.int64]], float],
    count: int,
    *,
    confidence: float = 0.95,
    seed: int = 0,
) -> Estimate:
    """Return a statistic of all `count` pictures, with its interval from leaving out tenths.

    `statistic` takes the indices of the pictures to use. It does not know the bias of a statistic.
    Raises UsageError for fewer than LEAST pictures.
    """
    if count < LEAST:
        raise too_few(count)
    every = np.arange(count)
    value = statistic(every)
    # 1. Distances between sets of features see a picture drawn twice as less variety, which a
    # bootstrap would report as error; leaving pictures out does not (Efron 1982, The Jackknife,
    # chapter 2).
    parts = np.array_split(np.random.default_rng(seed).permutation(count), min(GROUPS, count))
    rest = np.array([statistic(np.setdiff1d(every, part)) for part in parts])
    spread = np.sqrt((len(rest) - 1) / len(rest) * np.square(rest - rest.mean()).sum())
    # 2. The spread of ten parts is known with 9 degrees of freedom, so the interval is Student's.
    half = student((1 - confidence) / 2, len(parts) - 1) * float(spread)
    return Estimate(value, value - half, value + half, count)


def too_few(count: int) -> UsageError:
    """Return the error for so few pictures that nothing says how sure a figure is."""
    return UsageError(
        f"{count} are too few prompts or pictures to say how sure a figure is; give {LEAST} or more"
    )


Z = 1.959963984540054  # the two-sided 95 % point of the normal distribution


@dataclass(frozen=True)
class Score:
    """A share in [0, 1] of `n` judgements and its 95 % interval."""

    value: float | None  # None where n is 0
    low: float
    high: float
    n: int  # 0 for a share that is computed, with low = value = high

    @classmethod
    def measured(cls, right: int, n: int) -> Score:
        """Return the share right / n with its Wilson interval."""
        low, high = wilson(right, n)
        return cls(right / n if n else None, low, high, n)

    @classmethod
    def computed(cls, value: float) -> Score:
        """Return a share known without measuring."""
        return cls(value, value, value, 0)

    def __str__(self) -> str:
        if self.value is None:
            return "-"
        return f"{self.value:.2f}" + (f" ({self.low:.2f}-{self.high:.2f})" if self.n else "")

    def to_json(self) -> dict[str, float | int | None]:
        """Return the four fields, shares rounded to four decimals."""
        value = None if self.value is None else round(self.value, 4)
        return {"value": value, "low": round(self.low, 4), "high": round(self.high, 4), "n": self.n}


def wilson(right: float, n: int) -> tuple[float, float]:
    """Return the 95 % Wilson interval of `right` successes in `n` trials; (0, 1) where n is 0.

    The trials are taken as independent: pictures of one model with the same flaw are not quite.
    """
    if n == 0:
        return 0.0, 1.0
    share = right / n
    scale = 1 + Z**2 / n
    middle = (share + Z**2 / (2 * n)) / scale
    half = Z * math.sqrt(share * (1 - share) / n + Z**2 / (4 * n**2)) / scale
    return max(0.0, middle - half), min(1.0, middle + half)


@dataclass(frozen=True)
class Metric:
    """A number with its interval; `better` is "higher" or "lower", `about` what it says."""

    name: str
    estimate: Estimate
    better: str
    about: str

    def to_json(self) -> dict[str, Any]:
        """Return the name, the estimate's fields and which way is better."""
        return {"name": self.name, **self.estimate.to_json(), "better": self.better}
