"""Files of Flax (`flax_model.msgpack`), read without JAX: msgpack maps whose leaves are arrays.

Only what Flax writes is read: maps with string keys, strings, numbers, and arrays, which are an
extension (type 1) of shape, dtype and bytes. The file is mapped; an array is read when asked for.
"""

from __future__ import annotations

import math
import mmap
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limner.convert.tensors import DTYPES
from limner.errors import CheckpointError
from limner.files.folder import shown_path
from limner.files.safetensors import TensorEntry

if TYPE_CHECKING:
    from torch import Tensor

_ARRAY = 1  # the extension type of an array
_DEPTH = 32
_KINDS = {name: kind for kind, name in DTYPES.items()}
_NUMBERS = {  # first byte: what struct reads
    0xCA: ">f", 0xCB: ">d", 0xCC: ">B", 0xCD: ">H", 0xCE: ">I", 0xCF: ">Q",
    0xD0: ">b", 0xD1: ">h", 0xD2: ">i", 0xD3: ">q",
}  # fmt: skip
_SIZES = {  # first byte: what kind follows, and what struct reads its size with
    0xC4: ("bytes", ">B"), 0xC5: ("bytes", ">H"), 0xC6: ("bytes", ">I"),
    0xC7: ("extension", ">B"), 0xC8: ("extension", ">H"), 0xC9: ("extension", ">I"),
    0xD9: ("string", ">B"), 0xDA: ("string", ">H"), 0xDB: ("string", ">I"),
    0xDC: ("list", ">H"), 0xDD: ("list", ">I"), 0xDE: ("map", ">H"), 0xDF: ("map", ">I"),
}  # fmt: skip


@dataclass(frozen=True)
class _Bytes:
    """Where bytes lie in the file."""

    first: int
    count: int


@dataclass(frozen=True)
class _Array:
    entry: TensorEntry
    first: int


class _Reader:
    """One way through the bytes of a file."""

    def __init__(self, data: Any, first: int, end: int) -> None:
        self.data, self.at, self.end = data, first, end

    def value(self, depth: int = 0) -> Any:
        """Return the next value; of bytes and arrays the place."""
        if depth > _DEPTH:
            raise ValueError("it is nested too deeply")
        kind = self.take(">B")
        if kind <= 0x7F:
            return kind
        if kind >= 0xE0:
            return kind - 0x100
        if kind in (0xC0, 0xC2, 0xC3):
            return {0xC0: None, 0xC2: False, 0xC3: True}[kind]
        if kind in _NUMBERS:
            return self.take(_NUMBERS[kind])
        if 0xD4 <= kind <= 0xD8:
            return self._sized("extension", 2 ** (kind - 0xD4), depth)
        if kind in _SIZES:
            what, size = _SIZES[kind]
            return self._sized(what, self.take(size), depth)
        what, first = next(
            each for each in (("string", 0xA0), ("list", 0x90), ("map", 0x80)) if kind >= each[1]
        )
        return self._sized(what, kind - first, depth)

    def take(self, form: str) -> Any:
        """Return a number."""
        (found,) = struct.unpack(form, self._bytes(struct.calcsize(form)))
        return found

    def _bytes(self, count: int) -> bytes:
        first = self._skip(count)
        return bytes(self.data[first : first + count])

    def _skip(self, count: int) -> int:
        if count > self.end - self.at:
            raise ValueError("it ends too early")
        self.at += count
        return self.at - count

    def _sized(self, what: str, size: int, depth: int) -> Any:
        if what == "map":
            found = {}
            for _ in range(size):
                key = self.value(depth + 1)
                if not isinstance(key, str) or key in found:
                    raise ValueError("a key is no text, or there twice")
                found[key] = self.value(depth + 1)
            return found
        if what == "list":
            return [self.value(depth + 1) for _ in range(size)]
        if what == "string":
            return self._bytes(size).decode("utf-8")
        if what == "bytes":
            return _Bytes(self._skip(size), size)
        kind = self.take(">b")
        first = self._skip(size)
        if kind != _ARRAY:
            return None  # complex numbers and scalars of NumPy, which no weights are
        return self._array(first, first + size)

    def _array(self, first: int, end: int) -> _Array:
        shape, dtype, data = _Reader(self.data, first, end).value()
        dtype = "bfloat16" if dtype in ("V2", "bfloat16") else dtype
        if dtype not in _KINDS or not all(type(each) is int and each >= 0 for each in shape):
            raise ValueError(f"an array is of the type {dtype}")
        width = {"float64": 8, "int64": 8, "float32": 4, "int32": 4}.get(dtype, 2)
        width = 1 if dtype in ("int8", "uint8", "bool") else width
        if not isinstance(data, _Bytes) or math.prod(shape) * width != data.count:
            raise ValueError("the shape of an array does not fit its bytes")
        return _Array(TensorEntry(_KINDS[dtype], tuple(shape)), data.first)


class MsgpackTensors:
    """The arrays of a mapped file, by the names on the way to them with "/" between."""

    def __init__(self, data: Any, source: str) -> None:
        self._data = data
        reader = _Reader(data, 0, len(data))
        try:
            tree = reader.value()
            if not isinstance(tree, dict) or reader.at != len(data):
                raise ValueError("it is no map, or goes on behind it")
        except (ValueError, TypeError, RecursionError, struct.error) as error:
            raise CheckpointError(
                f"{source} is no msgpack of Flax ({error}); get it anew"
            ) from error
        leaves = dict(_leaves(tree, ""))
        self._arrays = {name: each for name, each in leaves.items() if isinstance(each, _Array)}
        self.entries: Mapping[str, TensorEntry] = {
            name: each.entry for name, each in self._arrays.items()
        }
        self.values: Mapping[str, Any] = {
            name: each for name, each in leaves.items() if isinstance(each, str | int | float)
        }

    def read(self, name: str) -> Tensor:
        """Return an array."""
        return self._numbers(name, 0, self.entries[name].shape)

    def read_row(self, name: str, row: int) -> Tensor:
        """Return one of an array's rows, without the others."""
        return self._numbers(name, row, self.entries[name].shape[1:])

    def _numbers(self, name: str, row: int, shape: tuple[int, ...]) -> Tensor:
        import torch

        array, count = self._arrays[name], math.prod(shape)
        dtype = getattr(torch, DTYPES[array.entry.dtype])
        if not count:
            return torch.empty(shape, dtype=dtype)
        size = torch.empty((), dtype=dtype).element_size() * count
        first = array.first + row * size
        # Copied: bytes of a file lie at any address, and a type wants its own.
        return torch.frombuffer(bytearray(self._data[first : first + size]), dtype=dtype).view(
            shape
        )


@contextmanager
def open_msgpack(path: Path) -> Iterator[MsgpackTensors]:
    """Open a file of Flax; CheckpointError where it is damaged or something else."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        yield MsgpackTensors(data, shown_path(path))


def _leaves(tree: dict[str, Any], name: str) -> Iterator[tuple[str, Any]]:
    for key, each in tree.items():
        way = f"{name}/{key}" if name else key
        if isinstance(each, dict):
            yield from _leaves(each, way)
        else:
            yield way, each
