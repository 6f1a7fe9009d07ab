"""A peer and limner measured in turns, as a table of ratios and a JSON list.

A ratio is the peer's time over limner's in the same round: above 1, limner is faster. A slow moment
of the machine then meets both.
"""

import gc
import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Ratio:
    """One line: medians in milliseconds, the median ratio of n rounds with its least and greatest.

    `target` is the least ratio that is promised, None where nothing is.
    """

    name: str
    peer_ms: float
    limner_ms: float
    ratio: float
    low: float
    high: float
    n: int
    target: float | None

    @property
    def met(self) -> bool:
        """Whether the median ratio reaches the target."""
        return self.target is None or self.ratio >= self.target


def from_seconds(
    name: str, peer: Sequence[float], limner: Sequence[float], target: float | None
) -> Ratio:
    """Return the line of rounds measured elsewhere, `peer[i]` and `limner[i]` in the same round."""
    ratios = [theirs / ours for theirs, ours in zip(peer, limner, strict=True)]
    return Ratio(
        name,
        statistics.median(peer) * 1000,
        statistics.median(limner) * 1000,
        statistics.median(ratios),
        min(ratios),
        max(ratios),
        len(ratios),
        target,
    )


def interleave(
    peer: Callable[[], object],
    limner: Callable[[], object],
    rounds: int,
    *,
    name: str,
    target: float | None,
    clock: Callable[[], float] = time.perf_counter,
) -> Ratio:
    """Call both in turns, `rounds` times after one warm-up each, without garbage collection.

    With time.process_time as the clock, and one thread, others' use of the machine weighs little.
    """
    taken: tuple[list[float], list[float]] = ([], [])
    collecting = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        for _ in range(rounds + 1):
            for work, seconds in zip((peer, limner), taken, strict=True):
                began = clock()
                work()
                seconds.append(clock() - began)
    finally:
        if collecting:
            gc.enable()
    return from_seconds(name, taken[0][1:], taken[1][1:], target)


def report(rows: Sequence[Ratio], json_path: Path | None = None) -> None:
    """Print the lines as an aligned table, each target met or missed, and write them as JSON."""
    width = max([4, *(len(row.name) for row in rows)])
    print(f"{'name':<{width}}  {'peer ms':>10}  {'limner ms':>10}  ratio [low - high]")
    for row in rows:
        spread = f"{row.ratio:.2f} [{row.low:.2f} - {row.high:.2f}] n={row.n}"
        verdict = ""
        if row.target is not None:
            verdict = f"target {row.target:.2f} {'met' if row.met else 'MISSED'}"
        print(
            f"{row.name:<{width}}  {row.peer_ms:>10.2f}  {row.limner_ms:>10.2f}  "
            f"{spread:<28}  {verdict}".rstrip()
        )
    if json_path is not None:
        json_path.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
