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


class Tensors(Protocol):
    """Named tensors of one file, and the plain values that stood among them."""

    entries: Mapping[str, TensorEntry]
    values: Mapping[str, Any]

    def read(self, name: str) -> Tensor:
        """Return a tensor."""
        ...
