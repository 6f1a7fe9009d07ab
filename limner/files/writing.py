"""A safetensors file written a tensor at a time, so that no more than one is held."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from limner.errors import CheckpointError, quote

if TYPE_CHECKING:
    from torch import Tensor

_WIDTHS = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1,
           "U8": 1, "BOOL": 1}  # fmt: skip
_CHUNK = 2**22  # numbers that are written at a time
Progress = Callable[[int, int], None]  # bytes that are done, and all


class Readable(Protocol):
    """A tensor of which type (as safetensors names it) and shape are known before it is read."""

    dtype: str
    shape: tuple[int, ...]
    read: Callable[[], Tensor]


def write_tensors(
    path: Path,
    weights: Mapping[str, Any],
    metadata: Mapping[str, str] | None = None,
    progress: Progress = lambda done, total: None,
) -> str:
    """Write `weights` (names to Readable) to a new file, on the disk for sure; return its sha256.

    A tensor is read, written and let go before the next. Raises CheckpointError for one with NaN or
    infinity, or that is not of the type and shape it was said to be; OSError as it comes.
    """
    # 1. The header, padded to eight bytes as the library does, says where each tensor will lie.
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    end = 0
    for name, each in weights.items():
        size = math.prod(each.shape) * _WIDTHS[each.dtype]
        header[name] = {
            "dtype": each.dtype, "shape": list(each.shape), "data_offsets": [end, end + size],
        }  # fmt: skip
        end += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    digest = hashlib.sha256()
    with path.open("xb") as file:
        for part in (len(text).to_bytes(8, "little"), text):
            file.write(part)
            digest.update(part)
        # 2. The tensors in the order of the header.
        done = 0
        for name, each in weights.items():
            for chunk in _checked(each, name):
                file.write(chunk)
                digest.update(chunk)
                done += len(chunk)
                progress(done, end)
        file.flush()
        os.fsync(file.fileno())
    return digest.hexdigest()


def _checked(each: Readable, name: str) -> Sequence[memoryview]:
    import torch

    tensor = each.read()
    if tuple(tensor.shape) != each.shape or tensor.element_size() != _WIDTHS[each.dtype]:
        raise CheckpointError(
            f"tensor {quote(name)} is {tuple(tensor.shape)} where {each.shape} was stated; the "
            "file was changed meanwhile"
        )
    flat = tensor.contiguous().reshape(-1)
    for part in flat.split(_CHUNK) if flat.is_floating_point() else ():
        if not bool(torch.isfinite(part).all()):
            raise CheckpointError(
                f"tensor {quote(name)} holds NaN or infinite values, with which nothing can be "
                "drawn; get the checkpoint anew"
            )
    return [part.view(torch.uint8).numpy().data for part in flat.split(_CHUNK)]
