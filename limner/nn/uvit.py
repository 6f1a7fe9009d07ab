"""The network of aMUSEd: a transformer between two convolutional sides, over masked codes.

Shapes: B pictures, h and w the grid, L = h * w cells, T text positions, D width, C channels of the
sides, E width of the text. Patil 2024, arXiv 2401.01808, as github.com/huggingface/diffusers,
models/unets/uvit_2d.py, has it: RMSNorm, ConvNeXt V2 blocks (arXiv 2301.00808), no biases. Every
attention of the sides looks at the text alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

EPSILON = 1e-6


@dataclass(frozen=True)
class UViTSizes:
    """Sizes; `told` is the text's width, `pooled` that of its one vector, `micro` of a number's.

    `rows` are the ids that are read, the mask among them, `codes` those that are predicted. `sides`
    are the blocks of each side, and `halves` says whether the transformer sees half of the grid.
    """

    width: int
    heads: int
    layers: int
    hidden: int
    channels: int
    side_heads: int
    sides: int
    embedded: int
    rows: int
    codes: int
    told: int
    pooled: int
    micro: int
    numbers: int
    halves: bool


class Attention(nn.Module):
    """Queries of x, keys and values of what is seen."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.out = (
            nn.Linear(width, width, bias=False) for _ in range(4)
        )

    def forward(self, x: Tensor, seen: Tensor) -> Tensor:
        """Map x (B, L, D), seeing (B, S, D), to (B, L, D)."""
        parts = (self.query(x), self.key(seen), self.value(seen))
        q, k, v = (each.unflatten(2, (self.heads, -1)).transpose(1, 2) for each in parts)
        mixed = F.scaled_dot_product_attention(q, k, v)
        out: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return out


