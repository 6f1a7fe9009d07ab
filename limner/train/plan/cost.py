"""What one training step costs, counted without memory: parameters, FLOPs, saved activations.

Modules are built of tensors without values, and torch's own counter sees every product of the
forward and the backward pass. Shapes: B pictures of a batch.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from limner.train.config.run import TrainConfig
from limner.train.optimizer import create_optimizers

PAIR = (2, 4)  # batches whose difference is the cost of two more pictures
NEWTON_STEPS = 5  # of Muon


@dataclass(frozen=True)
class Cost:
    """A step's cost: parameters by part, bytes of optimiser state, FLOPs and saved bytes.

    `per_picture` FLOPs of forward and backward pass, `per_step` those of the optimiser;
    `activations` are bytes kept for the backward pass for each picture. `trained` of the parameters
    are learnt; `frozen` ones are only there.
    """

    parts: dict[str, int]
    trained: int
    frozen: int
    optimizer: int
    per_picture: int
    per_step: int
    activations: int


def count_cost(
    config: TrainConfig,
    build: Callable[[], nn.Module],
    loss: Callable[[nn.Module, int], Tensor],
    frozen: int = 0,
) -> Cost:
    """Count a step of what `build` makes in tensors without values, or with them where it asks."""
    try:
        with FakeTensorMode():  # shapes without values: no memory, no time
            return _counted(config, build(), loss, frozen)
    except (RuntimeError, NotImplementedError, TypeError):
        with torch.random.fork_rng(devices=[]):  # learns from its values, as a codebook does
            return _counted(config, build(), loss, frozen)


def _counted(
    config: TrainConfig, module: nn.Module, loss: Callable[[nn.Module, int], Tensor], frozen: int
) -> Cost:
    every = list(module.parameters())
    learnt = [each for each in every if each.requires_grad]
    optimizers = create_optimizers(module, config.loop.optimizer, 1e-3, 0.0)

    def run(batch: int) -> Tensor:
        """Do one step on a batch."""
        module.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=config.loop.bf16):
            return loss(module, batch)

    # What a step costs whatever its batch drops out of the difference of two batches.
    few, more = (_flops(run, batch) for batch in PAIR)
    kept = [_saved(run, batch) for batch in PAIR]
    span = PAIR[1] - PAIR[0]
    return Cost(
        _parts(module),
        sum(each.numel() for each in learnt),
        frozen + sum(each.numel() for each in every if not each.requires_grad),
        sum(_state(optimizer) for optimizer in optimizers),
        (more - few) // span,
        sum(_newton(optimizer) for optimizer in optimizers),
        (kept[1] - kept[0]) // span,
    )


def _parts(module: nn.Module) -> dict[str, int]:
    """Return how many parameters each part of a module has, and how many are its own."""
    found: dict[str, int] = {}
    for name, child in module.named_children():
        if isinstance(module, nn.ModuleDict):
            found |= {f"{name}.{part}": count for part, count in _parts(child).items()}
        else:
            found[name] = sum(each.numel() for each in child.parameters())
    found["others"] = sum(each.numel() for each in module.parameters()) - sum(found.values())
    return {name: count for name, count in found.items() if count}


def _flops(run: Callable[[int], Tensor], batch: int) -> int:
    # Attention in plain products, which the counter knows on every machine.
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        run(batch).backward()
    return int(counter.get_total_flops())


def _saved(run: Callable[[int], Tensor], batch: int) -> int:
    """Return the bytes that the forward pass keeps for the backward pass."""
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage()._cdata] = tensor  # a storage is kept once, in many views
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        run(batch)
    return sum(each.untyped_storage().nbytes() for each in kept.values())


def _state(optimizer: torch.optim.Optimizer) -> int:
    """Return the bytes of an optimiser's state: one moment for Muon, two for AdamW."""
    moments = 1 if isinstance(optimizer, torch.optim.Muon) else 2
    return sum(4 * moments * each.numel() for each in _of(optimizer))


def _newton(optimizer: torch.optim.Optimizer) -> int:
    """Return the FLOPs of Muon's orthogonalisation: three products in each of five steps."""
    if not isinstance(optimizer, torch.optim.Muon):
        return 0
    total = 0
    for each in _of(optimizer):
        short, long = sorted(each.shape)  # it works on the shorter side
        total += NEWTON_STEPS * 2 * (2 * short * short * long + short**3)
    return total


def _of(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    return [each for group in optimizer.param_groups for each in group["params"]]
