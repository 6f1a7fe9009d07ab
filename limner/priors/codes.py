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
        values = torch.arange(vocabulary)
        columns = [
            values // prod(used[:index]) % level + sum(used[:index])
            for index, level in enumerate(used)
        ]
        table = torch.stack(columns, dim=1) if used else torch.zeros(vocabulary, 0).long()
        self.register_buffer("digits", table, persistent=False)

    def forward(self) -> Tensor:
        """Return the whole table (G, V, D)."""
        if not self.digits.shape[1]:
            return self.free
        shared = [F.embedding_bag(self.digits, rows, mode="sum") for rows in self.by_digit]
        return self.free + torch.stack(shared)


def embed_cells(table: Tensor, codes: Tensor) -> Tensor:
    """Return the sum of a cell's code vectors (..., D) for codes (..., G) by a table (G, V, D)."""
    return torch.stack(
        [F.embedding(codes[..., group], rows) for group, rows in enumerate(table)]
    ).sum(0)


class CellHead(nn.Module):
    """Features (..., D) of a cell to logits of its codes, each knowing the ones before it.

    A cell's second code is predicted from the feature and the first code by a small feed-forward
    network, and so on: the depth transformer of RQ-VAE (Lee 2022, arXiv 2203.01941) at its least.
    """

    def __init__(
        self, groups: int, vocabulary: int, levels: Sequence[int], width: int, hidden: int
    ) -> None:
        super().__init__()
        self.groups = groups
        self.table = CodeTable(groups, vocabulary, levels, width, width**-0.5)
        self.bias = nn.Parameter(torch.zeros(groups, vocabulary))
        sizes = TransformerConfig(width=width, hidden=hidden)
        self.norms = nn.ModuleList(RMSNorm(width) for _ in range(groups - 1))
        self.mixers = nn.ModuleList(FeedForward(sizes) for _ in range(groups - 1))

    def forward(self, features: Tensor, codes: Tensor, inputs: Tensor) -> Tensor:
        """Return logits (..., G, V), teacher-forced; `inputs` (G, V, D) is the input table."""
        table = self.table()
        logits = [F.linear(features, table[0], self.bias[0])]
        for group in range(1, self.groups):
            known = embed_cells(inputs[:group], codes[..., :group])
            mixed = self._mix(features, known, group)
            logits.append(F.linear(mixed, table[group], self.bias[group]))
        return torch.stack(logits, dim=-2)

    def draw(
        self,
        features: Tensor,
        choose: Callable[[Tensor, int], Tensor],
        inputs: Tensor,
        outputs: Tensor,
    ) -> Tensor:
        """Choose a cell's codes (..., G) one after the other; `choose(logits, group)` picks each.

        `inputs` and `outputs` are the two tables (G, V, D), made once a drawing.
        """
        chosen = [choose(F.linear(features, outputs[0], self.bias[0]), 0)]
        for group in range(1, self.groups):
            known = embed_cells(inputs[:group], torch.stack(chosen, dim=-1))
            mixed = self._mix(features, known, group)
            chosen.append(choose(F.linear(mixed, outputs[group], self.bias[group]), group))
        return torch.stack(chosen, dim=-1)

    def _mix(self, features: Tensor, known: Tensor, group: int) -> Tensor:
        normed = self.norms[group - 1](features + known)
        mixed: Tensor = features + self.mixers[group - 1](normed)
        return mixed
