"""Several processes that train one model: which rows of a batch are whose, and what all must know.

A process is a rank. Where there is no process group every function is that of one rank alone, which
gives back what it got.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch import distributed as group

from limner.errors import ConfigError


@dataclass(frozen=True)
class World:
    """This process among those that train together: number `rank` of `size`.

    A batch is shared in equal parts, in its order.
    """

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the rank that measures, shows, exports and writes for all."""
        return self.rank == 0

    # Equal shares, so that the mean of the ranks' means is the mean of the whole batch.
    def of(self, rows: int) -> slice:
        """Return which of `rows` are this rank's; ConfigError where not all can have as many."""
        count, left = divmod(rows, self.size)
        if left or not count:
            more = max(1, -(-rows // self.size)) * self.size
            raise ConfigError(
                f"a batch of {rows} cannot be shared evenly by {self.size} ranks; give "
                f"--set loop.batch={more}, or start another number of ranks",
                param="loop.batch",
            )
        return slice(self.rank * count, (self.rank + 1) * count)


ALONE = World()  # what every process is that has joined no group


def world() -> World:
    """Return this process's rank and how many there are: alone, unless it has joined a group."""
    if not (group.is_available() and group.is_initialized()):  # a build of torch may have no groups
        return ALONE
    return World(group.get_rank(), group.get_world_size())


def all_gather(rows: Tensor) -> Tensor:
    """Return the rows of all ranks, in their order, without a gradient; ranks have as many each."""
    here = world()
    if here.size == 1:
        return rows
    parts = [torch.empty_like(rows) for _ in range(here.size)]  # all_gather fills what it is given
    group.all_gather(parts, rows.detach().contiguous())
    return torch.cat(parts)


def all_gather_with_grad(rows: Tensor) -> Tensor:
    """Return the rows of all ranks with a gradient that flows back to each rank's own.

    A rank's gradient is the sum over all ranks' losses: the mean that data-parallel training takes
    of it is then the gradient of the one loss of the whole batch.
    """
    if world().size == 1 or not len(rows):  # every rank has as many rows: none waits
        return rows
    found: Tensor = _Gathered.apply(rows)  # type: ignore[no-untyped-call]
    return found


def all_reduce_mean(tensor: Tensor) -> Tensor:
    """Return the mean over ranks of a tensor without a gradient."""
    here = world()
    if here.size == 1:
        return tensor
    total = tensor.detach().clone()  # the sum is written in place
    group.all_reduce(total)
    return total / here.size


def broadcast(tensor: Tensor) -> Tensor:
    """Return the tensor of rank 0, which on every rank has this shape and type."""
    if world().size > 1:
        tensor = tensor.contiguous()
        group.broadcast(tensor, 0)  # in place, on every rank
    return tensor


class _Gathered(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, rows: Tensor) -> Tensor:
        return all_gather(rows)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> Tensor:
        # Every rank's loss depends on the rows of all, so each needs the sum of all gradients.
        (gradient,) = gradients
        total = gradient.contiguous().clone()
        group.all_reduce(total)
        return total[world().of(len(total))]  # of which this rank's own rows are its part
