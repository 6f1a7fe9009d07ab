"""`limner train --plan`: what a run needs, as tables that a person reads, or JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limner.cli.shared.answers import answer
from limner.errors import UsageError, quote

if TYPE_CHECKING:
    from limner.train.config.run import TrainConfig


def tell(
    run: TrainConfig, ranks: str, prices: Sequence[str], *, beside: Path, as_json: bool
) -> None:
    """Print the plan of a run; UsageError for words that name no ranks or prices."""
    from limner.train.plan.plan import make_plan

    found = make_plan(run, read_ranks(ranks), read_prices(prices), beside=beside)
    answer(found, describe(found), as_json)


def read_ranks(text: str) -> list[int]:
    """Return numbers of ranks from "1,8"."""
    words = [word.strip() for word in text.split(",")]
    if not all(w.isascii() and w.isdecimal() and 0 < int(w[:9]) <= 10**6 for w in words):
        raise UsageError(f"--ranks {quote(text)} holds no numbers of ranks; write them as 1,8")
    return [int(word) for word in words]


def read_prices(words: Sequence[str]) -> dict[str, float]:
    """Return prices an hour from words as "H100=2.5"."""
    found = {}
    for word in words:
        name, _, text = word.partition("=")
        try:
            price = float(text)
        except ValueError:
            price = -1.0  # refused below
        if not name or not math.isfinite(price) or price < 0:
            raise UsageError(f"--price {quote(word)} is not NAME=PRICE; write it as A100=1.50")
        found[name] = price
    return found


def describe(plan: dict[str, Any]) -> str:
    """Return a plan as text."""
    flops = plan["flops"]
    lines = [
        f"{plan['task']}: {plan['steps']} steps of {plan['batch']} pictures",
        "",
        "parameters",
        *(f"  {name:24} {count:>14,}" for name, count in plan["parameters"].items()),
        "",
        f"FLOPs: {flops['picture']:.3g} a picture, {flops['step']:.3g} a step, "
        f"{flops['run']:.3g} the run",
        "",
        "memory on the first rank, MiB",
    ]
    names = list(plan["memory"][0])[2:]  # after ranks and parallel
    lines.append("  ranks parallel " + " ".join(f"{name:>11}" for name in names))
    for each in plan["memory"]:
        cells = " ".join(f"{each[name] / 2**20:>11,.1f}" for name in names)
        lines.append(f"  {each['ranks']:>5} {each['parallel']:8} {cells}")
    lines += ["", "time and cost"]
    lines.append("  hardware  ranks  TFLOP/s  share used   a step      hours       cost")
    for each in plan["hardware"]:
        cost = "no --price" if each["cost"] is None else f"{each['cost']:,.2f}"
        lines.append(
            f"  {each['name']:9} {each['ranks']:>5} {each['peak_flops'] / 1e12:>8.3g} "
            f"{each['utilisation']:>11.0%} {each['step_seconds']:>8.3g} {each['hours']:>10.3g} "
            f"{cost:>10}  {each['source']}"
        )
    lines += ["", "assumed", "  the share of the peak that is used, above"]
    return "\n".join([*lines, *(f"  {each}" for each in plan["assumed"])])
