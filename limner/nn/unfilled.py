"""Networks built without random weights, for those whose weights come from a file."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from math import prod
from typing import Any

import numpy
import torch
from torch import Tensor, nn
from torch.nn import init
from torch.overrides import TorchFunctionMode

# A mode is asked once a call, so what these call in turn is not seen.
_FILLS = frozenset(
    (
        Tensor.normal_,
        Tensor.uniform_,
        init.normal_,
        init.uniform_,
        init.kaiming_uniform_,
        init.trunc_normal_,
    )
)
_DRAWS = frozenset((torch.randn, torch.rand))
_IN_PLACE = frozenset((Tensor.mul_, Tensor.add_))
_ELEMENTWISE = frozenset(
    (Tensor.add, Tensor.sub, Tensor.mul, Tensor.div, Tensor.__floordiv__, Tensor.remainder)
)


class Unfilled(TorchFunctionMode):
    """A context in which a random fill leaves a weight as it is, whatever it holds.

    A network that is built in it must get every weight before it computes. What is no weight is
    filled, and what has a generator of its own.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Do what is asked, but for a random fill of a weight."""
        given = kwargs or {}
        if func in _FILLS and given.get("generator") is None:
            tensor = given["tensor"] if "tensor" in given else args[0]
            if isinstance(tensor, nn.Parameter):
                return tensor
        return func(*args, **given)


class Outline(TorchFunctionMode):
    """A context of the meta device, whose tensors have shapes and no values, without its compiler.

    Stock torch imports its compiler for the first random fill or product there, some 0.8 s. What
    networks do when they are built is answered here; anything else is torch's own answer.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Return what `func` does, of its shape and kind alone."""
        given = kwargs or {}
        if func in _DRAWS:
            return torch.empty(*args, **{k: v for k, v in given.items() if k != "generator"})
        if func in _FILLS or func in _IN_PLACE:
            return given["tensor"] if "tensor" in given else args[0]
        if func in _ELEMENTWISE and len(args) == 2 and not given:
            return _elementwise(func, *args)
        if func is torch.cat or func is torch.stack:
            return _joined(func is torch.stack, *args, **given)
        if func is torch.arange and not given and all(type(each) is int for each in args):
            return torch.empty(len(range(*args)), dtype=torch.int64)
        if func is torch.cartesian_prod:
            return torch.empty(prod(map(len, args)), len(args), dtype=args[0].dtype)
        return func(*args, **given)

    def __enter__(self) -> "Outline":
        self._device = ExitStack()
        self._device.enter_context(torch.device("meta"))
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *raised: Any) -> None:
        super().__exit__(*raised)  # type: ignore[no-untyped-call]
        self._device.close()


def _elementwise(func: Callable[..., Any], one: Any, other: Any) -> Tensor:
    shapes = [each.shape for each in (one, other) if isinstance(each, Tensor)]
    kind = torch.result_type(one, other)
    if func is Tensor.div and not kind.is_floating_point:
        kind = torch.get_default_dtype()
    return torch.empty(numpy.broadcast_shapes(*shapes), dtype=kind)


def _joined(stacks: bool, tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    parts = [each.unsqueeze(dim) if stacks else each for each in tensors]
    shape = list(parts[0].shape)
    shape[dim] = sum(each.shape[dim] for each in parts)
    return torch.empty(shape, dtype=parts[0].dtype)
