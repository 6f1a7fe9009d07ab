"""What every training step shares: precision, optimisers and one guarded update."""

import shutil
from collections.abc import Callable

import torch
from torch import Tensor, nn

from limner.errors import ConfigError, NonFiniteError
from limner.train.config import TrainConfig
from limner.train.optimizer import create_optimizers, schedule


def optimizers_for(module: nn.Module, config: TrainConfig) -> list[torch.optim.Optimizer]:
    """Return the optimisers that a run's config asks for."""
    loop = config.loop
    return create_optimizers(module, loop.optimizer, loop.learning_rate, loop.weight_decay)


def device_of(config: TrainConfig) -> torch.device:
    """Return where a run computes: "auto" is the GPU where there is one.

    Raises ConfigError when the config asks for a GPU and there is none.
    """
    wanted = config.loop.device
    if wanted == "cuda" and not torch.cuda.is_available():
        raise ConfigError(
            "loop.device is 'cuda', but torch finds no GPU; give 'auto' or 'cpu', or install a "
            "build of torch for your GPU"
        )
    gpu = wanted != "cpu" and torch.cuda.is_available()
    return torch.device("cuda" if gpu else "cpu")


def precision(config: TrainConfig) -> torch.autocast:
    """Return the context of a run's arithmetic: bf16 where that is safe, or plain fp32."""
    return torch.autocast(device_of(config).type, torch.bfloat16, enabled=config.loop.bf16)


def compiled(function: Callable[..., Tensor], config: TrainConfig) -> Callable[..., Tensor]:
    """Return `function` as it is, or compiled for any batch shape where the config asks for it.

    Raises ConfigError when there is no C++ compiler for it.
    """
    if not config.loop.compile:
        return function
    if not any(shutil.which(name) for name in ("g++", "clang++", "cl")):
        raise ConfigError(
            "loop.compile needs a C++ compiler and none was found; install g++, or train slower "
            "with --set loop.compile=false"
        )
    faster: Callable[..., Tensor] = torch.compile(function, dynamic=True)
    return faster


def update(
    loss: Tensor,
    optimizers: list[torch.optim.Optimizer],
    module: nn.Module,
    step: int,
    config: TrainConfig,
) -> dict[str, float]:
    """Do one optimiser step on `module`; return the gradient's norm and the learning rate.

    Raises NonFiniteError before anything changes when the loss or its gradient is not finite.
    """
    loop = config.loop
    for optimizer in optimizers:
        optimizer.zero_grad(set_to_none=True)
    loss.backward()
    parameters = [p for p in module.parameters() if p.grad is not None]
    norm = float(torch.nn.utils.clip_grad_norm_(parameters, loop.clip))
    if not (torch.isfinite(loss) and norm < float("inf")):
        raise NonFiniteError(
            f"the loss is {float(loss.detach())} and its gradient {norm} at step {step}; nothing "
            "was updated: lower loop.learning_rate, or resume from the last checkpoint"
        )
    rate = loop.learning_rate * schedule(step, loop.steps, loop.warmup, loop.decay, loop.schedule)
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
    return {"gradient_norm": norm, "learning_rate": rate}
