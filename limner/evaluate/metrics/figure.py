"""A metric's value with its interval."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from limner.evaluate.resampling import Estimate


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
