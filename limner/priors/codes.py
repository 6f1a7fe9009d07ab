"""Image codes as vectors and back: tables that share what codes share, heads for several a cell.

Shapes: B pictures, S cells, G codes a cell, V vocabulary of a code, D width.
"""

from collections.abc import Callable, Sequence
from math import prod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from limner.nn.transformer import FeedForward, RMSNorm, TransformerConfig


class CodeTable(nn.Module):
    """One vector for each value of each code of a cell, (G, V, D).

    Where `levels` multiply to the vocabulary (finite scalar quantisation), a value's vector is a
    free one plus one for each of its digits, so that values which differ in a digit share the rest.
    """

    digits: Tensor

    def __init__(
        self, groups: int, vocabulary: int, levels: Sequence[int], width: int, scale: float
    ) -> None:
        super().__init__()
        shared = bool(levels) and prod(levels) == vocabulary
        used = tuple(levels) if shared else ()
        free = 0.1 if shared else 1.0
        self.free = nn.Parameter(torch.randn(groups, vocabulary, width) * free * scale)
        rows = torch.randn(groups, sum(used), width) * scale * max(1, len(used)) ** -0.5
        self.by_digit = nn.Parameter(rows)
        # Digits of a value in the mixed base of `levels`, each with rows of its own in `by_digit`.
        values = torch.arange(vocabulary)
        columns = [
            values // prod(used[:index]) % level + sum(used[:index])
            for index, level in enumerate(used)
        ]
        table = torch.stack(columns, dim=1) if used else torch.zeros(vocabulary, 0).long()
        self.register_buffer("digits", table, persistent=False)

    def forward(self, groups: slice = slice(None)) -> Tensor:
        """Return the whole table (G, V, D), or that of some of its groups."""
        # embedding_bag fails on vectors of no width when it works with several threads
        if not self.digits.shape[1] or not self.free.shape[-1]:
            return self.free[groups]
        shared = [F.embedding_bag(self.digits, rows, mode="sum") for rows in self.by_digit[groups]]
        return self.free[groups] + torch.stack(shared)


def embed_cells(table: Tensor, codes: Tensor) -> Tensor:
    """Return the sum of a cell's code vectors (..., D) for codes (..., G) by a table (G, V, D)."""
    return torch.stack(
        [F.embedding(codes[..., group], rows) for group, rows in enumerate(table)]
    ).sum(0)


class CellHead(nn.Module):
    """Features (..., D) of a cell to logits of its codes, each knowing the ones before it.

    A cell's second code is predicted from the feature and the first code by a small feed-forward
    network, and so on: the depth transformer of RQ-VAE (Lee 2022, arXiv 2203.01941) at its least.
    With several `maps` each has rows of its own, G a map, one map's after the other's.
    """

    def __init__(
        self,
        groups: int,
        vocabulary: int,
        levels: Sequence[int],
        width: int,
        *,
        hidden: int,
        maps: int = 1,
    ) -> None:
        super().__init__()
        self.groups = groups
        self.table = CodeTable(maps * groups, vocabulary, levels, width, width**-0.5)
        self.bias = nn.Parameter(torch.zeros(maps * groups, vocabulary))
        sizes = TransformerConfig(width=width, hidden=hidden)
        self.norms = nn.ModuleList(RMSNorm(width) for _ in range(groups - 1))
        self.mixers = nn.ModuleList(FeedForward(sizes) for _ in range(groups - 1))

    def rows(self, which: int) -> slice:
        """Return which rows of a table of all maps belong to map `which`."""
        return slice(which * self.groups, (which + 1) * self.groups)

    def forward(self, features: Tensor, codes: Tensor, inputs: Tensor, which: int = 0) -> Tensor:
        """Return logits (..., G, V) of cells of map `which`, teacher-forced.

        `inputs` (M * G, V, D) is the input table of all maps.
        """
        rows = self.rows(which)
        table, bias, inputs = self.table(rows), self.bias[rows], inputs[rows]
        logits = [F.linear(features, table[0], bias[0])]
        for group in range(1, self.groups):
            known = embed_cells(inputs[:group], codes[..., :group])
            mixed = self.mix(features, known, group)
            logits.append(F.linear(mixed, table[group], bias[group]))
        return torch.stack(logits, dim=-2)

    def draw(
        self,
        features: Tensor,
        choose: Callable[[Tensor, int], Tensor],
        inputs: Tensor,
        outputs: Tensor,
        which: int = 0,
    ) -> Tensor:
        """Choose a cell's codes (..., G) one after the other; `choose(logits, group)` picks each.

        `inputs` and `outputs` are the two tables (M * G, V, D), made once a drawing; the cells are
        of map `which`.
        """
        rows = self.rows(which)
        inputs, outputs, bias = inputs[rows], outputs[rows], self.bias[rows]
        chosen = [choose(F.linear(features, outputs[0], bias[0]), 0)]
        for group in range(1, self.groups):
            known = embed_cells(inputs[:group], torch.stack(chosen, dim=-1))
            mixed = self.mix(features, known, group)
            chosen.append(choose(F.linear(mixed, outputs[group], bias[group]), group))
        return torch.stack(chosen, dim=-1)

    def mix(self, features: Tensor, known: Tensor, group: int) -> Tensor:
        """Return the features (..., D) of a cell's code, with the sum of its codes before it."""
        if not group:
            return features
        normed = self.norms[group - 1](features + known)
        return features + self.mixers[group - 1](normed)
