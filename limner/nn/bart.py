"""Layers of DALL-E mini: BART with the norms of NormFormer, a gated GELU, and no biases.

Shapes: B rows, L positions, T positions of the text, D width, H heads, K = D / H.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from limner.nn.engine import Weights


@dataclass(frozen=True)
class Sizes:
    """Width, heads, and the width inside the feed-forward network."""

    width: int
    heads: int
    hidden: int


class Attention(nn.Module):
    """Attention whose output has a norm of its own; keys and values may come from elsewhere."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.heads, width = sizes.heads, sizes.width
        self.before = nn.LayerNorm(width)
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.after = nn.LayerNorm(width)

    def forward(
        self, x: Tensor, memory: Tensor | None, mask: Tensor | None, *, causal: bool = False
    ) -> Tensor:
        """Add to x (B, L, D) what it sees of `memory` (B, T, D), or of itself where there is none.

        `mask` (B, 1, 1 or L, T) is true where attention is allowed; `causal` sees what is before.
        """
        normed = self.before(x)
        seen = normed if memory is None else memory
        parts = (self.query(normed), self.key(seen), self.value(seen))
        q, k, v = (each.unflatten(-1, (self.heads, -1)).transpose(1, 2) for each in parts)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal)
        out: Tensor = x + self.after(self.out(mixed.transpose(1, 2).flatten(2)))
        return out


class FeedForward(nn.Module):
    """A gated network (arXiv 2002.05202) with a norm before it and one inside."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.before = nn.LayerNorm(sizes.width)
        self.gate = nn.Linear(sizes.width, sizes.hidden, bias=False)
        self.up = nn.Linear(sizes.width, sizes.hidden, bias=False)
        self.middle = nn.LayerNorm(sizes.hidden)
        self.down = nn.Linear(sizes.hidden, sizes.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Add to x (B, L, D) what the network makes of it."""
        normed = self.before(x)
        inner = F.gelu(self.gate(normed)) * self.up(normed)
        out: Tensor = x + self.down(self.middle(inner))
        return out


class EncoderLayer(nn.Module):
    """Attention among the text, and a feed-forward network."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.attention = Attention(sizes)
        self.feed_forward = FeedForward(sizes)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Map (B, T, D) to the same shape."""
        out: Tensor = self.feed_forward(self.attention(x, None, mask))
        return out


class DecoderLayer(nn.Module):
    """Attention among what was drawn, a look at the text, and a feed-forward network."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.attention = Attention(sizes)
        self.cross = Attention(sizes)
        self.feed_forward = FeedForward(sizes)

    def forward(self, x: Tensor, memory: Tensor, mask: Tensor) -> Tensor:
        """Map (B, L, D) to the same shape, in one pass over all positions."""
        x = self.attention(x, None, None, causal=True)
        out: Tensor = self.feed_forward(self.cross(x, memory, mask))
        return out


class TextEncoder(nn.Module):
    """Ids (B, T), left-padded with 0, to features (B, T, D); an id is one above its row."""

    def __init__(self, sizes: Sizes, layers: int, vocabulary: int, length: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocabulary, sizes.width)
        self.placed = nn.Embedding(length, sizes.width)
        self.embed_norm = nn.LayerNorm(sizes.width)
        self.layers = nn.ModuleList(EncoderLayer(sizes) for _ in range(layers))
        self.norm = nn.LayerNorm(sizes.width)

    def forward(self, ids: Tensor) -> Tensor:
        """Return features; those of padding mean nothing, and nobody sees it."""
        # The first token stands at place 0, wherever padding has put it.
        real = ids != 0
        first = real.int().argmax(1, keepdim=True)
        places = (torch.arange(ids.shape[1], device=ids.device) - first).clamp_min(0)
        x = self.embed_norm(self.embed((ids - 1).clamp_min(0)) + self.placed(places))
        mask = real[:, None, None]  # (B, 1, 1, T)
        for layer in self.layers:
            x = layer(x, mask)
        out: Tensor = self.norm(x)
        return out


def layers_of(layers: Iterable[nn.Module]) -> Iterator[Weights]:
    """Yield the weights of decoder layers by the names of `limner.nn.engine`."""
    for each in cast("Iterable[DecoderLayer]", layers):
        own, cross, feed = each.attention, each.cross, each.feed_forward
        norms = {
            "attention_norm": own.before,
            "out_norm": own.after,
            "cross_norm": cross.before,
            "cross_out_norm": cross.after,
            "feed_forward_norm": feed.before,
            "middle_norm": feed.middle,
        }
        weights = {name: norm.weight for name, norm in norms.items()}
        weights |= {f"{name}_bias": norm.bias for name, norm in norms.items()}
        yield weights | {
            "qkv": torch.cat([own.query.weight, own.key.weight, own.value.weight]),
            "out": own.out.weight,
            "cross_query": cross.query.weight,
            "cross_key_value": torch.cat([cross.key.weight, cross.value.weight]),
            "cross_out": cross.out.weight,
            "into": torch.cat([feed.gate.weight, feed.up.weight]),
            "down": feed.down.weight,
        }
