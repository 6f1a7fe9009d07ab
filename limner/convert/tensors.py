"""Tensors of a file by name, each read when it is asked for: what every reader of a file offers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from limner.files.safetensors import TensorEntry

if TYPE_CHECKING:
    from torch import Tensor

DTYPES = {  # as safetensors names them, with the names of torch
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64",
    "I32": "int32", "I16": "int16", "I8": "int8", "U8": "uint8", "BOOL": "bool",
}  # fmt: skip


class Under:
    """Those of some tensors whose names begin with `prefix`, without it; values too."""

    def __init__(self, tensors: Tensors, prefix: str) -> None:
        self._tensors, self._prefix = tensors, prefix
        self.entries: Mapping[str, TensorEntry] = self._of(tensors.entries)
        self.values: Mapping[str, Any] = self._of(tensors.values)

    def read(self, name: str) -> Tensor:
        """Return a tensor."""
        return self._tensors.read(self._prefix + name)

    def _of(self, held: Mapping[str, Any]) -> dict[str, Any]:
        prefix = self._prefix
        return {
            name.removeprefix(prefix): each
            for name, each in held.items()
            if name.startswith(prefix)
        }


class Tensors(Protocol):
    """Named tensors of one file, and the plain values that stood among them."""

    @property
    def entries(self) -> Mapping[str, TensorEntry]:
        """What is known of each tensor before it is read."""
        ...

    @property
    def values(self) -> Mapping[str, Any]:
        """Numbers, texts and lists of them."""
        ...

    def read(self, name: str) -> Tensor:
        """Return a tensor."""
        ...
