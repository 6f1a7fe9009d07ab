"""One module trained by all ranks: copies that agree (DDP), or one copy in slices (FSDP2)."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from limner.nn.ranks import broadcast, world
from limner.nn.transformer import Block
from limner.train.config.run import TrainConfig
from limner.train.optimizer import EMA


class ParallelModule:
    """A module as this rank trains it.

    `run` computes with it so that gradients become those of the whole batch; `eval_module` is the
    plain module that is measured, drawn from and written, by rank 0, while the averages stand in
    place. Make optimisers after this: with FSDP the module has other parameters then.
    """

    def __init__(
        self, module: nn.Module, run: Callable[..., Any], eval_module: nn.Module | None = None
    ) -> None:
        self.module, self.run = module, run
        self.eval_module: Any = module if eval_module is None else eval_module

    def ema(self, decay: float) -> EMA:
        """Return the average of what is learnt of the module."""
        learnt = [each for each in self.module.parameters() if each.requires_grad]
        if self.eval_module is self.module:
            return EMA(learnt, decay)
        return ShardedEMA(learnt, decay, self.module, self.eval_module)


def parallelize(module: nn.Module, run: Callable[..., Any], config: TrainConfig) -> ParallelModule:
    """Return `module`, with which the function `run` computes, as the ranks of this run share it.

    On one rank it is left as it is. Weights start as rank 0 has them.
    """
    if world().size == 1:
        return ParallelModule(module, run)
    with torch.no_grad():
        # Ranks that drew their weights by chance would disagree for ever.
        for tensor in (*module.parameters(), *module.buffers()):
            tensor.copy_(broadcast(tensor.detach().clone()))
    called = _Called(module, run)
    if config.loop.parallel == "ddp":
        return ParallelModule(module, data_parallel(called))
    # Slices cannot be measured or drawn with: rank 0 keeps a whole copy for that.
    shown = deepcopy(module)
    if not world().first:
        shown = shown.to("meta")  # its shapes alone, to walk along with
    return ParallelModule(module, _in_slices(called), shown)


def data_parallel(module: nn.Module) -> nn.Module:
    """Return a module whose backward pass leaves the mean gradient of all ranks on each of them."""
    if world().size == 1 or not any(each.requires_grad for each in module.parameters()):
        return module
    return nn.parallel.DistributedDataParallel(module)  # means gradients as the backward pass goes


class ShardedEMA(EMA):
    """The average of a module in slices; in place, it stands whole in rank 0's plain module."""

    def __init__(
        self, parameters: Iterable[Tensor], decay: float, module: nn.Module, eval_module: nn.Module
    ) -> None:
        super().__init__(parameters, decay)
        self.module, self.eval_module = module, eval_module

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Gather the average into the module that is shown; all ranks must come here."""
        first = world().first
        learnt = [each for each in self.eval_module.parameters() if each.requires_grad]
        with torch.no_grad():
            for parameter, value in zip(learnt, self.values, strict=True):
                # Every rank takes part in gathering, and rank 0 keeps what comes.
                whole = value.full_tensor()  # type: ignore[attr-defined]
                if first:
                    parameter.copy_(whole)
            if first:
                pairs = zip(self.eval_module.buffers(), self.module.buffers(), strict=True)
                for theirs, ours in pairs:
                    theirs.copy_(ours)
        yield


class _Called(nn.Module):
    """A function of a module as a module's forward, which DDP and FSDP2 watch."""

    def __init__(self, module: nn.Module, function: Callable[..., Any]) -> None:
        super().__init__()
        self.module, self.function = module, function

    def forward(self, *inputs: Any) -> Any:
        return self.function(*inputs)


def _in_slices(called: nn.Module) -> nn.Module:
    """Slice every transformer block by itself, and what is left as one."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    device = next(called.parameters()).device.type
    mesh = init_device_mesh(device, (world().size,))
    for each in called.modules():
        if isinstance(each, Block):  # inner ones first: a slice is gathered as its block runs
            fully_shard(each, mesh=mesh)
    fully_shard(called, mesh=mesh)
    return called
