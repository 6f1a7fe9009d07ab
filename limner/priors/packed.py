"""A prior's weights as drawing wants them, and what drawing cell by cell needs of a prior.

Shapes: B pictures, M maps, S cells of all maps, G codes a cell, V values of a code, D width.
"""

import os
import threading
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, Protocol, Self, TypeVar

import torch
from torch import Tensor, nn

from limner.nn.engine import DecoderEngine, DecoderShape, Weights
from limner.nn.graphs import Graphed
from limner.nn.prepare import feed_forward_of, is_native, layers_of, prepare
from limner.nn.torch_engine import TorchSession
from limner.nn.transformer import Transformer
from limner.priors import base
from limner.priors.codes import CellHead, CodeTable
from limner.sampling.tokens import TokenSampling
from limner.types import PRECISIONS

_LEAST, _MOST = 4, 16  # pictures that are drawn at once by the kernel
_CACHE = 2**30  # bytes of keys and values of their cells; with guidance there are twice as many
Parts = TypeVar("Parts")
Kind = tuple[int, int, TokenSampling]  # pictures, text positions, and how codes are chosen
Graphs = dict[tuple[bool, int, int], Graphed]  # by guidance, the map before and the map drawn


class PackedDecoder:
    """A prior's weights as drawing wants them, made again when they change.

    `precision` is that of the products: fp32, bf16 or int8. A change made through `.data` alone is
    not seen. Copies of a prior start without it, and it is in no file.
    """

    def __init__(self) -> None:
        self.precision = "fp32"
        self._state: object = None
        self._parts: Any = None
        self._making = threading.Lock()
        self._sessions: list[tuple[Kind, TorchSession, Graphs]] = []

    def parts(self, prior: "CellPrior") -> tuple[DecoderEngine, Tensor]:
        """Return the engine and the table of the codes' input vectors (M * G, V, D)."""

        def make() -> tuple[DecoderEngine, Tensor]:
            """Make both of the weights as they are."""
            sizes, heads = prior.transformer.config, list(_heads_of(prior.head, prior.transformer))
            shape = DecoderShape(
                sizes.width, sizes.layers, sizes.heads, sizes.hidden, groups=len(heads)
            )
            layers, device = layers_of(prior.transformer), prior.begin.device
            return prepare(shape, layers, heads, self.precision, device), prior.codes()

        return self.hold(prior, make)

    def hold(self, prior: Any, make: Callable[[], Parts]) -> Parts:
        """Return what `make` makes of a prior's weights, made again where one has changed."""
        # 1. A weight has changed where its place or its count of changes has. Tensors of inference
        #    mode count none, and cannot be changed outside it.
        weights = [
            (weight.data_ptr(), None if weight.is_inference() else weight._version)
            for weight in prior.parameters()
        ]
        asked = [os.environ.get(name) for name in ("LIMNER_NATIVE", "LIMNER_GRAPHS")]
        state = (self.precision, asked, weights)
        with self._making:
            if self._parts is None or state != self._state:
                # 2. The old engine's memory goes before the new one's comes, and with it the
                #    sessions, whose graphs read the old weights.
                self._parts = None
                self._sessions.clear()
                with torch.no_grad():
                    self._parts = make()
                self._state = state
            held: Parts = self._parts
        return held

    def checkout(self, kind: Kind) -> tuple[TorchSession, Graphs] | None:
        """Return the session and the graphs that a drawing of this kind has left, if any.

        Whoever draws has them alone: two drawings at once must not share a cache.
        """
        try:
            held, session, graphs = self._sessions.pop()
        except IndexError:
            return None
        return (session, graphs) if held == kind else None

    def checkin(self, kind: Kind, session: TorchSession, graphs: Graphs) -> None:
        """Keep a session and its graphs for the next drawing, in the place of those before."""
        self._sessions[:] = [(kind, session, graphs)]

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return type(self)()

    def __reduce__(self) -> tuple[type[Self], tuple[()]]:
        return type(self), ()


class PackedPrior(base.PriorBase):
    """A prior that draws by weights packed for it, `packed`, in a precision of choice."""

    precisions: ClassVar[tuple[str, ...]] = PRECISIONS
    packed: PackedDecoder

    @property
    def batch_rows(self) -> int:
        """As PriorBase; the kernel reads large weights once for as many as have room in memory."""
        if not is_native(next(self.parameters()).device):
            return super().batch_rows
        cells = 2 * 4 * self.config.layers * self.config.width * self.length  # bytes of a picture
        return max(_LEAST, min(_MOST, _CACHE // cells))

    @property
    def precision(self) -> str:
        """Precision of the products in drawing."""
        return self.packed.precision

    @precision.setter
    def precision(self, precision: str) -> None:
        self.packed.precision = precision


class CellPrior(Protocol):
    """What drawing cell by cell needs of a prior, as `limner.priors.gpt.GPT` has it."""

    config: Any
    text: Any  # ids (B, T) to features (B, T, D)
    transformer: Transformer
    head: CellHead
    codes: CodeTable
    packed: PackedDecoder
    slices: list[slice]  # where the cells of each map stand
    image_coordinates: Tensor  # (S, 2)
    begin: nn.Parameter  # (D,), in the place of the cell before the first
    placed: nn.Parameter  # (S, D), which cell was drawn
    target: nn.Parameter  # (S, D), which cell comes next

    @property
    def length(self) -> int:
        """How many cells all maps have together, S."""

    def map_of(self, cell: int) -> int:
        """Return which map a cell belongs to."""

    def parameters(self) -> Iterator[nn.Parameter]:
        """Yield all weights."""

    def fill(self, rows: Tensor) -> Tensor:
        """Return rows repeated up to `batch_rows`."""

    def unpad(self, codes: Tensor, count: int) -> Tensor:
        """Return the first `count` rows of codes (B, S, G); with one code a cell without G."""


def _heads_of(head: Any, transformer: Transformer) -> Iterator[Weights]:
    for number, (table, bias) in enumerate(zip(head.table(), head.bias, strict=True)):
        weights: dict[str, Any] = {"head": table, "head_bias": bias}
        if not number:
            weights["attention_norm"] = transformer.norm.weight
        if group := number % head.groups:
            weights |= feed_forward_of(head.norms[group - 1], head.mixers[group - 1])
        yield weights
