"""Tensors in slices over ranks (DTensor of FSDP2) and as shards on disk, in safetensors.

Shards are those of `torch.distributed.checkpoint` in its safetensors form, which holds no pickle;
any number of ranks reads what any number wrote.
"""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from limner.errors import CheckpointError, ResourceError, shorten


def whole(tensor: Tensor) -> Tensor:
    """Return all of a tensor that may be in slices; then all ranks must ask."""
    gather = getattr(tensor, "full_tensor", None)
    found: Tensor = tensor if gather is None else gather()
    return found


def write_shards(folder: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write each rank's part of named tensors into `folder`; all ranks must come here together.

    Raises ResourceError when one of them cannot write.
    """
    from torch.distributed.checkpoint.api import CheckpointException
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter
    from torch.distributed.checkpoint.state_dict_saver import save

    held = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
    try:
        save(held, storage_writer=HuggingFaceStorageWriter(str(folder), save_distributed=True))
    except CheckpointException as error:
        raise ResourceError(
            f"the ranks cannot write their state in {shorten(str(folder), 120)} ({_first(error)}); "
            "free space, or choose a folder that all of them can write to"
        ) from error


def read_shards(folder: Path, known: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of a folder's safetensors files, in slices where those of `known` are so.

    `known` are tensors by name, whose values do not matter. Raises CheckpointError for a file that
    is no safetensors, or lacks a part of a tensor.
    """
    from safetensors import SafetensorError
    from torch.distributed.checkpoint.api import CheckpointException
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader
    from torch.distributed.checkpoint.state_dict_loader import load

    reader = HuggingFaceStorageReader(str(folder))
    try:
        found = reader.read_metadata().state_dict_metadata  # names and shapes, before any value
        # Tensors in slices where this run has them so, else whole; `load` fills them.
        into = {name: _empty(about, known.get(name)) for name, about in found.items()}
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "torch.distributed is", UserWarning)  # one rank reads
            load(into, storage_reader=reader, no_dist=True)
    except (CheckpointException, SafetensorError, OSError, LookupError) as error:
        raise CheckpointError(
            f"the training state in {shorten(str(folder), 120)} is damaged ({_first(error)}); "
            "remove it and start without --resume"
        ) from error
    return into


def _empty(about: Any, like: Tensor | None) -> Tensor:
    size, kind = tuple(about.size), about.properties.dtype
    if like is not None and size and tuple(like.shape) == size:
        return torch.empty_like(like, dtype=kind)
    return torch.empty(size, dtype=kind)


def _first(error: BaseException) -> str:
    failures = getattr(error, "failures", None)  # of each rank; the first one's says enough
    cause = next(iter(failures.values()))[0] if failures else error
    return shorten(" ".join(f"{type(cause).__name__}: {cause}".split()), 120)
