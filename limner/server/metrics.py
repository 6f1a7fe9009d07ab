"""Counts and times for Prometheus, in its text format 0.0.4: a few series, whatever is asked."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping

BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 600.0)
TYPE = "text/plain; version=0.0.4; charset=utf-8"
_ABOUT = {
    "limner_requests_total": ("counter", "Requests by route and outcome."),
    "limner_pictures_total": ("counter", "Pictures drawn."),
    "limner_batches_total": ("counter", "Batches drawn."),
    "limner_drawing_seconds_total": ("counter", "Seconds spent drawing."),
    "limner_request_seconds": ("histogram", "Seconds from a request to its answer."),
    "limner_queue_jobs": ("gauge", "Requests accepted and not answered yet."),
    "limner_queue_most": ("gauge", "The most requests that were accepted at once."),
    "limner_queue_rows": ("gauge", "Pictures that wait to be drawn."),
    "limner_weights_bytes": ("gauge", "Weights in memory, about."),
    "limner_ready": ("gauge", "1 while requests are accepted."),
}


class Metrics:
    """What was counted since the start; `gauges` are asked when they are read."""

    def __init__(self) -> None:
        self.requests: dict[tuple[str, str], int] = {}
        self.pictures = self.batches = 0
        self.drawing = 0.0
        self.gauges: dict[str, Callable[[], float]] = {}
        self._times = [0] * (len(BUCKETS) + 1)
        self._total = 0.0

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Count an answer to a route, a template or "other"; 499 is a client that left."""
        key = (route, outcome(status))
        self.requests[key] = self.requests.get(key, 0) + 1
        self._times[bisect_left(BUCKETS, seconds)] += 1
        self._total += seconds

    def drawn(self, rows: int, seconds: float) -> None:
        """Count a batch."""
        self.pictures += rows
        self.batches += 1
        self.drawing += seconds

    def text(self) -> str:
        """Return all of it as Prometheus reads it."""
        plain: Mapping[str, float] = {
            "limner_pictures_total": self.pictures,
            "limner_batches_total": self.batches,
            "limner_drawing_seconds_total": round(self.drawing, 6),
            **{name: gauge() for name, gauge in self.gauges.items()},
        }
        lines = []
        for name, (kind, about) in _ABOUT.items():
            lines += [f"# HELP {name} {about}", f"# TYPE {name} {kind}"]
            if name == "limner_requests_total":
                for (route, what), count in sorted(self.requests.items()):
                    lines.append(f'{name}{{route="{route}",outcome="{what}"}} {count}')
            elif kind == "histogram":
                lines += self._histogram(name)
            else:
                lines.append(f"{name} {plain.get(name, 0):g}")
        return "\n".join(lines) + "\n"

    def _histogram(self, name: str) -> list[str]:
        lines, below = [], 0
        for edge, count in zip((*map(str, BUCKETS), "+Inf"), self._times, strict=True):
            below += count
            lines.append(f'{name}_bucket{{le="{edge}"}} {below}')
        return [*lines, f"{name}_sum {self._total:g}", f"{name}_count {below}"]


def outcome(status: int) -> str:
    """Return the class of an answer: each request is in one, so that they add up."""
    if status == 499:
        return "cancelled"
    if status == 429:
        return "busy"
    if status < 400:
        return "ok"
    return "refused" if status < 500 else "failed"
