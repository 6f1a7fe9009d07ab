"""Training steps: what one optimiser step does, and what all trainable parts share of it.

A part's step stands on `Step`; the loop knows nothing else of it.
"""

import math
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from limner.checkpoint.model import save_checkpoint
from limner.decoders.blocks import TimedBlock
from limner.errors import ConfigError, NonFiniteError
from limner.nn.conv import ResidualBlock
from limner.nn.devices import computes_bf16, find_device
from limner.nn.transformer import Block
from limner.train.config.run import TrainConfig
from limner.train.inputs.own import OwnData
from limner.train.optimizer import EMA, create_optimizers, schedule
from limner.train.ranks.group import environment_world, local_rank, mean_over_ranks
from limner.train.ranks.parallel import ParallelModule, parallelize
from limner.train.ranks.shards import whole
from limner.train.tasks import call
from limner.types import check_device


class Step:
    """One trainable part, as the loop sees it: it owns its modules, optimisers and averages.

    `notes` is what the person who trains should know of how it was set up; `made_of` holds hashes
    of what its weights were trained on, which must be the same to resume. `judged` names the number
    of `validate` that says how good the part is, and whether more of it (1) or less (-1) is better.
    `batches` is what each step takes the next one of, filled by `start`. `validate`, `samples` and
    `export` are called while the averaged weights stand in place. `stopped` says why the run is to
    end; "" while it goes on.
    """

    judged: tuple[str, int] = ("validation", -1)
    stopped = ""
    trained: Any
    parallel: ParallelModule

    def __init__(self, config: TrainConfig) -> None:
        self.config, self.device = config, device_of(config)
        self.notes: list[str] = []
        self.made_of: dict[str, str] = {}
        self.modules: dict[str, nn.Module] = {}
        self.averages: dict[str, EMA] = {}
        self.optimizers: list[torch.optim.Optimizer] = []
        self.scaler = scaler_of(config)
        self.batches: Iterator[Any] = iter(())

    def learn(self, name: str, module: nn.Module, run: Callable[..., Any] | None = None) -> None:
        """Train a module, of which a state keeps weights and average under `name`.

        `run` computes with it, its forward by default; `parallel.run` is that on all ranks. Give
        the module as it begins, on its device: optimisers take its parameters as they are.
        """
        self.trained = module  # whose gradients are clipped together
        save_memory(module, self.config)  # before it is wrapped
        self.parallel = parallelize(module, run or module.forward, self.config)
        self.modules[name] = module
        self.averages[name] = self.parallel.ema(self.config.loop.average)
        self.optimizers += optimizers_for(module, self.config)

    def start(self, step: int) -> None:
        """Be ready to go on from `step`."""
        raise NotImplementedError

    def __call__(self, step: int) -> dict[str, float]:
        """Do one update and return its numbers."""
        raise NotImplementedError

    def validate(self) -> dict[str, float]:
        """Measure on pictures that training never sees."""
        raise NotImplementedError

    def samples(self) -> Tensor:
        """Return pictures (B, 3, H, W) that show what has been learnt."""
        raise NotImplementedError

    def react(self, validation: dict[str, float]) -> list[str]:
        """Act on the numbers of `validate`, the averages not in place; return what to tell."""
        return []

    def repeated(self, samples: Tensor) -> list[str]:
        """Return what to tell of samples (B, 3, H, W) that were learnt by heart."""
        return []

    def export(self, out: Path) -> None:
        """Write the averaged weights in the form that the next stage reads."""
        raise NotImplementedError

    def update(
        self,
        losses: Iterable[Tensor],
        step: int,
        optimizers: list[torch.optim.Optimizer] | None = None,
    ) -> dict[str, float]:
        """Do one update of what is trained and of its averages, as the function `update`.

        It is that of all optimisers, or of those given.
        """
        used = self.optimizers if optimizers is None else optimizers
        numbers = update(losses, used, self.trained, step, self.config, self.scaler)
        for average in self.averages.values():
            average.update(step)
        return numbers

    def parts(self, rows: int) -> Iterator[tuple[slice, float]]:
        """Yield the rows of each part of a batch and its share, in the run's arithmetic."""
        for part, share in parts_of(rows, self.config):
            with precision(self.config):
                yield part, share

    def random(self, step: int) -> torch.Generator:
        """Return the source of a step's chance: a resumed run draws what the unbroken one does."""
        return torch.Generator().manual_seed(self.config.loop.seed * 1_000_003 + step)

    @contextmanager
    def measuring(self, module: nn.Module, *, exact: bool = False) -> Iterator[None]:
        """Let a module be as it is used, in the run's arithmetic or, if `exact`, in fp32."""
        training = module.training
        module.eval()
        try:
            with nullcontext() if exact else precision(self.config):
                yield
        finally:
            module.train(training)

    def save_model(self, out: Path, pipeline: Any, **values: Any) -> None:
        """Write the model folder `out`/model; `values` as `save_checkpoint` takes them."""
        licence = self.config.model_licence
        save_checkpoint(out / "model", pipeline, name=out.name, licence=licence, **values)


def create_step(config: TrainConfig, data: OwnData | None = None) -> Step:
    """Return the training step of a config's task; `data` where its pictures are opened already."""
    step: Step = call(config.kind.step, config, data)
    return step


def optimizers_for(module: nn.Module, config: TrainConfig) -> list[torch.optim.Optimizer]:
    """Return the optimisers that a run's config asks for."""
    loop = config.loop
    return create_optimizers(module, loop.optimizer, loop.learning_rate, loop.weight_decay)


