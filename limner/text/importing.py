"""Reading a pretrained text encoder: a folder or Hub repository in the layout of `transformers`.

Only config.json, tokenizer.json and safetensors are read, never a pickle and never code.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from limner import hub
from limner.errors import CheckpointError, quote
from limner.text.pretrained import PRETRAINED, Architecture, build_body
from limner.text.pretrained_tokenizer import PretrainedTokenizer

_CONFIG, _TOKENIZER, _WEIGHTS = "config.json", "tokenizer.json", "model.safetensors"
_FILES = (_CONFIG, _TOKENIZER, _WEIGHTS, f"{_WEIGHTS}.index.json", "model-*.safetensors")


def import_encoder(source: str) -> tuple[dict[str, Any], dict[str, Tensor], PretrainedTokenizer]:
    """Return a checkpoint's encoder: config (`name`, `sizes`), weights of `body`, tokenizer.

    `source` is a folder or `hf:owner/name`. Raises CheckpointError for one that lacks a file, is
    damaged or of another architecture, ConfigError for sizes that describe no model, and for the
    Hub as `limner.hub.download`.
    """
    folder = Path(source)
    if source.startswith(hub.PREFIX):
        folder, _ = hub.download(source, _FILES)
    name, sizes = _read_sizes(folder)
    architecture = PRETRAINED[name].architecture
    with torch.device("meta"):
        body = build_body(architecture, sizes)
    tokens = _read_text(folder, _TOKENIZER)
    tokenizer = PretrainedTokenizer.convert(tokens, source=str(folder / _TOKENIZER))
    if tokenizer.vocabulary > body.config.vocab_size + 1:
        raise CheckpointError(
            f"the tokenizer in {folder} has {tokenizer.vocabulary - 1} ids, but the model knows "
            f"{body.config.vocab_size}; they belong to different models"
        )
    weights = _read_weights(folder, architecture, body.state_dict())
    return {"name": name, "sizes": sizes}, weights, tokenizer


def _read_sizes(folder: Path) -> tuple[str, dict[str, Any]]:
    found = _read_json(folder, _CONFIG)
    kind = found.get("model_type")
    if kind == "clip" and isinstance(found.get("text_config"), dict):
        found = found["text_config"]
    for name, encoder in PRETRAINED.items():
        architecture = encoder.architecture
        if kind in architecture.types:
            kept = {key: found.get(key) for key in architecture.sizes}
            return name, {key: value for key, value in kept.items() if value is not None}
    known = [kind for encoder in PRETRAINED.values() for kind in encoder.architecture.types]
    raise CheckpointError(
        f"{folder / _CONFIG} has the model_type {quote(kind)}; expected one of {', '.join(known)}"
    )


def _read_weights(
    folder: Path, architecture: Architecture, wanted: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Return the tensors that the encoder needs, in fp32; heads and decoders stay unread."""
    from safetensors import SafetensorError, safe_open

    tensors: dict[str, Tensor] = {}
    for path in _weight_files(folder):
        try:
            with safe_open(path, "pt") as opened:
                names = set(opened.keys())
                for key in wanted:
                    if (held := _name_of(key, architecture, names)) is not None:
                        tensors[key] = opened.get_tensor(held).float()
        except (OSError, SafetensorError) as error:
            raise CheckpointError(f"{path} is no safetensors file ({error})") from error
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


def _name_of(key: str, architecture: Architecture, names: set[str]) -> str | None:
    for prefix in architecture.prefixes:
        full = f"{prefix}{key}"
        if full in names:
            return full
        for ours, theirs in architecture.renamed.items():
            if full.endswith(ours) and (other := full.removesuffix(ours) + theirs) in names:
                return other
    return None


def _weight_files(folder: Path) -> list[Path]:
    if (folder / _WEIGHTS).exists():
        return [folder / _WEIGHTS]
    if (folder / f"{_WEIGHTS}.index.json").exists():
        places = _read_json(folder, f"{_WEIGHTS}.index.json").get("weight_map")
        parts = sorted(set(map(str, places.values()))) if isinstance(places, dict) else []
        if all(Path(part).name == part for part in parts):
            return [folder / part for part in parts]
    raise CheckpointError(
        f"{folder} has no {_WEIGHTS}; limner reads no pickles (pytorch_model.bin), so save the "
        "model as safetensors with save_pretrained"
    )


def _read_json(folder: Path, name: str) -> dict[str, Any]:
    try:
        found = json.loads(_read_text(folder, name))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{folder / name} is not JSON ({error})") from error
    if not isinstance(found, dict):
        raise CheckpointError(f"{folder / name} holds a {type(found).__name__}; expected a table")
    return found


def _read_text(folder: Path, name: str) -> str:
    try:
        return (folder / name).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise CheckpointError(
            f"cannot read {name} in {quote(str(folder), 120)} ({reason}); give a folder with "
            f"{_CONFIG}, {_TOKENIZER} and {_WEIGHTS}, as transformers' save_pretrained writes"
        ) from error
