"""How well a codec uses its codes, and how many bits they are.

Shapes: N pictures, S cells of all token maps, G codes a cell.
"""

from dataclasses import dataclass
from math import log2
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class CodeUse:
    """The share of the vocabulary that occurs, and the perplexity of the codes' frequencies."""

    used: float
    perplexity: float


def bits_of(codec: Any) -> float:
    """Return the bits of one picture's codes, each at log2 of the vocabulary."""
    cells = sum(rows * columns for rows, columns in codec.maps)
    return cells * codec.groups * log2(codec.vocabulary)


def code_use(codes: Tensor, codec: Any) -> CodeUse:
    """Return the mean use of codes (N, *layout[, G]) over token maps and groups."""
    each = code_use_by_map(codes, codec)
    return CodeUse(
        sum(use.used for use in each) / len(each), sum(use.perplexity for use in each) / len(each)
    )


def code_use_by_map(codes: Tensor, codec: Any) -> list[CodeUse]:
    """Return the use of codes (N, *layout[, G]) of each token map, the mean over its groups.

    A map can show no more codes than it has cells in N pictures: of few pictures, coarse maps look
    worse than they are.
    """
    rows = codes.flatten(1, len(codec.layout))
    rows = rows.view(*rows.shape[:2], codec.groups)  # (N, S, G)
    sizes = [height * width for height, width in codec.maps]
    uses = []
    for part in rows.split(sizes, dim=1):
        groups = [_use_of(group, codec.vocabulary) for group in part.unbind(-1)]
        used, perplexity = torch.tensor(groups, dtype=torch.float64).mean(0).tolist()
        uses.append(CodeUse(used, perplexity))
    return uses


def _use_of(codes: Tensor, vocabulary: int) -> tuple[float, float]:
    counts = torch.bincount(codes.flatten(), minlength=vocabulary).double()
    shares = counts[counts > 0] / counts.sum()
    return len(shares) / vocabulary, float((-(shares * shares.log()).sum()).exp())