class Adapted(nn.Module):
    """A norm whose scale and shift are those of a condition; a `centred` one takes the mean off."""

    def __init__(self, width: int, *, centred: bool = False) -> None:
        super().__init__()
        self.norm: nn.Module = nn.RMSNorm(width, EPSILON)
        if centred:
            self.norm = nn.LayerNorm(width, EPSILON, bias=False)
        self.linear = nn.Linear(width, 2 * width, bias=False)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Normalise x (B, L, D) by a condition (B, D)."""
        scale, shift = self.linear(F.silu(condition)).chunk(2, dim=1)
        out: Tensor = self.norm(x) * (1 + scale)[:, None] + shift[:, None]
        return out


class Layer(nn.Module):
    """Attention among the cells, a look at the text, and a gated network, each conditioned."""

    def __init__(self, sizes: UViTSizes) -> None:
        super().__init__()
        # The last of them is a layer norm, in what was published.
        self.norms = nn.ModuleList(Adapted(sizes.width, centred=at == 2) for at in range(3))
        self.attention = Attention(sizes.width, sizes.heads)
        self.cross = Attention(sizes.width, sizes.heads)
        self.into = nn.Linear(sizes.width, 2 * sizes.hidden, bias=False)  # value, then gate
        self.down = nn.Linear(sizes.hidden, sizes.width, bias=False)

    def forward(self, x: Tensor, text: Tensor, condition: Tensor) -> Tensor:
        """Map x (B, L, D) to the same shape."""
        normed = self.norms[0](x, condition)
        x = x + self.attention(normed, normed)
        x = x + self.cross(self.norms[1](x, condition), text)
        value, gate = self.into(self.norms[2](x, condition)).chunk(2, dim=-1)
        out: Tensor = x + self.down(value * F.gelu(gate))
        return out


class ConvNeXt(nn.Module):
    """A depthwise convolution and a wide network with response norm, scaled by a condition."""

    def __init__(self, sizes: UViTSizes) -> None:
        super().__init__()
        channels = sizes.channels
        self.depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        self.norm = nn.RMSNorm(channels, EPSILON)
        self.into = nn.Linear(channels, 4 * channels, bias=False)
        self.gamma = nn.Parameter(torch.zeros(4 * channels))
        self.beta = nn.Parameter(torch.zeros(4 * channels))
        self.out = nn.Linear(4 * channels, channels, bias=False)
        self.mapper = nn.Linear(sizes.width, 2 * channels, bias=False)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Map x (B, h, w, C) to the same shape, by a condition (B, D)."""
        inner = self.depthwise(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        inner = F.gelu(self.into(self.norm(inner)))
        # How much a channel answers in all of the picture, beside the mean of all channels.
        answers = inner.norm(p=2, dim=(1, 2), keepdim=True)
        share = answers / (answers.mean(-1, keepdim=True) + 1e-6)
        x = x + self.out(self.gamma * (inner * share) + self.beta + inner)
        scale, shift = self.mapper(F.silu(condition)).chunk(2, dim=1)
        out: Tensor = x * (1 + scale)[:, None, None] + shift[:, None, None]
        return out


class Looks(nn.Module):
    """Two looks at the text, one after the other."""

    def __init__(self, sizes: UViTSizes) -> None:
        super().__init__()
        channels = sizes.channels
        same = sizes.width == channels
        self.mapper = None if same else nn.Linear(sizes.width, channels, bias=False)
        self.norms = nn.ModuleList(nn.RMSNorm(channels, EPSILON) for _ in range(2))
        self.looks = nn.ModuleList(Attention(channels, sizes.side_heads) for _ in range(2))

    def forward(self, x: Tensor, text: Tensor) -> Tensor:
        """Map x (B, L, C) to the same shape."""
        seen = text if self.mapper is None else self.mapper(F.silu(text))
        for norm, look in zip(self.norms, self.looks, strict=True):
            x = x + look(norm(x), seen)
        return x


class Side(nn.Module):
    """Convolutional blocks, each with its looks; the first or the last of all changes the grid."""

    def __init__(self, sizes: UViTSizes, change: nn.Module | None) -> None:
        super().__init__()
        self.change = change
        self.norm = None if change is None else nn.RMSNorm(sizes.channels, EPSILON)
        self.blocks = nn.ModuleList(ConvNeXt(sizes) for _ in range(sizes.sides))
        self.looks = nn.ModuleList(Looks(sizes) for _ in range(sizes.sides))

    def forward(self, x: Tensor, text: Tensor, condition: Tensor) -> Tensor:
        """Map x (B, h, w, C) through the blocks."""
        for block, looks in zip(self.blocks, self.looks, strict=True):
            x = block(x, condition)
            x = looks(x.flatten(1, 2), text).view_as(x)
        return x

    def resize(self, x: Tensor) -> Tensor:
        """Return x (B, h, w, C) at the grid that this side changes to, or as it is."""
        if self.change is None or self.norm is None:
            return x
        changed: Tensor = self.change(self.norm(x).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return changed


class UViT(nn.Module):
    """Masked codes, a text and a few numbers to logits of every cell's code."""

    def __init__(self, sizes: UViTSizes) -> None:
        super().__init__()
        self.sizes, width, channels = sizes, sizes.width, sizes.channels
        self.told = nn.Linear(sizes.told, width, bias=False)
        self.told_norm = nn.RMSNorm(width, EPSILON)
        self.embed = nn.Embedding(sizes.rows, sizes.embedded)
        self.embed_norm = nn.RMSNorm(sizes.embedded, EPSILON)
        self.embedded = nn.Linear(sizes.embedded, channels, bias=False)
        self.condition = nn.Linear(sizes.pooled + sizes.micro * sizes.numbers, width, bias=False)
        self.conditioned = nn.Linear(width, width, bias=False)
        down = nn.Conv2d(channels, channels, 2, 2, bias=False) if sizes.halves else None
        up = nn.ConvTranspose2d(channels, channels, 2, 2, bias=False) if sizes.halves else None
        self.down, self.up = Side(sizes, down), Side(sizes, up)
        self.into_norm = nn.RMSNorm(channels, EPSILON)
        self.into = nn.Linear(channels, width, bias=False)
        self.layers = nn.ModuleList(Layer(sizes) for _ in range(sizes.layers))
        self.from_norm = nn.RMSNorm(width, EPSILON)
        self.back = nn.Linear(width, channels, bias=False)
        self.last = nn.Linear(channels, sizes.embedded, bias=False)
        self.last_norm = nn.RMSNorm(sizes.embedded, EPSILON)
        self.head = nn.Linear(sizes.embedded, sizes.codes, bias=False)

    def read(self, states: Tensor, pooled: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor]:
        """Return what is seen of a text (B, T, E), its vector (B, P), and numbers (B, N)."""
        waves = torch.cat([pooled, self._waves(numbers)], dim=1)
        condition: Tensor = self.conditioned(F.silu(self.condition(waves)))
        return self.told_norm(self.told(states)), condition

    def forward(self, codes: Tensor, text: Tensor, condition: Tensor) -> Tensor:
        """Return logits (B, h, w, V) of codes (B, h, w), the mask's id where they are unknown."""
        x = self.embedded(self.embed_norm(self.embed(codes)))
        x = self.down(self.down.resize(x), text, condition)
        inner = self.into(self.into_norm(x)).flatten(1, 2)  # (B, L, D)
        for layer in self.layers:
            inner = layer(inner, text, condition)
        x = self.back(self.from_norm(inner)).view_as(x)
        x = self.up.resize(self.up(x, text, condition))
        logits: Tensor = self.head(self.last_norm(self.last(x)))
        return logits

    def _waves(self, numbers: Tensor) -> Tensor:
        """Return waves (B, N * micro) of numbers (B, N): cosines, then sines of each."""
        half = self.sizes.micro // 2
        speeds = torch.exp(
            -math.log(10_000) * torch.arange(half, device=numbers.device).float() / half
        )
        angles = numbers.float()[..., None] * speeds
        return torch.cat([angles.cos(), angles.sin()], dim=-1).flatten(1)
