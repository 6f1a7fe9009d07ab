"""A run on several ranks, as torchrun starts them: they join, agree, and leave when one is lost.

torchrun tells each process its place by RANK, WORLD_SIZE and LOCAL_RANK. Without them, or with one
rank, nothing here does anything. What one rank alone knows, all must agree on, to stop together.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import distributed as group

from limner.errors import ConfigError, ResourceError, UsageError, quote, shorten
from limner.nn.ranks import World, all_reduce_mean, world
from limner.train.config.run import TrainConfig

SIGNS = ("gloo", "nccl", "connection closed by peer", "connection reset")  # of a lost rank
Found = TypeVar("Found")


def environment_world(environment: Mapping[str, str] | None = None) -> World:
    """Return the share that the environment gives this process; UsageError where it is unclear."""
    told = os.environ if environment is None else environment
    ranks, rank = _number(told, "WORLD_SIZE", 1), _number(told, "RANK", 0)
    if not 0 <= rank < ranks:
        raise UsageError(
            f"RANK is {rank} and WORLD_SIZE {ranks}; expected a rank from 0 to {ranks - 1}: start "
            "the run with torchrun, or take both out of the environment"
        )
    return World(rank, ranks)


def local_rank(environment: Mapping[str, str] | None = None) -> int:
    """Return which of its machine's ranks, and so which of its GPUs, this process is."""
    return _number(os.environ if environment is None else environment, "LOCAL_RANK", 0)


def was_restarted(environment: Mapping[str, str] | None = None) -> bool:
    """Say whether torchrun started this process again after a rank was lost."""
    told = os.environ if environment is None else environment
    return _number(told, "TORCHELASTIC_RESTART_COUNT", 0) > 0


@contextmanager
def process_group(config: TrainConfig) -> Iterator[World]:
    """Be one of the ranks that train `config` together for a while.

    Raises ConfigError before anything else when they cannot share a batch evenly, and ResourceError
    when another rank is lost or does not answer for `loop.rank_timeout` seconds.
    """
    here = environment_world()
    if here.size == 1:
        yield here
        return
    if not config.kind.ranks:
        raise ConfigError(f"task {config.task!r} runs on one rank; start it without torchrun")
    here.of(config.loop.batch)
    # "auto" takes the GPU too: a rank has one of its own, chosen before anything is put there.
    wants_gpu = config.loop.device != "cpu" and torch.cuda.is_available()
    if wants_gpu:
        _choose_gpu()
    with _told_when_lost(here):
        group.init_process_group(
            "cpu:gloo,cuda:nccl" if wants_gpu else "gloo",  # objects and numbers go by gloo
            # A rank that died is told after this time, not waited for.
            timeout=timedelta(seconds=config.loop.rank_timeout),
            rank=here.rank,
            world_size=here.size,
        )
        try:
            yield here
        finally:
            group.destroy_process_group()


def all_reduce_max(number: int) -> int:
    """Return the largest of a number over the ranks, all of which must ask at the same place."""
    if world().size == 1:
        return number
    found = torch.tensor(number)  # the largest: one rank that stops, stops all
    with _told_when_lost(world()):
        group.all_reduce(found, group.ReduceOp.MAX)
    return int(found)


def barrier() -> None:
    """Go on when every rank has come here."""
    all_reduce_max(0)


@contextmanager
def rank0_first() -> Iterator[None]:
    """Let rank 0 do the work inside and leave files behind, then the others, who find them."""
    here = world()
    if not here.first:
        barrier()
    yield
    if here.first:
        barrier()


def seed_ranks(here: World) -> None:
    """Let every rank but the first, whose chance is that of one process, draw noise of its own."""
    if not here.first:
        # Weights were made before this, alike everywhere.
        torch.manual_seed(torch.initial_seed() + here.rank * 1_000_003)


def mean_over_ranks(numbers: dict[str, float]) -> dict[str, float]:
    """Return the means over ranks of numbers that all have under the same names."""
    if world().size == 1:
        return numbers
    means = all_reduce_mean(torch.tensor(list(numbers.values()), dtype=torch.float64))
    return dict(zip(numbers, means.tolist(), strict=True))


def run_on_rank0(measure: Callable[[], Found]) -> Found:
    """Return what rank 0 finds out; the others wait and get the same."""
    here = world()
    found: list[Any] = [measure() if here.first else None]  # a list, because it is filled in place
    if here.size > 1:
        group.broadcast_object_list(found, 0)
    answer: Found = found[0]
    return answer


@contextmanager
def _told_when_lost(here: World) -> Iterator[None]:
    """Tell what the group of ranks says of a lost rank in words; ResourceError."""
    try:
        yield
    except RuntimeError as error:
        # Not every loss of a rank is a DistError: gloo and NCCL say it in words of their own.
        text = str(error).lower()
        if not isinstance(error, group.DistError) and not any(word in text for word in SIGNS):
            raise
        lines = [*str(error).strip().splitlines(), "no answer"]
        raise ResourceError(
            f"rank {here.rank} of {here.size} lost touch with the others "
            f"({shorten(lines[0], 120)}): one of them died or hung; start all of them again with "
            "--resume, which goes on from the last save"
        ) from error


def _number(told: Mapping[str, str], name: str, default: int) -> int:
    text = told.get(name, str(default))
    if not (text.isascii() and text.isdecimal()) or len(text) > 9:
        raise UsageError(f"{name} is {quote(text)}; expected a number, as torchrun gives it")
    return int(text)


def _choose_gpu() -> None:
    place, there = local_rank(), torch.cuda.device_count()
    if place >= there:
        raise ConfigError(
            f"this is rank {place} of its machine, which has {there} GPUs; give torchrun "
            f"--nproc-per-node {there}, or --set loop.device=cpu"
        )
    torch.cuda.set_device(place)
