"""Safetensors files, read strictly and by the file that was opened and hashed, not by its name.

The library refuses sizes, types and offsets that leave a byte unexplained, but takes a header that
has one key twice, or keys of no meaning; those are refused here. It does not know what the tensors
are for.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader
from typing import TYPE_CHECKING, Any

from limner.errors import CheckpointError, quote, shorten

if TYPE_CHECKING:
    from torch import Tensor

HEADER_LIMIT = 100_000_000  # bytes, as the library has it
_METADATA = "__metadata__"
_KEYS = {"dtype", "shape", "data_offsets"}
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
    """One tensor of the header: its dtype name and shape."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def count(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape)


def read_header(
    file: BufferedReader, source: str, *, compared: bool = True
) -> dict[str, TensorEntry]:
    """Return the tensors of an open safetensors file, whose numbers are not read.

    With `compared` off the header is not compared with the body, for which the library imports
    numpy: 60 ms that a command need not spend before its first word, as loading compares them.

    Raises CheckpointError, naming `source`, when the file is a pickle or an archive, when its
    header is not plain JSON or has a key twice, and for all that the library refuses.
    """
    file.seek(0)
    first, size = file.read(8), os.fstat(file.fileno()).st_size
    length = int.from_bytes(first, "little")
    # A header of 640 bytes begins as a pickle does; no pickle begins as a header that fits.
    if not length <= min(HEADER_LIMIT, size - 8):
        refuse_foreign(first, source)
    # The library would say the same of a lying length, but not that the file was cut.
    if size < 10 or length > min(HEADER_LIMIT, size - 8):
        raise CheckpointError(
            f"{source} has {size} bytes and states a header of {length}; it was cut or is no "
            "safetensors file, so get it anew"
        )
    # JSON allows a key twice, and which of both counts differs from reader to reader.
    entries = strict_json(file.read(length), f"the header of {source}")
    if compared:
        with _opened(file, source, "np"):
            pass  # opening alone does it
    entries.pop(_METADATA, None)
    for name, value in entries.items():
        if set(value) != _KEYS:
            raise CheckpointError(
                f"tensor {quote(name)} of {source} needs dtype, shape and data_offsets, and "
                "nothing else"
            )
    return {
        name: TensorEntry(value["dtype"], tuple(value["shape"])) for name, value in entries.items()
    }


def read_tensors(file: BufferedReader, source: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors of an open file, mapped from the disk, and its metadata.

    Raises CheckpointError for what the library refuses.
    """
    with _opened(file, source, "pt") as opened:
        return {name: opened.get_tensor(name) for name in opened.keys()}, (  # noqa: SIM118
            opened.metadata() or {}
        )


def check_finite(tensors: Mapping[str, Tensor], source: str) -> None:
    """Raise CheckpointError where a tensor holds NaN or infinity."""
    import torch

    for name, tensor in tensors.items():
        if not tensor.is_floating_point() or not tensor.numel():
            continue
        # The least and the greatest are NaN where any is, and are found in one fast pass.
        if not all(bool(torch.isfinite(each)) for each in tensor.aminmax()):
            bad = int((~torch.isfinite(tensor.float())).sum())
            raise CheckpointError(
                f"{source}: tensor {quote(name)} holds {bad} NaN or infinite values of "
                f"{tensor.numel()}; allow_nonfinite=True or --allow-nonfinite reads it"
            )


@contextmanager
def _opened(file: BufferedReader, source: str, framework: str) -> Iterator[Any]:
    from safetensors import SafetensorError, safe_open

    # The library takes names alone. That of the open file is this very one, whatever has been put
    # in its place meanwhile; systems without such names get the path.
    handle = f"/dev/fd/{file.fileno()}"
    try:
        with safe_open(handle if os.path.exists(handle) else file.name, framework) as opened:
            yield opened
    except (SafetensorError, OSError) as error:
        reason = shorten(str(error).removeprefix("Error while deserializing header: "), 160)
        raise CheckpointError(f"{source} cannot be read: {reason}; get it anew") from error


def refuse_foreign(first: bytes, source: str) -> None:
    """Raise CheckpointError when the first bytes of a file are those of a pickle or an archive."""
    if first.startswith(_PICKLES):
        raise CheckpointError(
            f"{source}: this is a pickle; use limner import (a pickle can run any code, so limner "
            "draws from safetensors only)"
        )
    # A file under another name is common; its first bytes say what it is, and the remedy.
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
