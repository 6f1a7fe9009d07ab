"""What a run would need before it begins: memory on one or several ranks, FLOPs, time and cost."""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from limner.errors import ConfigError
from limner.nn.devices import computes_bf16
from limner.nn.ranks import World
from limner.train.config.run import TrainConfig
from limner.train.plan.cost import Cost
from limner.train.plan.outline import outline_of
from limner.train.tasks import call

MATRIX = 1024
GIB = 2**30
FLOAT = 4  # bytes: weights, gradients and averages are kept in fp32


@dataclass(frozen=True)
class Hardware:
    """A processor: its dense half-precision products a second, its memory, and what a run gets.

    `rate` is in FLOP a second as the maker states it, of bf16, or fp16 where it has no bf16.
    `utilisation` is the share of it that a training step is assumed to reach. One that is `alone`
    is planned for one rank only.
    """

    name: str
    rate: float
    memory: int
    utilisation: float
    source: str
    alone: bool = False


# Well-tuned training of large transformers reaches 0.3 to 0.5 of the peak; small models reach less.
GPUS = (
    Hardware("T4", 65e12, 16 * GIB, 0.3, "maker's sheet, fp16: it has no bf16"),
    Hardware("A10", 125e12, 24 * GIB, 0.3, "maker's sheet, bf16"),
    Hardware("A100", 312e12, 80 * GIB, 0.3, "maker's sheet, bf16, 80 GB"),
    Hardware("H100", 989e12, 80 * GIB, 0.3, "maker's sheet, bf16 without sparsity, SXM"),
)


def this_processor(bf16: bool) -> Hardware:
    """Return the processor we run on, its rate measured by a product of two matrices of 1024."""
    kind = torch.bfloat16 if bf16 else torch.float32
    left, right = torch.randn(2, MATRIX, MATRIX).to(kind)
    best = float("inf")
    for _ in range(6):  # the best of six: the first warms up
        began = time.perf_counter()
        _ = left @ right
        best = min(best, time.perf_counter() - began)
    name, threads = "this CPU", torch.get_num_threads()
    source = f"measured here, {str(kind).removeprefix('torch.')}, {threads} threads"
    return Hardware(name, 2 * MATRIX**3 / best, _memory(), 0.5, source, alone=True)


def _memory() -> int:
    if not hasattr(os, "sysconf"):
        return 0
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def make_plan(
    config: TrainConfig,
    ranks: Sequence[int] = (1,),
    prices: Mapping[str, float] | None = None,
    hardware: Sequence[Hardware] | None = None,
    *,
    beside: Path | None = None,
) -> dict[str, Any]:
    """Return what a run of a codec or a prior needs, as plain values; nothing is trained or made.

    `ranks` are numbers of processes to plan for, and `prices` what an hour of a piece of hardware
    costs, by its name. A part that is yet to be trained is as the config says that makes it, looked
    for near `beside`, the folder of this one. Raises ConfigError for another task or a batch that
    ranks cannot share.
    """
    for count in ranks:
        World(0, count).of(config.loop.batch)
    machines = (
        [this_processor(config.loop.bf16 and computes_bf16("cpu")), *GPUS]
        if hardware is None
        else hardware
    )
    known = [each.name for each in machines]
    for name in prices or ():
        if name not in known:
            raise ConfigError(f"a price is given for {name!r}; expected one of {', '.join(known)}")
    cost, assumed = _cost_of(config, beside)
    batch, steps = config.loop.batch, config.loop.steps
    step = cost.per_picture * batch + cost.per_step
    return {
        "task": config.task,
        "parameters": {**cost.parts, "trained": cost.trained, "frozen": cost.frozen},
        "flops": {
            "picture": cost.per_picture,
            "optimizer": cost.per_step,
            "step": step,
            "run": step * steps,
        },
        "steps": steps,
        "batch": batch,
        "memory": [
            {"ranks": count, "parallel": way, **memory(cost, config, count, way)}
            for count in ranks
            for way in (("ddp", "fsdp") if count > 1 and config.kind.fsdp else ("ddp",))
        ],
        "hardware": [
            _told(machine, count, cost, config, (prices or {}).get(machine.name))
            for machine in machines
            for count in ([1] if machine.alone else ranks)
        ],
        "assumed": assumed,
    }


def memory(cost: Cost, config: TrainConfig, ranks: int, parallel: str) -> dict[str, int]:
    """Return the bytes that a step takes on the rank that needs most, which is the first.

    With "fsdp" that rank also holds the whole averaged model, which it measures and writes.
    """
    every, loop = cost.trained + cost.frozen, config.loop
    parts = ranks if parallel == "fsdp" else 1  # copies hold all, slices their part
    found = {
        "weights": FLOAT * (cost.frozen + -(-cost.trained // parts)),
        "gradients": FLOAT * -(-cost.trained // parts),
        "optimizer": -(-cost.optimizer // parts),
        "average": FLOAT * -(-cost.trained // parts),
        "activations": cost.activations * -(-loop.batch // (ranks * loop.accumulate)),
        "half_copies": 2 * every if loop.bf16 or loop.fp16 else 0,
        # Buckets of DDP, as large as the gradients.
        "exchange": FLOAT * cost.trained if ranks > 1 and parallel == "ddp" else 0,
        "whole_model": FLOAT * cost.trained if parallel == "fsdp" else 0,
    }
    return found | {"total": sum(found.values())}


def _told(
    machine: Hardware, ranks: int, cost: Cost, config: TrainConfig, price: float | None
) -> dict[str, Any]:
    """Return the time and cost of a run; every rank does the whole of the optimiser's work."""
    flops = cost.per_picture * config.loop.batch / ranks + cost.per_step
    seconds = flops / (machine.rate * machine.utilisation)  # no time for waiting: see `assumed`
    hours = seconds * config.loop.steps / 3600
    return {
        "name": machine.name,
        "ranks": ranks,
        "peak_flops": machine.rate,
        "utilisation": machine.utilisation,
        "memory": machine.memory,
        "source": machine.source,
        "step_seconds": seconds,
        "hours": hours,
        "price_per_hour": price,
        "cost": None if price is None else hours * ranks * price,
    }


def _cost_of(config: TrainConfig, beside: Path | None) -> tuple[Cost, list[str]]:
    assumed = [
        "activations are what the forward pass keeps; workspaces of kernels come on top",
        "exchange between ranks, reading, validation and saves take no time",
        "activations are kept, as without loop.checkpointing",
    ]
    if not config.kind.cost:
        raise ConfigError(f"a plan is made of a codec or a prior, and this is a {config.task}")
    if config.text.encoder:
        raise ConfigError(
            "a plan is made of a prior with its own text encoder; leave text.encoder out"
        )
    outline = outline_of(config.to_json(), beside)
    cost, more = call(config.kind.cost, config, outline)
    return cost, [*assumed, *outline.assumed, *more]
