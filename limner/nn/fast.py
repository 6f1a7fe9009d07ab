"""The decoder of nn/stack.py in stock torch: fused products, packed on a CPU, a static cache.

It draws where there is no native kernel: without a C compiler, or on a GPU. Products whose kernel
depends on the number of rows give a row the same result in equal company only, so a caller that
wants pictures independent of their company keeps the number of rows fixed (`native` is false).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from limner.nn.stack import CONVERTED, SCALED, StackShape, Weights, head_precision
from limner.nn.transformer import rotate

Product = Callable[[Tensor], Tensor]


def packed_products() -> tuple[bool, str]:
    """Say whether this torch can pack weights for oneDNN (private operators), and why not."""
    try:
        _packed(torch.eye(16), torch.float32)(torch.ones(2, 16))
    except (RuntimeError, AttributeError, NotImplementedError) as error:
        return False, str(error).splitlines()[0][:200]
    return True, "oneDNN packs the weights"


def product_of(weight: Tensor, precision: str) -> Product:
    """Return the product with `weight` (N, K) in a precision; float32 comes in and goes out."""
    weight = weight.detach()
    if precision == "int8":
        return _int8(weight)
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    if weight.device.type == "cpu" and packed_products()[0]:
        return _packed(weight, dtype)
    kept = weight.to(dtype)
    if dtype == torch.float32:
        return lambda x: F.linear(x, kept)
    return lambda x: F.linear(x.to(dtype), kept).float()


def _packed(weight: Tensor, dtype: torch.dtype) -> Product:
    operators: Any = torch.ops.mkldnn
    kept = operators._reorder_linear_weight(weight.to(dtype).contiguous())
    run = operators._linear_pointwise
    if dtype == torch.float32:
        return lambda x: run(x, kept, None, "none", [], "")
    return lambda x: run(x.to(dtype), kept, None, "none", [], "").float()


def _int8(weight: Tensor) -> Product:
    levels, scales = quantise(weight)
    if weight.device.type != "cpu":
        kept = levels.transpose(0, 1).flatten(1)[:, : weight.shape[1]]
        factors = scales.T.repeat_interleave(SCALED, 1)[:, : weight.shape[1]]
        return lambda x: F.linear(x, kept.to(x.dtype) * factors)
    groups, run = list(zip(levels, scales, strict=True)), torch._weight_int8pack_mm

    def product(x: Tensor) -> Tensor:
        parts = F.pad(x.flatten(0, -2), (0, -x.shape[-1] % SCALED)).split(SCALED, dim=-1)
        out = run(parts[0].contiguous(), *groups[0])
        for part, group in zip(parts[1:], groups[1:], strict=True):
            out += run(part.contiguous(), *group)
        return out.view(*x.shape[:-1], -1)

    return product


def quantise(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return levels (C, N, 32) int8 and scales (C, N) of a matrix (N, K), 32 C the least >= K.

    Levels are whole numbers of -127 to 127; 32 neighbours of a row share a scale, which bf16 holds.
    """
    rows, inputs = weight.shape
    count = -(-inputs // SCALED)
    levels = torch.empty(count, rows, SCALED, dtype=torch.int8, device=weight.device)
    scales = torch.empty(count, rows, device=weight.device)
    at_once = max(1, CONVERTED // inputs)
    for first in range(0, rows, at_once):
        some = slice(first, first + at_once)
        block = F.pad(weight[some].float(), (0, -inputs % SCALED)).unflatten(1, (count, SCALED))
        scale = (block.abs().amax(-1) / 127).bfloat16().float()
        rounded = (block / scale[..., None]).nan_to_num(0).round().clamp(-127, 127)
        levels[:, some] = rounded.to(torch.int8).transpose(0, 1)
        scales[:, some] = scale.T
    return levels, scales


class TorchStack:
    """A decoder whose products are prepared once; norms and attention are plain torch."""

    native = False

    def __init__(
        self,
        shape: StackShape,
        layers: Iterable[Weights],
        heads: Iterable[Weights],
        precision: str,
        device: torch.device | str = "cpu",
    ) -> None:
        self.shape, self.device = shape, torch.device(device)
        self.heads = [_prepared(head, head_precision(precision)) for head in heads]
        self.layers = [_prepared(layer, precision) for layer in layers]

    def begin(
        self,
        first: Sequence[int],
        length: int,
        rotary: tuple[Tensor, Tensor] | None = None,
        memory: Tensor | None = None,
        memory_lengths: Sequence[int] = (),
    ) -> "TorchRun":
        """Start drawing, as Stack.begin says."""
        return TorchRun(self, first, length, rotary, memory, memory_lengths)

    def norm(self, parts: Mapping[str, Any], name: str, x: Tensor) -> Tensor:
        """Normalise x by the norm of that name."""
        if self.shape.layer_norm or name in ("out_norm", "cross_out_norm", "middle_norm"):
            return F.layer_norm(x, x.shape[-1:], parts[name], parts.get(f"{name}_bias"))
        normed = F.rms_norm(x, x.shape[-1:], parts[name], 1e-6)
        return normed + parts[f"{name}_bias"] if f"{name}_bias" in parts else normed

    def feed_forward(self, parts: Mapping[str, Any], x: Tensor) -> Tensor:
        """Map x through norm, gate and value, and down."""
        gate, value = parts["into"](self.norm(parts, "feed_forward_norm", x)).chunk(2, dim=-1)
        hidden = (F.gelu(gate) if self.shape.gelu else F.silu(gate)) * value
        if "middle_norm" in parts:
            hidden = self.norm(parts, "middle_norm", hidden)
        down: Tensor = parts["down"](hidden)
        return down


def _prepared(weights: Weights, precision: str) -> dict[str, Any]:
    return {name: _prepared_part(weights[name], precision) for name in weights}


def _prepared_part(weight: Tensor, precision: str) -> Product | Tensor:
    return product_of(weight, precision) if weight.ndim == 2 else weight.detach().float()


class TorchRun:
    """One drawing in progress."""

    def __init__(
        self,
        stack: TorchStack,
        first: Sequence[int],
        length: int,
        rotary: tuple[Tensor, Tensor] | None,
        memory: Tensor | None,
        memory_lengths: Sequence[int],
    ) -> None:
        self.stack, self.rotary = stack, rotary
        shape = stack.shape
        self.first = torch.tensor(list(first), device=stack.device)[:, None, None, None]
        self.places = torch.arange(length, device=stack.device)
        size = (shape.layers, len(first), shape.heads, length, shape.width // shape.heads)
        self.keys, self.values = (torch.zeros(size, device=stack.device) for _ in range(2))
        self.memory: list[tuple[Tensor, ...]] = []
        if memory is not None:
            both = (parts["cross_key_value"](memory) for parts in stack.layers)
            self.memory = [self._split(each, 2) for each in both]
            lengths = torch.tensor(list(memory_lengths), device=stack.device)
            told = torch.arange(memory.shape[1], device=stack.device) < lengths[:, None]
            self.told = _bias(told[:, None, None])

    def extend(
        self, x: Tensor, at: int, rows: slice = slice(None), *, causal: bool = True
    ) -> Tensor:
        """Map x (B, L, D) to features, as Run.extend says."""
        stack, end = self.stack, at + x.shape[1]
        sees, seen = self.places[at:end, None], self.places[:end]
        allowed = (seen >= self.first[rows]) & (seen <= (sees if causal else end))
        bias = _bias(allowed | (sees == seen))
        x = x.float()
        rotary = None if self.rotary is None else tuple(each[at:end] for each in self.rotary)
        for layer, parts in enumerate(stack.layers):
            q, k, v = self._split(parts["qkv"](stack.norm(parts, "attention_norm", x)), 3)
            if "query_norm" in parts:
                q = F.rms_norm(q, q.shape[-1:], parts["query_norm"], 1e-6)
                k = F.rms_norm(k, k.shape[-1:], parts["key_norm"], 1e-6)
            if rotary is not None:
                q, k = rotate(q, *rotary), rotate(k, *rotary)
            self.keys[layer, rows, :, at:end] = k
            self.values[layer, rows, :, at:end] = v
            cached = self.keys[layer, rows, :, :end], self.values[layer, rows, :, :end]
            x = x + self._after(parts, "out", attend(q, *cached, bias))
            if self.memory:
                q = self._split(parts["cross_query"](stack.norm(parts, "cross_norm", x)), 1)[0]
                k, v = (each[rows] for each in self.memory[layer])
                x = x + self._after(parts, "cross_out", attend(q, k, v, self.told[rows]))
            x = x + stack.feed_forward(parts, x)
        return stack.norm(stack.heads[0], "attention_norm", x)

    def logits(self, features: Tensor, group: int = 0, known: Tensor | None = None) -> Tensor:
        """Map features (B, D) to logits (B, V), as Run.logits says."""
        parts = self.stack.heads[group]
        if known is not None:
            features = features + self.stack.feed_forward(parts, features + known)
        out: Tensor = parts["head"](features)
        return out + parts["head_bias"] if "head_bias" in parts else out

    def _after(self, parts: Mapping[str, Any], name: str, mixed: Tensor) -> Tensor:
        out: Tensor = parts[name](mixed)
        return self.stack.norm(parts, f"{name}_norm", out) if f"{name}_norm" in parts else out

    def _split(self, x: Tensor, parts: int) -> tuple[Tensor, ...]:
        """Return x (B, L, parts * D) as heads (B, H, L, K) each."""
        heads = x.unflatten(-1, (parts, self.stack.shape.heads, -1))
        return heads.permute(2, 0, 3, 1, 4).unbind(0)


def attend(query: Tensor, keys: Tensor, values: Tensor, bias: Tensor) -> Tensor:
    """Mix values (B, H, S, K) by queries (B, H, L, K) into (B, L, H * K); `bias` as in scores."""
    scores = (query * query.shape[-1] ** -0.5) @ keys.transpose(-1, -2) + bias
    return (scores.softmax(-1) @ values).transpose(1, 2).flatten(2)


def _bias(allowed: Tensor) -> Tensor:
    return torch.zeros(allowed.shape, device=allowed.device).masked_fill(~allowed, float("-inf"))
