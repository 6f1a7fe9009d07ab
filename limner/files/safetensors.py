"""What a safetensors file says of itself, read strictly before any library touches its weights.

The library takes a header that has one key twice; this reader refuses that, and everything else
that leaves a byte of the file unexplained. It does not know what the tensors are for.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from limner.errors import CheckpointError, quote

HEADER_LIMIT = 100_000_000
RANK_LIMIT = 8
SIZES = {
    "F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1,
    "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U64": 8, "U32": 4, "U16": 2, "U8": 1, "BOOL": 1,
}  # fmt: skip

_FOREIGN = {
    b"PK\x03\x04": "a zip archive (as torch.save writes, with a pickle inside)",
    b"7z\xbc\xaf": "a 7z archive",
    b"\x93NUMPY": "a NumPy file",
    b"\x89HDF": "an HDF5 file",
    b"GGUF": "a GGUF file",
}
_PICKLES = tuple(bytes((0x80, protocol)) for protocol in range(2, 6))


@dataclass(frozen=True)
class TensorEntry:
    """One tensor of the header: its dtype name, shape, and byte range within the body."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int

    @property
    def count(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape)


def read_header(read: Callable[[int], bytes], size: int, source: str) -> dict[str, TensorEntry]:
    """Return the tensors of a safetensors file of `size` bytes; `read(n)` gives its first bytes.

    Only the header is read. Raises CheckpointError, naming `source`, when the file is a pickle or
    an archive, when its header is not plain JSON or has a key twice, and when shapes, dtypes and
    offsets do not cover every byte of the body exactly once.
    """
    first = read(8)
    length = int.from_bytes(first, "little")
    # A header of 640 bytes begins as a pickle does; no pickle begins as a header that fits.
    if not length <= min(HEADER_LIMIT, size - 8):
        refuse_foreign(first, source)
    if len(first) < 8 or size < 10:
        raise CheckpointError(
            f"{source} has {size} bytes: header too small; it was cut, so get it anew"
        )
    if length > HEADER_LIMIT:
        raise CheckpointError(
            f"{source} states a header of {length} bytes; the limit is {HEADER_LIMIT}"
        )
    if length > size - 8:
        raise CheckpointError(
            f"{source} states a header of {length} bytes but has only {size} in all; get it anew"
        )
    entries = _parse(read(length), source)
    tensors = {
        name: _entry(name, value, source) for name, value in entries.items() if name != _METADATA
    }
    _check_metadata(entries.get(_METADATA, {}), source)
    _check_cover(tensors, size - 8 - length, source)
    return tensors


def refuse_foreign(first: bytes, source: str) -> None:
    """Raise CheckpointError when the first bytes of a file are those of a pickle or an archive."""
    if first.startswith(_PICKLES):
        raise CheckpointError(
            f"{source}: this is a pickle; use limner import (a pickle can run any code, so limner "
            "draws from safetensors only)"
        )
    for magic, kind in _FOREIGN.items():
        if first.startswith(magic):
            raise CheckpointError(
                f"{source}: this is {kind}; use limner import (limner draws from safetensors only)"
            )


def strict_json(text: bytes, source: str) -> Any:
    """Parse JSON in UTF-8 with no key twice and no NaN; raises CheckpointError naming `source`."""

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in items:
            if key in found:
                raise CheckpointError(f"{source} has the key {quote(key)} twice")
            found[key] = value
        return found

    def constant(name: str) -> Any:
        raise CheckpointError(f"{source} holds {name}, which JSON does not have")

    try:
        decoded = text.decode("utf-8")
        return json.loads(decoded, object_pairs_hook=pairs, parse_constant=constant)
    except UnicodeDecodeError as error:
        raise CheckpointError(f"{source} is not UTF-8 at byte {error.start}") from error
    except RecursionError as error:
        raise CheckpointError(f"{source} is nested too deeply") from error
    except ValueError as error:
        raise CheckpointError(f"{source} is not JSON ({error})") from error


_METADATA = "__metadata__"


def _parse(text: bytes, source: str) -> dict[str, Any]:
    header = f"the header of {source}"
    if not text.startswith(b"{"):
        raise CheckpointError(f"{header} does not start with '{{', so it is no safetensors file")
    entries = strict_json(text, header)
    assert isinstance(entries, dict)
    return entries


def _entry(name: str, value: Any, source: str) -> TensorEntry:
    where = f"tensor {quote(name)} of {source}"
    if not isinstance(value, dict) or set(value) != {"dtype", "shape", "data_offsets"}:
        raise CheckpointError(f"{where} needs dtype, shape and data_offsets, and nothing else")
    dtype, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
    if not isinstance(dtype, str) or dtype not in SIZES:
        raise CheckpointError(f"{where} has the unknown dtype {quote(dtype)}; only dense "
                              f"{', '.join(SIZES)} are read")  # fmt: skip
    if not _are_sizes(shape) or len(shape) > RANK_LIMIT:
        raise CheckpointError(f"{where} has the shape {quote(shape)}; expected whole numbers >= 0")
    if not _are_sizes(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise CheckpointError(f"{where} has the offsets {quote(offsets)}; expected begin <= end")
    stated = math.prod(shape) * SIZES[dtype]
    if stated != offsets[1] - offsets[0]:
        raise CheckpointError(
            f"{where}: shape {quote(shape)} in {dtype} is {stated} bytes, but its offsets hold "
            f"{offsets[1] - offsets[0]}"
        )
    return TensorEntry(dtype, tuple(shape), offsets[0], offsets[1])


def _are_sizes(values: Any) -> bool:
    return isinstance(values, list) and all(
        isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63
        for value in values
    )


def _check_metadata(metadata: Any, source: str) -> None:
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise CheckpointError(f"the metadata of {source} is not a table of text")


def _check_cover(tensors: dict[str, TensorEntry], body: int, source: str) -> None:
    at = 0
    for name, tensor in sorted(tensors.items(), key=lambda item: (item[1].begin, item[1].end)):
        if tensor.begin != at:
            overlaps = tensor.begin < at
            fault = "overlaps the one before it" if overlaps else f"leaves a hole at byte {at}"
            raise CheckpointError(f"tensor {quote(name)} of {source} {fault}; get the file anew")
        at = tensor.end
    if at != body:
        raise CheckpointError(
            f"{source} is not fully covered by its tensors: they take {at} bytes of {body}; "
            "it was cut or added to, get it anew"
        )
