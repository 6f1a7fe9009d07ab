"""Which value each number of a latent of finite scalars has: its logits, and what is drawn by them.

Finite scalars are those of FSQ (Mentzer 2023, arXiv 2309.15505). With a cross-entropy a network
learns to be sure of each, where a squared error would ask for the mean of all that may be.

Shapes: C numbers of a cell, V values that a number may have, W width.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from limner.errors import ConfigError


class ScalarHead(nn.Linear):
    """Features (..., W) to logits of the values of each number (..., C, V), in fp32."""

    scalars: Tensor  # (C, V): the values of each number, NaN where it has fewer

    def __init__(self, width: int, channels: int, levels: Sequence[int]) -> None:
        values = finite_scalars(levels)
        if channels % len(values):
            raise ConfigError(
                f"levels is {list(levels)}, and {channels} channels are drawn; expected those of "
                "the codec, whose number divides the channels",
                param="levels",
            )
        super().__init__(width, channels * max(levels))
        self.levels = tuple(levels)
        groups = channels // len(values)
        # Not tile: outlined, it would bring in torch's compiler.
        self.register_buffer("scalars", torch.cat([values] * groups), False)
        nn.init.zeros_(self.weight)
        nn.init.zeros_(self.bias)

    @torch.no_grad()
    def begin_as(self, prior: Any) -> None:
        """Take what tells values apart from the digits of a prior's codes, where it has such."""
        rows = prior.state_dict().get("head.table.by_digit")  # (groups, digits' values, W)
        groups = len(self.scalars) // len(self.levels)
        if rows is not None and rows.shape == (groups, sum(self.levels), self.in_features):
            held = self.weight.view(*self.scalars.shape, self.in_features)
            held[~self.scalars.isnan()] = rows.flatten(0, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Map features (..., W) to logits (..., C, V); a value that a number lacks has -inf."""
        logits = super().forward(features).float().unflatten(-1, self.scalars.shape)
        return logits.masked_fill(self.scalars.isnan(), float("-inf"))

    def expected(self, logits: Tensor) -> Tensor:
        """Return the numbers (..., C) that are expected of logits (..., C, V)."""
        return (logits.softmax(-1) * self.scalars.nan_to_num()).sum(-1)

    def likeliest(self, logits: Tensor) -> Tensor:
        """Return the likeliest numbers (..., C), with the gradient of the expected ones."""
        likely = self.scalars.nan_to_num().expand_as(logits)
        hard = likely.gather(-1, logits.argmax(-1, keepdim=True)).squeeze(-1)
        expected = self.expected(logits)
        return expected + (hard - expected).detach()

    def loss(self, logits: Tensor, numbers: Tensor) -> Tensor:
        """Return the cross-entropy of logits (..., C, V) with true numbers (..., C), in nats."""
        away = numbers[..., None] - self.scalars.nan_to_num(float("inf"))
        wanted = away.abs().argmin(-1)
        return F.cross_entropy(logits.flatten(0, -2), wanted.flatten())


def finite_scalars(levels: Sequence[int]) -> Tensor:
    """Return the values (digits, V) that finite scalars of so many levels have, padded with NaN."""
    rows = [[(digit - level // 2) / (level // 2) for digit in range(level)] for level in levels]
    return torch.tensor([row + [float("nan")] * (max(levels) - len(row)) for row in rows])


def check_levels(levels: Sequence[int], patch: int) -> None:
    """Raise ConfigError unless values of so many levels can be told apart, if there are any."""
    if not levels:
        return
    if min(levels) < 2:
        raise ConfigError(
            f"levels is {list(levels)}; expected those of the codec, each of 2 at least",
            param="levels",
        )
    if patch != 1:
        raise ConfigError(
            f"levels are given with patch {patch}; values are told apart by patch 1 alone",
            param="levels",
        )
