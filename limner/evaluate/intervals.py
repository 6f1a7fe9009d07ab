"""Shares of right answers with their Wilson intervals."""

import math
from dataclasses import dataclass

Z = 1.959963984540054  # the two-sided 95 % point of the normal distribution


@dataclass(frozen=True)
class Score:
    """A share in [0, 1] of `n` judgements and its 95 % interval; `value` is None where n is 0.

    A share that is computed, not measured, has n 0 and low = value = high.
    """

    value: float | None
    low: float
    high: float
    n: int

    @classmethod
    def measured(cls, right: int, n: int) -> "Score":
        """Return the share right / n with its Wilson interval."""
        low, high = wilson(right, n)
        return cls(right / n if n else None, low, high, n)

    @classmethod
    def computed(cls, value: float) -> "Score":
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
