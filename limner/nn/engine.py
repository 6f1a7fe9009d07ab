"""What draws with a decoder: an engine holds its weights, a session is one drawing in progress.

`limner.nn.torch_engine` and `limner.nn.native` have one of each, and `limner.nn.prepare` chooses.

Shapes: B rows, L new positions, S positions of the cache, D width, H heads, K = D / H, F hidden,
G codes a cell, V values of a code, T positions of a memory that is read by cross-attention.

A layer's weights are called `attention_norm` (D,), `qkv` (3D, D), `query_norm` and `key_norm` (K,),
`out` (D, D), `feed_forward_norm` (D,), `into` (2F, D: gate, then value) and `down` (D, F). A layer
may lack the norms of queries and keys, and may have a bias to each norm (`attention_norm_bias`), a
norm after attention (`out_norm`), one inside the feed-forward (`middle_norm`), and cross-attention:
`cross_norm`, `cross_query` (D, D), `cross_key_value` (2D, D), `cross_out`, `cross_out_norm`. `qkv`,
`out` and `down` may have a bias too (`qkv_bias`), and so may `into` where it is (F, D); behind the
feed-forward there may be a norm (`down_norm`). A head has `head` (V, D) and `head_bias`; the first
has `attention_norm`, the norm before all heads; the others mix in the codes before theirs with
`feed_forward_norm`, `into` and `down`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

SCALED = 32  # neighbouring int8 weights of a row that share a scale
CONVERTED = 2**19  # weights that are held in fp32 at a time while they are prepared
EPSILONS = (1e-6, 1e-5)  # of RMSNorm
Weights = Mapping[str, Tensor]
Seen = tuple[Tensor, Sequence[int]]  # who may see whom (K, S, S), and which of K each layer has


@dataclass(frozen=True)
class DecoderShape:
    """Sizes of a decoder; `layer_norm` where the norms are not RMSNorm, `gelu` where not SiLU.

    `epsilon` is that of RMSNorm, one of EPSILONS. A feed-forward that is not `gated` has no values
    beside what it activates: `into` is (F, D). `tanh` is GELU's near form of that.
    """

    width: int
    layers: int
    heads: int
    hidden: int
    groups: int = 1
    layer_norm: bool = False
    gelu: bool = False
    epsilon: float = 1e-6
    gated: bool = True
    tanh: bool = False


class Session(Protocol):
    """One drawing in progress."""

    def extend(self, x: Tensor, at: int, rows: slice = ..., *, causal: bool = True) -> Tensor:
        """Map x (B, L, D) at positions `at`, .. of `rows` to features (B, L, D), into the cache.

        A position sees those of its row from the row's first one on: up to itself, or with
        `causal` false all L. Positions before the first mean nothing, nor do their features.
        """

    def logits(self, features: Tensor, group: int = 0, known: Tensor | None = None) -> Tensor:
        """Map features (B, D) to logits (B, V) of code `group`, `known` (B, D) the ones before."""

    def select(self, rows: Sequence[int]) -> None:
        """Let each row i go on from where row `rows[i]` is; there are as many as before."""


class DecoderEngine(Protocol):
    """A prepared decoder."""

    native: bool

    def begin(
        self,
        first: Sequence[int],
        length: int,
        rotary: tuple[Tensor, Tensor] | None = None,
        memory: Tensor | None = None,
        memory_lengths: Sequence[int] = (),
        seen: Seen | None = None,
    ) -> Session:
        """Start drawing len(first) rows of `length` positions; row i begins at `first[i]`.

        `rotary` are cosine and sine (S, K / 2). `memory` (B, T, D) is read by cross-attention, of
        row i its first `memory_lengths[i]` positions. `seen` leaves out some of what would be seen.
        """


def head_precision(precision: str) -> str:
    """Return the precision that heads are kept in: bf16 beside int8.

    They are a small share of the weights, and int8 there moves the logits most.
    """
    return "bf16" if precision == "int8" else precision
