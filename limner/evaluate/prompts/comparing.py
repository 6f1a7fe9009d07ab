"""Is one model better than another: the paired bootstrap over prompts, in numbers and in words.

Both models draw the same prompts, so that hard prompts weigh on both; what is resampled is the
difference on each prompt (Koehn 2004, EMNLP, "Statistical significance tests"; Efron 1979).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from limner.errors import UsageError
from limner.evaluate.resampling import Estimate, bootstrap_mean
from limner.html import heading, intervals_plot, page, paragraph, table

# Of 100 comparisons of a model with itself one, not five, shall show a difference.
CONFIDENCE, OF_KINDS = 0.99, 0.95
LEAST = 10  # prompts of a kind, below which an interval says nothing

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Difference:
    """How much better B is than A on some prompts: `estimate` is the mean of B - A."""

    kind: str
    first: float
    second: float
    estimate: Estimate

    @property
    def verdict(self) -> str:
        """Return "A", "B", or "none" where the interval holds 0 or there are too few prompts."""
        if self.estimate.n < LEAST or self.estimate.low <= 0 <= self.estimate.high:
            return "none"
        return "B" if self.estimate.low > 0 else "A"

    def to_json(self) -> dict[str, Any]:
        """Return kind, both means, the difference's fields and the verdict."""
        return {
            "kind": self.kind,
            "a": round(self.first, 6),
            "b": round(self.second, 6),
            "difference": self.estimate.to_json(),
            "better": self.verdict,
        }


@dataclass(frozen=True)
class Comparison:
    """The difference over all prompts and by kind, and what the scores are."""

    overall: Difference
    kinds: list[Difference]
    score: str

    def sentences(self, first: str, second: str) -> list[str]:
        """Return the findings in words, the overall one first."""
        names = {"A": (first, second), "B": (second, first)}
        found = []
        for each in (self.overall, *self.kinds):
            where = "" if each is self.overall else f"on {each.kind}: "
            interval = each.estimate.interval("+.3g")
            if each.estimate.n < LEAST:
                text = f"too few prompts, {each.estimate.n}"
            elif each.estimate.low == each.estimate.high == 0:
                text = f"the same score on each of {each.estimate.n} prompts, so no interval"
            elif each.verdict == "none":
                text = f"no difference shown; B - A is {interval}"
            else:
                better, worse = names[each.verdict]
                size = abs(each.estimate.value)
                text = f"{better} is better than {worse} by {size:.3g}; B - A is {interval}"
            found.append(where + text)
        return found


def compare_scores(
    first: Sequence[float] | Floats,
    second: Sequence[float] | Floats,
    kinds: Sequence[str],
    score: str,
    *,
    seed: int = 0,
) -> Comparison:
    """Return how B's scores (N,) differ from A's on the same prompts, of which `kinds` are sorts.

    Raises UsageError for other lengths or fewer than LEAST prompts.
    """
    if not len(first) == len(second) == len(kinds) or len(first) < LEAST:
        raise UsageError(
            f"A has {len(first)} scores and B {len(second)}; a comparison needs at least {LEAST} "
            "of each, for the same prompts"
        )
    a, b = np.asarray(first, np.float64), np.asarray(second, np.float64)
    sorts = list(dict.fromkeys(kinds))
    found = []
    if len(sorts) > 1:
        # Intervals of K kinds hold together: 1 - 0.05 / K each (Bonferroni).
        level = 1 - (1 - OF_KINDS) / len(sorts)
        labels = np.array(kinds)
        rows = [(kind, labels == kind) for kind in sorts]
        found = [_difference(kind, a[at], b[at], level, seed) for kind, at in rows]
    return Comparison(_difference("all", a, b, CONFIDENCE, seed), found, score)


def render_comparison(
    result: Comparison,
    first: Sequence[tuple[str, str]],
    second: Sequence[tuple[str, str]],
    title: str,
) -> str:
    """Return the report as a page; `first` and `second` are the models' conditions."""
    every = [result.overall, *result.kinds]
    said = result.sentences("A", "B")
    rows = [
        (
            each.kind,
            each.estimate.n,
            f"{each.first:.4g}",
            f"{each.second:.4g}",
            f"{each.estimate.value:+.4g} ({each.estimate.interval('+.4g')})",
            text,
        )
        for each, text in zip(every, said, strict=True)
    ]
    names = [name for name, _ in first]
    values = zip(names, dict(first).values(), dict(second).values(), strict=True)
    return page(
        title,
        [
            paragraph(said[0]),
            heading(result.score),
            table(("prompts", "number", "A", "B", "B - A", "in words"), rows),
            intervals_plot(
                [
                    (each.kind, each.estimate.value, each.estimate.low, each.estimate.high)
                    for each in every
                ],
                "B - A",
            ),
            paragraph(
                "Intervals are bootstrapped over prompts, 99 % for all of them; those by kind hold "
                "together at 95 %. No difference shown is not the same as no difference."
            ),
            heading("Conditions"),
            table(("", "A", "B"), values),
        ],
    )


def _difference(kind: str, first: Floats, second: Floats, level: float, seed: int) -> Difference:
    estimate = bootstrap_mean(second - first, confidence=level, seed=seed)
    return Difference(kind, float(first.mean()), float(second.mean()), estimate)
