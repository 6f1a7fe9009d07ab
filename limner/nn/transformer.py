"""A pre-norm transformer with a static key-value cache.

Shapes: B rows, L new positions, S cached positions, D width, H heads, K = D / H.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class TransformerConfig:
    """Sizes of the transformer; `hidden` is the width inside the feed-forward network."""

    width: int = 256
    layers: int = 6
    heads: int = 4
    hidden: int = 704


class RMSNorm(nn.Module):
    """Scale each vector to unit root mean square (Zhang 2019, arXiv 1910.07467)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise the last dimension, in x's own precision."""
        return F.rms_norm(x, (x.shape[-1],), self.weight.to(x.dtype), 1e-6)


class KeyValueCache:
    """Keys and values of every layer at fixed addresses, (layers, B, H, S, K) each."""

    def __init__(
        self, config: TransformerConfig, rows: int, length: int, device: torch.device | str = "cpu"
    ) -> None:
        shape = (config.layers, rows, config.heads, length, config.width // config.heads)
        self.keys = torch.zeros(shape, device=device)
        self.values = torch.zeros(shape, device=device)
        self.filled = 0

    def extend(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Write a layer's new keys and values (B, H, L, K); return all so far."""
        end = self.filled + keys.shape[2]
        self.keys[layer, :, :, self.filled : end] = keys
        self.values[layer, :, :, self.filled : end] = values
        return self.keys[layer, :, :, :end], self.values[layer, :, :, :end]


def rotary_angles(coordinates: Tensor, dimensions: int, base: float = 100.0) -> Tensor:
    """Return the angles (..., dimensions / 2) of 2-D rotary embedding.

    `coordinates` (..., 2) are row and column; half of the pairs turn with each (RoFormer, arXiv
    2104.09864, applied by axis as in arXiv 2403.13298, section 3.2).
    """
    pairs = dimensions // 4
    frequencies = base ** -(torch.arange(pairs, device=coordinates.device) / pairs)
    rows = coordinates[..., 0:1].float() * frequencies
    columns = coordinates[..., 1:2].float() * frequencies
    return torch.cat([rows, columns], dim=-1)


def rotate(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Turn the pairs of x (B, H, L, K) by angles given as cosine and sine (B or 1, 1, L, K / 2)."""
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cosine - second * sine, first * sine + second * cosine], dim=-1)


def neighbours_apart(x: Tensor) -> Tensor:
    """Return x (..., K) with the first of each two neighbours before all the second ones."""
    return torch.cat([x[..., 0::2], x[..., 1::2]], dim=-1)


class Attention(nn.Module):
    """Multi-head attention, queries and keys normalised (arXiv 2302.05442), rotary positions."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.heads = config.heads
        head = config.width // config.heads
        self.qkv = nn.Linear(config.width, 3 * config.width, bias=False)
        self.query_norm = RMSNorm(head)
        self.key_norm = RMSNorm(head)
        self.out = nn.Linear(config.width, config.width, bias=False)

    def forward(
        self,
        x: Tensor,
        rotary: tuple[Tensor, Tensor],
        mask: Tensor | None,
        cache: KeyValueCache | None = None,
        layer: int = 0,
    ) -> Tensor:
        """Mix positions of x (B, L, D); `mask` (B, 1, L, S) is true where attention is allowed."""
        rows, length, width = x.shape
        # (B, H, L, K) each; the cache returns all S keys and values
        q, k, v = self.qkv(x).view(rows, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        q = rotate(self.query_norm(q), *rotary)
        k = rotate(self.key_norm(k), *rotary)
        if cache is not None:
            k, v = cache.extend(layer, k, v)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.out(mixed.transpose(1, 2).reshape(rows, length, width))


class FeedForward(nn.Module):
    """SwiGLU (Shazeer 2020, arXiv 2002.05202), gate and value in one product."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.into = nn.Linear(config.width, 2 * config.hidden, bias=False)
        self.out = nn.Linear(config.hidden, config.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, L, D) to the same shape."""
        gate, value = self.into(x).chunk(2, dim=-1)  # (B, L, hidden) each
        return self.out(F.silu(gate) * value)


class Block(nn.Module):
    """Attention, then feed-forward, each normalised before and added after."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(config.width)
        self.attention = Attention(config)
        self.feed_forward_norm = RMSNorm(config.width)
        self.feed_forward = FeedForward(config)

    def forward(
        self,
        x: Tensor,
        rotary: tuple[Tensor, Tensor],
        mask: Tensor | None,
        cache: KeyValueCache | None = None,
        layer: int = 0,
    ) -> Tensor:
        """Map (B, L, D) to the same shape."""
        x = x + self.attention(self.attention_norm(x), rotary, mask, cache, layer)
        return x + self.feed_forward(self.feed_forward_norm(x))


class Transformer(nn.Module):
    """A stack of blocks; positions, masks and embeddings are its caller's business."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = RMSNorm(config.width)
        self._initialise()

    def forward(
        self,
        x: Tensor,
        coordinates: Tensor,
        mask: Tensor | None = None,
        cache: KeyValueCache | None = None,
    ) -> Tensor:
        """Map (B, L, D) at `coordinates` (B or 1, L, 2) to normalised features (B, L, D)."""
        head = self.config.width // self.config.heads
        angles = rotary_angles(coordinates, head)[:, None]  # (B or 1, 1, L, K / 2)
        rotary = (angles.cos().to(x.dtype), angles.sin().to(x.dtype))
        for layer, block in enumerate(self.blocks):
            x = block(x, rotary, mask, cache, layer)
        if cache is not None:
            cache.filled += x.shape[1]
        return self.norm(x)

    def _initialise(self) -> None:
        depth = (2 * self.config.layers) ** -0.5
        for name, parameter in self.named_parameters():
            if parameter.ndim == 2:
                nn.init.normal_(parameter, std=parameter.shape[1] ** -0.5)
                if name.endswith("out.weight"):
                    parameter.data.mul_(depth)
