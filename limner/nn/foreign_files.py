"""Checkpoint folders in the layout of `transformers`: config.json and safetensors, strictly read.

Never a pickle and never code. Every fault is a CheckpointError.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from limner.errors import CheckpointError, quote
from limner.files import hub
from limner.nn.foreign import Architecture

_CONFIG, _WEIGHTS = "config.json", "model.safetensors"
_FILES = (_CONFIG, _WEIGHTS, f"{_WEIGHTS}.index.json", "model-*.safetensors")


def find_folder(source: str, more: tuple[str, ...]) -> Path:
    """Return a folder, or where `hf:owner/name` was fetched to with the files `more` besides.

    Raises as `limner.files.hub.download`.
    """
    if source.startswith(hub.PREFIX):
        return hub.download(source, (*_FILES, *more))[0]
    return Path(source)


def read_sizes(
    folder: Path, architectures: Mapping[str, Architecture]
) -> tuple[str, dict[str, Any]]:
    """Return which of the architectures by name config.json is of, and the sizes it gives."""
    found = read_json(folder, _CONFIG)
    kind = found.get("model_type")
    for name, architecture in architectures.items():
        if kind in architecture.types:
            inner = found.get(architecture.nested)
            held = inner if isinstance(inner, dict) else found
            kept = {key: held.get(key) for key in architecture.sizes}
            return name, {key: value for key, value in kept.items() if value is not None}
    known = [kind for architecture in architectures.values() for kind in architecture.types]
    raise CheckpointError(
        f"{folder / _CONFIG} has the model_type {quote(kind)}; expected one of {', '.join(known)}"
    )


def read_weights(
    folder: Path, architecture: Architecture, wanted: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Return the tensors that the encoder needs, in fp32; heads and decoders stay unread."""
    # 1. Each file is asked for the names that it holds, under any of the prefixes and older names.
    tensors: dict[str, Tensor] = {}
    for path in _weight_files(folder):
        try:
            with safe_open(path, "pt") as opened:
                names = set(opened.keys())
                for key in wanted:
                    if (held := _name_of(key, architecture, names)) is not None:
                        tensors[key] = opened.get_tensor(held).to(wanted[key].dtype)
        except (OSError, SafetensorError) as error:
            raise CheckpointError(f"{path} is no safetensors file ({error})") from error
    # 2. What would draw nonsense is refused.
    missing = [key for key in wanted if key not in tensors]
    other = [key for key in tensors if tensors[key].shape != wanted[key].shape]
    broken = [key for key, tensor in tensors.items() if not bool(torch.isfinite(tensor).all())]
    for keys, fault in (
        (missing, "lack"),
        (other, "have another shape of"),
        (broken, "have NaN in"),
    ):
        if keys:
            raise CheckpointError(
                f"the weights in {folder} {fault} {len(keys)} tensors of {architecture.model}, "
                f"{keys[0]} among them"
            )
    return tensors


def read_json(folder: Path, name: str) -> dict[str, Any]:
    """Return the table in a folder's JSON file."""
    try:
        found = json.loads(read_text(folder, name))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{folder / name} is not JSON ({error})") from error
    if not isinstance(found, dict):
        raise CheckpointError(f"{folder / name} holds a {type(found).__name__}; expected a table")
    return found


def read_text(folder: Path, name: str) -> str:
    """Return the text of a folder's file."""
    try:
        return (folder / name).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise CheckpointError(
            f"cannot read {name} in {quote(str(folder), 120)} ({reason}); give a folder with all "
            "that transformers' save_pretrained writes, in safetensors"
        ) from error


def _name_of(key: str, architecture: Architecture, names: set[str]) -> str | None:
    for prefix in architecture.prefixes:
        full = f"{prefix}{key}"
        if full in names:
            return full
        for ours, theirs in architecture.renamed.items():
            full = full.replace(ours, theirs)
        if full in names:
            return full
    return None


def _weight_files(folder: Path) -> list[Path]:
    if (folder / _WEIGHTS).exists():
        return [folder / _WEIGHTS]
    if (folder / f"{_WEIGHTS}.index.json").exists():
        places = read_json(folder, f"{_WEIGHTS}.index.json").get("weight_map")
        parts = sorted(set(map(str, places.values()))) if isinstance(places, dict) else []
        if all(Path(part).name == part for part in parts):
            return [folder / part for part in parts]
    raise CheckpointError(
        f"{folder} has no {_WEIGHTS}; limner reads no pickles (pytorch_model.bin), so save the "
        "model as safetensors with save_pretrained"
    )
