"""The decoder of nn/engine.py in stock torch: fused products, packed on a CPU, a static cache.

It draws where there is no native kernel: without a C compiler, or on a GPU. Products whose kernel
depends on the number of rows give a row the same result in equal company only, so a caller that
wants pictures independent of their company keeps the number of rows fixed (`native` is false).

`extend_at` is `extend` of one position that is told by a tensor: it does the same work wherever
that is, so that it can be a CUDA graph, over the whole cache.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from limner.nn.devices import computes_bf16
from limner.nn.engine import CONVERTED, SCALED, DecoderShape, Seen, Weights, head_precision
from limner.nn.graphs import compiling_wanted
from limner.nn.transformer import rotate

Product = Callable[[Tensor], Tensor]


def packed_products(dtype: torch.dtype = torch.float32) -> tuple[bool, str]:
    """Say whether this torch can pack weights for oneDNN (private operators), and why not."""
    try:
        _packed(torch.eye(16), dtype)(torch.ones(2, 16))
    except (RuntimeError, AttributeError, NotImplementedError) as error:
        return False, str(error).splitlines()[0][:200]
    return True, "oneDNN packs the weights"


def product_of(weight: Tensor, precision: str) -> Product:
    """Return the product with `weight` (N, K) in a precision; float32 comes in and goes out.

    A processor that does not multiply bf16 keeps weights of that precision as fp32.
    """
    weight = weight.detach()
    if precision == "int8":
        return _int8(weight)
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    if weight.device.type == "cpu":
        if not (packed_products(dtype)[0] or computes_bf16("cpu")):
            weight, dtype = weight.to(dtype).float(), torch.float32
        if packed_products(dtype)[0]:  # once, and not at every product
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
    # A row has a scale for each 32 inputs, and torch's kernel takes one for all that it is given;
    # so it runs on 32 inputs after 32.
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
    for first in range(0, rows, at_once):  # some rows at a time: no copy in fp32 of the whole
        some = slice(first, first + at_once)
        block = F.pad(weight[some].float(), (0, -inputs % SCALED)).unflatten(1, (count, SCALED))
        scale = (block.abs().amax(-1) / 127).bfloat16().float()
        rounded = (block / scale[..., None]).nan_to_num(0).round().clamp(-127, 127)
        levels[:, some] = rounded.to(torch.int8).transpose(0, 1)
        scales[:, some] = scale.T
    return levels, scales


class TorchEngine:
    """A decoder whose products are prepared once; norms and attention are plain torch."""

    native = False

    def __init__(
        self,
        shape: DecoderShape,
        layers: Iterable[Weights],
        heads: Iterable[Weights],
        precision: str,
        device: torch.device | str = "cpu",
    ) -> None:
        self.shape, self.device = shape, torch.device(device)
        self.heads = [_prepared(head, head_precision(precision)) for head in heads]
        self.layers = [_prepared(layer, precision) for layer in layers]
        step: Callable[..., Tensor] = partial(_layer_at, shape)
        self.layer_at = (
            torch.compile(step, dynamic=False) if compiling_wanted(self.device) else step
        )

    def begin(
        self,
        first: Sequence[int],
        length: int,
        rotary: tuple[Tensor, Tensor] | None = None,
        memory: Tensor | None = None,
        memory_lengths: Sequence[int] = (),
        seen: Seen | None = None,
    ) -> "TorchSession":
        """Start drawing, as DecoderEngine.begin says."""
        session = TorchSession(self, first, length, rotary, memory, memory_lengths)
        session.seen = seen
        return session


def _prepared(weights: Weights, precision: str) -> dict[str, Any]:
    return {name: _prepared_part(weights[name], precision) for name in weights}


def _prepared_part(weight: Tensor, precision: str) -> Product | Tensor:
    if weight.ndim != 2:
        return weight.detach().float()
    if weight.device.type == "cpu" or precision == "int8":
        return product_of(weight, precision)
    return weight.detach().to(torch.bfloat16 if precision == "bf16" else torch.float32)


def _times(part: Product | Tensor, x: Tensor) -> Tensor:
    """Return the product of x with a prepared matrix, in fp32."""
    if isinstance(part, Tensor):
        return F.linear(x.to(part.dtype), part).float()
    return part(x)


def _product(parts: Mapping[str, Any], name: str, x: Tensor) -> Tensor:
    """Return `_times` of a named matrix, and its bias where it has one."""
    out = _times(parts[name], x)
    return out + parts[f"{name}_bias"] if f"{name}_bias" in parts else out


def _norm(shape: DecoderShape, parts: Mapping[str, Any], name: str, x: Tensor) -> Tensor:
    if shape.layer_norm or name in ("out_norm", "cross_out_norm", "middle_norm", "down_norm"):
        return F.layer_norm(x, x.shape[-1:], parts[name], parts.get(f"{name}_bias"))
    normed = F.rms_norm(x, x.shape[-1:], parts[name], shape.epsilon)
    return normed + parts[f"{name}_bias"] if f"{name}_bias" in parts else normed


def _feed_forward(shape: DecoderShape, parts: Mapping[str, Any], x: Tensor) -> Tensor:
    both = _product(parts, "into", _norm(shape, parts, "feed_forward_norm", x))
    gate, value = both.chunk(2, dim=-1) if shape.gated else (both, None)  # (..., F)
    form = "tanh" if shape.tanh else "none"
    hidden = F.gelu(gate, approximate=form) if shape.gelu else F.silu(gate)
    hidden = hidden if value is None else hidden * value
    if "middle_norm" in parts:
        hidden = _norm(shape, parts, "middle_norm", hidden)
    return _product(parts, "down", hidden)


def _attention(
    shape: DecoderShape, parts: Mapping[str, Any], x: Tensor, rotary: tuple[Tensor, ...] | None
) -> tuple[Tensor, ...]:
    """Return queries, keys and values (B, H, L, K) of x (B, L, D)."""
    normed = _norm(shape, parts, "attention_norm", x)
    q, k, v = _split(shape, _product(parts, "qkv", normed), 3)
    if "query_norm" in parts:
        q = F.rms_norm(q, q.shape[-1:], parts["query_norm"], 1e-6)
        k = F.rms_norm(k, k.shape[-1:], parts["key_norm"], 1e-6)
    return (q, k, v) if rotary is None else (rotate(q, *rotary), rotate(k, *rotary), v)


def _after_attention(
    shape: DecoderShape,
    parts: Mapping[str, Any],
    x: Tensor,
    mixed: Tensor,
    memory: tuple[Tensor, ...],
) -> Tensor:
    """Return what a layer makes of x and what attention `mixed`; memory: keys, values, bias."""
    x = x + _after(shape, parts, "out", mixed)
    if memory:
        normed = _norm(shape, parts, "cross_norm", x)
        q = _split(shape, _times(parts["cross_query"], normed), 1)[0]
        x = x + _after(shape, parts, "cross_out", attend(q, *memory))
    y = _feed_forward(shape, parts, x)
    return x + (_norm(shape, parts, "down_norm", y) if "down_norm" in parts else y)


def _layer_at(
    shape: DecoderShape,
    parts: Mapping[str, Any],
    x: Tensor,
    cache: tuple[Tensor, Tensor],
    at: Tensor,
    bias: Tensor,
    rotary: tuple[Tensor, ...] | None,
    memory: tuple[Tensor, ...],
) -> Tensor:
    """Return what a layer makes of x (B, 1, D) at position `at` (1,), into the whole cache."""
    q, *new = _attention(shape, parts, x, rotary)
    for held, each in zip(cache, new, strict=True):
        held.index_copy_(2, at, each)
    return _after_attention(shape, parts, x, attend(q, *cache, bias), memory)


def _after(shape: DecoderShape, parts: Mapping[str, Any], name: str, mixed: Tensor) -> Tensor:
    out = _product(parts, name, mixed)
    return _norm(shape, parts, f"{name}_norm", out) if f"{name}_norm" in parts else out


def _split(shape: DecoderShape, x: Tensor, parts: int) -> tuple[Tensor, ...]:
    """Return x (B, L, parts * D) as heads (B, H, L, K) each."""
    heads = x.unflatten(-1, (parts, shape.heads, -1))
    return heads.permute(2, 0, 3, 1, 4).unbind(0)


class TorchSession:
    """One drawing in progress; `extend_at` does not know `seen`."""

    seen: Seen | None = None

    def __init__(
        self,
        engine: TorchEngine,
        first: Sequence[int],
        length: int,
        rotary: tuple[Tensor, Tensor] | None,
        memory: Tensor | None,
        memory_lengths: Sequence[int],
    ) -> None:
        self.engine, self.rotary = engine, rotary
        shape = engine.shape
        self.first = torch.zeros(len(first), 1, 1, 1, dtype=torch.long, device=engine.device)
        self.begin_at(first)
        self.places = torch.arange(length, device=engine.device)  # (S,)
        size = (shape.layers, len(first), shape.heads, length, shape.width // shape.heads)
        self.keys, self.values = (torch.zeros(size, device=engine.device) for _ in range(2))
        self.memory: list[tuple[Tensor, ...]] = [()] * shape.layers
        if memory is not None:
            lengths = torch.tensor(list(memory_lengths), device=engine.device)
            told = torch.arange(memory.shape[1], device=engine.device) < lengths[:, None]
            bias = _bias(told[:, None, None])
            both = (_times(parts["cross_key_value"], memory) for parts in engine.layers)
            self.memory = [(*_split(shape, each, 2), bias) for each in both]

    def begin_at(self, first: Sequence[int]) -> None:
        """Begin anew, row i at `first[i]`: what lies in the cache is seen no more."""
        self.first.copy_(torch.tensor(list(first)).view_as(self.first))

    def extend(
        self, x: Tensor, at: int, rows: slice = slice(None), *, causal: bool = True
    ) -> Tensor:
        """Map x (B, L, D) to features, as Session.extend says."""
        # 1. Who sees whom: from the row's first position up to one's own, or to the end of x.
        engine, end = self.engine, at + x.shape[1]
        sees, seen = self.places[at:end, None], self.places[:end]
        allowed = (seen >= self.first[rows]) & (seen <= (sees if causal else end))
        biases, kinds = [_bias(allowed | (sees == seen))], [0] * engine.shape.layers
        if self.seen is not None:
            biases = [biases[0] + _bias(each[at:end, :end]) for each in self.seen[0]]
            kinds = list(self.seen[1])
        x = x.float()
        rotary = None if self.rotary is None else tuple(each[at:end] for each in self.rotary)
        for layer, parts in enumerate(engine.layers):
            # 2. New keys and values go into the cache; queries meet all that is there so far.
            q, k, v = _attention(engine.shape, parts, x, rotary)
            self.keys[layer, rows, :, at:end] = k
            self.values[layer, rows, :, at:end] = v
            cached = self.keys[layer, rows, :, :end], self.values[layer, rows, :, :end]
            mixed = attend(q, *cached, biases[kinds[layer]])  # (B, L, D)
            x = _after_attention(engine.shape, parts, x, mixed, self._memory(layer, rows))
        return _norm(engine.shape, engine.heads[0], "attention_norm", x)

    def extend_at(self, x: Tensor, at: Tensor, rows: slice = slice(None)) -> Tensor:
        """Map x (B, 1, D) at position `at` (1,) to features (B, 1, D), as `extend` does."""
        # The whole cache is read at every place, and what lies behind `at` is masked: a graph does
        # the same work wherever it stands.
        engine, x = self.engine, x.float()
        allowed = (self.places >= self.first[rows]) & (self.places <= at)
        bias = _bias(allowed | (self.places == at))
        rotary = None
        if self.rotary is not None:
            rotary = tuple(each.index_select(0, at) for each in self.rotary)
        for layer, parts in enumerate(engine.layers):
            cache = self.keys[layer, rows], self.values[layer, rows]
            memory = self._memory(layer, rows)
            x = engine.layer_at(parts, x, cache, at, bias, rotary, memory)
        return _norm(engine.shape, engine.heads[0], "attention_norm", x)

    def logits(self, features: Tensor, group: int = 0, known: Tensor | None = None) -> Tensor:
        """Map features (B, D) to logits (B, V), as Session.logits says."""
        parts = self.engine.heads[group]
        if known is not None:
            features = features + _feed_forward(self.engine.shape, parts, features + known)
        return _product(parts, "head", features)

    def select(self, rows: Sequence[int]) -> None:
        """Let each row i go on from where row `rows[i]` is, as Session.select says."""
        chosen = list(rows)
        for held in (self.keys, self.values):
            held.copy_(held[:, chosen])  # in place: a graph reads the same memory
        self.first.copy_(self.first[chosen])
        self.memory = [tuple(each[chosen] for each in layer) for layer in self.memory]

    def _memory(self, layer: int, rows: slice) -> tuple[Tensor, ...]:
        return tuple(each[rows] for each in self.memory[layer])


def attend(query: Tensor, keys: Tensor, values: Tensor, bias: Tensor) -> Tensor:
    """Mix values (B, H, S, K) by queries (B, H, L, K) into (B, L, H * K); `bias` as in scores."""
    scores = (query * query.shape[-1] ** -0.5) @ keys.transpose(-1, -2) + bias  # (B, H, L, S)
    return (scores.softmax(-1) @ values).transpose(1, 2).flatten(2)


def _bias(allowed: Tensor) -> Tensor:
    return torch.zeros(allowed.shape, device=allowed.device).masked_fill(~allowed, float("-inf"))
