"""Optimisers, learning-rate schedule and weight averaging."""

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn


def split_parameters(module: nn.Module) -> tuple[list[Tensor], list[Tensor]]:
    """Return (weights of linear layers, everything else) of a module's trainable parameters.

    Muon is made for the first; embeddings, tables, norms and biases belong to AdamW.
    """
    # By identity: two layers may share one tensor.
    linear = {id(child.weight) for child in module.modules() if isinstance(child, nn.Linear)}
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    return (
        [parameter for parameter in trained if id(parameter) in linear],
        [parameter for parameter in trained if id(parameter) not in linear],
    )


def create_optimizers(
    module: nn.Module, kind: str, learning_rate: float, weight_decay: float
) -> list[torch.optim.Optimizer]:
    """Return the optimisers of a module: one AdamW, or Muon for matrices beside AdamW.

    Vectors and biases of any shape, such as (groups, vocabulary), do not decay. Muon (Jordan 2024)
    orthogonalises the momentum of hidden matrices; its updates are scaled to AdamW's size
    ("match_rms_adamw"), so both follow one learning rate.
    """
    matrices, others = split_parameters(module)
    if kind == "adamw":
        matrices, others = [], matrices + others
    # States find moments by their number: matrices first, as every older state has them.
    ordered = [p for p in others if p.ndim >= 2] + [p for p in others if p.ndim < 2]
    groups = decay_groups(module, ordered, weight_decay)
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(groups, lr=learning_rate, betas=(0.9, 0.98), eps=1e-8, fused=True)
    ]
    if matrices:
        optimizers.append(
            torch.optim.Muon(
                matrices,
                lr=learning_rate,
                weight_decay=weight_decay,
                momentum=0.95,
                adjust_lr_fn="match_rms_adamw",
            )
        )
    return optimizers


def decay_groups(
    module: nn.Module, parameters: Sequence[Tensor], weight_decay: float
) -> list[dict[str, Any]]:
    """Return an optimiser's groups of a module's parameters, in which no bias or vector decays.

    The parameters keep their order, by which a saved state finds them again.
    """
    biases = {
        id(parameter) for name, parameter in module.named_parameters() if name.endswith("bias")
    }

    def decay_of(parameter: Tensor) -> float:
        return 0.0 if parameter.ndim < 2 or id(parameter) in biases else weight_decay

    return [
        {"params": list(alike), "weight_decay": decay}
        for decay, alike in groupby(parameters, decay_of)
    ]


def schedule(step: int, steps: int, warmup: int, decay: float, kind: str = "wsd") -> float:
    """Return the share of the learning rate at a step: "wsd", "cosine" or "constant".

    wsd is warm-up, stable, then down to zero over the last `decay` of the steps
    (arXiv 2404.06395): a run can be prolonged without a restart.
    """
    rise = min(1.0, (step + 1) / max(warmup, 1))  # counts from 1: the first step learns too
    if kind == "constant":
        return rise
    if kind == "cosine":
        return rise * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, step / steps))))
    left = (steps - step) / max(1.0, decay * steps)  # in units of the decay, 1 or more before it
    return rise * max(0.0, min(1.0, left))


class EMA:
    """Exponential moving average of a module's parameters, warmed up so that early steps count."""

    def __init__(self, parameters: Iterable[Tensor], decay: float) -> None:
        self.parameters = list(parameters)
        self.decay = decay
        self.values = [parameter.detach().clone() for parameter in self.parameters]

    def update(self, step: int) -> None:
        """Move towards the parameters as they are after `step`."""
        # A short memory while little is learnt: 1/10, 2/11 and so on of what was.
        weight = 1 - min(self.decay, (step + 1) / (step + 10))
        torch._foreach_lerp_(self.values, [p.detach() for p in self.parameters], weight)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Put the average in the parameters' place for a while."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def _swap(self) -> None:
        with torch.no_grad():
            for parameter, value in zip(self.parameters, self.values, strict=True):
                held = parameter.detach().clone()  # swapped, so that both places keep their tensors
                parameter.copy_(value)
                value.copy_(held)
