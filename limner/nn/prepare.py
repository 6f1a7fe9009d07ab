"""A decoder's weights by name, and the engine that draws with them on this machine."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from limner.nn.engine import DecoderEngine, DecoderShape, Weights
from limner.nn.native import NativeEngine, find_library
from limner.nn.torch_engine import TorchEngine
from limner.nn.transformer import FeedForward, RMSNorm, Transformer
from limner.types import check_precision


def prepare(
    shape: DecoderShape,
    layers: Iterable[Weights],
    heads: Iterable[Weights],
    precision: str = "fp32",
    device: torch.device | str = "cpu",
) -> DecoderEngine:
    """Return a decoder of these weights for drawing, by the native kernel where it can be used.

    `layers` and `heads` lie on `device`. Each weight is asked for once, heads first, and let go
    before the next, so that of a generator, or of mappings that make a weight when it is asked for,
    no more is held twice than they hold themselves.
    """
    check_precision(precision)
    if not is_native(device):
        return TorchEngine(shape, layers, heads, precision, device)
    return NativeEngine(find_library()[0], shape, layers, heads, precision)


def is_native(device: torch.device | str) -> bool:
    """Say whether the native kernel draws with weights that lie on `device`."""
    return find_library()[0] is not None and torch.device(device).type == "cpu"


def layers_of(transformer: Transformer) -> Iterable[Weights]:
    """Yield the weights of every layer of a Transformer."""
    blocks: Iterable[Any] = transformer.blocks
    for block in blocks:
        attention = block.attention
        yield {
            "attention_norm": block.attention_norm.weight,
            "qkv": attention.qkv.weight,
            "query_norm": attention.query_norm.weight,
            "key_norm": attention.key_norm.weight,
            "out": attention.out.weight,
        } | feed_forward_of(block.feed_forward_norm, block.feed_forward)


def feed_forward_of(norm: RMSNorm, feed_forward: FeedForward) -> dict[str, Tensor]:
    """Return the weights of a feed-forward network and the norm before it."""
    return {
        "feed_forward_norm": norm.weight,
        "into": feed_forward.into.weight,
        "down": feed_forward.out.weight,
    }