def device_of(config: TrainConfig) -> torch.device:
    """Return where a run computes: "auto" is the GPU where there is one.

    Raises ConfigError when the config asks for a GPU and there is none, or several ranks for one.
    """
    wanted, _ = check_device(config.loop.device)
    if wanted == "cuda" and not torch.cuda.is_available():
        raise ConfigError(
            f"loop.device is {config.loop.device!r}, but torch finds no GPU; give 'auto' or 'cpu', "
            "or install a build of torch for your GPU"
        )
    gpu = wanted != "cpu" and torch.cuda.is_available()
    numbered = ":" in config.loop.device  # cuda:1 names one GPU for all
    if numbered and environment_world().size > 1:
        raise ConfigError(
            f"loop.device is {config.loop.device!r}, but each of several ranks takes a GPU of its "
            "own; give 'cuda' or 'auto'",
            param="loop.device",
        )
    if gpu and numbered:
        return find_device(config.loop.device)
    if gpu and environment_world().size > 1:
        return torch.device("cuda", local_rank())
    return torch.device("cuda" if gpu else "cpu")


def precision(config: TrainConfig) -> torch.autocast:
    """Return the context of a run's arithmetic: bf16 where that is safe, fp16, or plain fp32."""
    loop, device = config.loop, device_of(config)
    kind = torch.float16 if loop.fp16 else torch.bfloat16
    enabled = loop.fp16 or (loop.bf16 and computes_bf16(device))
    return torch.autocast(device.type, kind, enabled=enabled)


def notes_on_precision(config: TrainConfig) -> list[str]:
    """Return what a person should know of a run's arithmetic: whether it is not what was asked."""
    loop = config.loop
    if loop.fp16 or not loop.bf16 or computes_bf16(device_of(config)):
        return []
    return ["this processor does not compute in bf16, so the run is in fp32, which is faster here"]


def scaler_of(config: TrainConfig) -> torch.amp.GradScaler | None:
    """Return what scales the loss, so that small gradients are not lost in fp16; else None."""
    return torch.amp.GradScaler(device_of(config).type) if config.loop.fp16 else None


def save_memory(module: nn.Module, config: TrainConfig) -> None:
    """Make the blocks of a module compute their activations again in the backward pass.

    Gradients are the same (Chen 2016, arXiv 1604.06174); nothing is done unless the config asks.
    """
    if not config.loop.checkpointing:
        return
    for part in module.modules():
        # Blocks are large enough to be worth computing twice; what stands between them is not.
        if isinstance(part, Block | ResidualBlock | TimedBlock):
            again = partial(checkpoint, part.forward, use_reentrant=False)
            object.__setattr__(part, "forward", again)  # past nn.Module, which would keep a module


def parts_of(rows: int, config: TrainConfig) -> list[tuple[slice, float]]:
    """Return the rows of each part of a batch, and the part's share of the batch."""
    count = min(config.loop.accumulate, rows)
    ends = [rows * number // count for number in range(count + 1)]  # sizes differ by one at most
    return [(slice(a, b), (b - a) / rows) for a, b in pairwise(ends)]


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
    losses: Iterable[Tensor],
    optimizers: list[torch.optim.Optimizer],
    module: nn.Module,
    step: int,
    config: TrainConfig,
    scaler: torch.amp.GradScaler | None = None,
) -> dict[str, float]:
    """Do one optimiser step on `module`; return the loss, the gradient's norm and the rate.

    The loss is the sum of `losses`, those of a batch's parts: each is asked for once the gradient
    of the one before is there. With a `scaler`, a gradient that overflows fp16 makes the scale
    smaller in place of a step. Raises NonFiniteError before anything changes when the loss, or
    without a scaler its gradient, is not finite.
    """
    loop = config.loop
    for optimizer in optimizers:
        # 1. Gradients of all parts of the batch add up; no graph outlives its part.
        optimizer.zero_grad(set_to_none=True)
    total = 0.0
    for loss in losses:
        # Small gradients are lost in fp16 unless the loss is scaled up.
        (loss if scaler is None else scaler.scale(loss)).backward()
        total += float(loss.detach())
    total = mean_over_ranks({"loss": total})["loss"]  # all ranks decide alike
    if scaler is not None:
        for optimizer in optimizers:
            scaler.unscale_(optimizer)  # clipping is of true gradients
    # 2. Clip, over whole tensors where ranks hold slices, and refuse what is not finite.
    parameters = [p for p in module.parameters() if p.grad is not None]
    norm = float(whole(torch.nn.utils.clip_grad_norm_(parameters, loop.clip)))
    # A scale that was too large overflows: no fault of the run, so the scale alone changes.
    overflowed = scaler is not None and not math.isfinite(norm) and scaler.get_scale() > 1
    if not (math.isfinite(total) and (math.isfinite(norm) or overflowed)):
        raise NonFiniteError(
            f"the loss is {total} and its gradient {norm} at step {step}; nothing was updated: "
            "lower loop.learning_rate, or resume from the last checkpoint"
        )
    # 3. The step itself, at this step's rate; a gradient that overflowed makes none.
    rate = loop.learning_rate * schedule(step, loop.steps, loop.warmup, loop.decay, loop.schedule)
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = rate
        if not overflowed:
            optimizer.step()
    numbers = {"loss": total, "gradient_norm": norm, "learning_rate": rate}
    if scaler is None:
        return numbers
    scaler.update()
    held = 0.0 if overflowed else norm  # JSON has no infinity
    return numbers | {"gradient_norm": held, "loss_scale": scaler.get_scale()}
