"""What a number depends on, beside every number: without it nobody can measure the same again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from limner.evaluate.metrics.networks import Network


@dataclass(frozen=True)
class Reference:
    """The pictures that drawings are compared with; `sha256` is of their names and bytes."""

    place: str
    pictures: int
    sha256: str

    def to_json(self) -> dict[str, Any]:
        """Return the three fields."""
        return asdict(self)


@dataclass(frozen=True)
class Conditions:
    """The model and how it was sampled, what judged it and against what, and the hardware."""

    model: str
    model_hash: str
    hardware: str
    sampler: Mapping[str, Any] = field(default_factory=dict)  # empty where nothing was drawn
    precision: str = "fp32"
    best_of: int = 1
    reference: Reference | None = None
    network: Network | None = None
    clip: Network | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the fields as plain JSON values, null for what there was none of."""
        return {
            "model": self.model,
            "model_hash": self.model_hash,
            "sampler": dict(self.sampler),
            "precision": self.precision,
            "best_of": self.best_of,
            "reference": self.reference and self.reference.to_json(),
            "network": self.network and self.network.to_json(),
            "clip": self.clip and self.clip.to_json(),
            "hardware": self.hardware,
        }

    def rows(self) -> list[tuple[str, str]]:
        """Return what a person reads: one line for each thing that the numbers depend on."""
        reference = "none"
        if self.reference is not None:
            found = self.reference
            reference = f"{found.place}: {found.pictures} pictures, {found.sha256[:8]}"
        sampler = ", ".join(f"{name} {value}" for name, value in self.sampler.items())
        return [
            ("model", f"{self.model} {self.model_hash[:8]}".strip()),
            ("sampler", f"{sampler or 'none'}; {self.precision}"),
            ("best of", str(self.best_of)),
            ("reference set", reference),
            ("feature network", self.network.label if self.network else "none"),
            ("CLIP", self.clip.label if self.clip else "none"),
            ("hardware", self.hardware),
        ]
