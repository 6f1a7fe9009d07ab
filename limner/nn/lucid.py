"""Layers of DALLE-pytorch: attention and feed-forward, each scaled, with inputs shifted by a token.

Shapes: B rows, L new positions, N positions in all, T text positions with the one that begins, W
cells along a side of the picture, D width, H heads, K dimensions of a head, R of them turned.
github.com/lucidrains/DALLE-pytorch, 1.6: pre-norm, layer scale (arXiv 2103.17239), GEGLU (arXiv
2002.05202), rotary positions of queries, keys and values (arXiv 2104.09864), and token shift.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

KINDS = ("full", "axial_row", "axial_col")


@dataclass(frozen=True)
class Shape:
    """Sizes of a layer; `text` counts T, `side` W, and `sandwich` is a norm behind each part."""

    width: int
    heads: int
    head: int
    text: int
    side: int
    shift: bool
    sandwich: bool

    @property
    def length(self) -> int:
        """How many positions there are, N: the last cell predicts nothing."""
        return self.text + self.side**2 - 1


def allowed(shape: Shape, kind: str) -> Tensor:
    """Return who may see whom (N, N): what is before, of cells the text and a row or a column."""
    seen = torch.ones(shape.length, shape.length, dtype=torch.bool).tril()
    if kind == "full":
        return seen
    cells = torch.arange(shape.length) - shape.text
    line = cells // shape.side if kind == "axial_row" else cells % shape.side
    together = (line[:, None] == line) | (cells < 0)  # the text is seen by all
    return seen & (together | (cells < 0)[:, None])


class Cache:
    """What a layer has seen of B rows: inputs of both parts, keys and values."""

    def __init__(self, shape: Shape, rows: int, like: Tensor) -> None:
        inputs = (rows, shape.length, shape.width)
        self.inputs = [like.new_zeros(inputs) for _ in range(2)]
        size = (rows, shape.heads, shape.length, shape.head)
        self.keys, self.values = like.new_zeros(size), like.new_zeros(size)


class Layer(nn.Module):
    """Attention, then feed-forward, each added in a share of its own for every dimension."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        width, inner = shape.width, shape.heads * shape.head
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.after = nn.ModuleList(
            nn.LayerNorm(width) if shape.sandwich else nn.Identity() for _ in range(2)
        )
        self.scales = nn.ParameterList(torch.full((1, 1, width), 0.1) for _ in range(2))
        self.qkv = nn.Linear(width, 3 * inner, bias=False)
        self.out = nn.Linear(inner, width)
        self.into = nn.Linear(width, 8 * width)  # the value, then its gate
        self.down = nn.Linear(4 * width, width)

    def forward(
        self, x: Tensor, at: int, cache: Cache, seen: Tensor, angles: Tensor | None
    ) -> Tensor:
        """Map x (B, L, D) at positions `at`, .. to the same shape, into the cache.

        `seen` (N, N) says who sees whom; `angles` (N, R) turn queries, keys and values.
        """

        def attend(inputs: Tensor) -> Tensor:
            """Return what inputs (B, n, D) see of themselves and of all places before."""
            end = at + inputs.shape[1]
            parts = self.qkv(inputs).chunk(3, dim=-1)
            heads = (each.unflatten(-1, (self.shape.heads, -1)).transpose(1, 2) for each in parts)
            q, k, v = (each if angles is None else turn(each, angles[at:end]) for each in heads)
            cache.keys[:, :, at:end], cache.values[:, :, at:end] = k, v
            held = cache.keys[:, :, :end], cache.values[:, :, :end]
            mixed = F.scaled_dot_product_attention(q, *held, attn_mask=seen[at:end, :end])
            out: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
            return out

        def feed(inputs: Tensor) -> Tensor:
            """Return the gated feed-forward layer of inputs (B, n, D)."""
            value, gate = self.into(inputs).chunk(2, dim=-1)
            out: Tensor = self.down(value * F.gelu(gate))
            return out

        for number, part in enumerate((attend, feed)):
            x = x + self._part(number, part, x, at, cache.inputs[number])
        return x

    def _part(
        self, number: int, part: Callable[[Tensor], Tensor], x: Tensor, at: int, held: Tensor
    ) -> Tensor:
        normed, end = self.norms[number](x), at + x.shape[1]
        held[:, at:end] = normed
        inputs = shifted(held, at, end, self.shape) if self.shape.shift else normed
        out: Tensor = self.after[number](part(inputs)) * self.scales[number]
        return out


def shifted(held: Tensor, at: int, end: int, shape: Shape) -> Tensor:
    """Return the inputs of positions [at, end) of `held` (B, N, D), partly those of others.

    A text position has half of its dimensions of the one before; a cell a quarter of the one above
    it and the next quarter of the one to its left. Beyond an edge there is nothing.
    """
    places = torch.arange(at, end, device=held.device)
    cells, text = places - shape.text, places < shape.text
    quarter, half = held.shape[-1] // 4, held.shape[-1] // 2
    left = torch.where(text | (cells % shape.side != 0), places - 1, -1)
    above = torch.where(cells >= shape.side, places - shape.side, -1)
    first = torch.where(text, left, above)  # where the first quarter comes from

    def of(place: Tensor, dimensions: slice) -> Tensor:
        """Return some dimensions of the inputs at other places; 0 for places that are not there."""
        found = held[:, place.clamp_min(0), dimensions]
        return found * (place >= 0)[:, None]

    parts = [of(first, slice(quarter)), of(left, slice(quarter, half)), held[:, at:end, half:]]
    return torch.cat(parts, dim=-1)


def turn(x: Tensor, angles: Tensor) -> Tensor:
    """Turn neighbouring pairs of the first R dimensions of x (B, H, L, K) by angles (L, R)."""
    count = angles.shape[-1]
    turned, rest = x[..., :count], x[..., count:]
    first, second = turned.unflatten(-1, (-1, 2)).unbind(-1)
    crossed = torch.stack([-second, first], dim=-1).flatten(-2)
    return torch.cat([turned * angles.cos() + crossed * angles.sin(), rest], dim=-1)
