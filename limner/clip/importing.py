"""Reading a pretrained image encoder: a folder or Hub repository in the layout of `transformers`.

Only config.json, preprocessor_config.json and safetensors are read, never a pickle and never code.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from limner.clip.pretrained import PRETRAINED_IMAGE, PretrainedImageEncoder
from limner.errors import CheckpointError, quote
from limner.nn.foreign import build_body
from limner.nn.foreign_files import find_folder, read_json, read_sizes, read_weights

_SEEN, _PROCESSOR = "preprocessor_config.json", "processor_config.json"
_SIZE = 224  # pixels a side, as the first models of all three architectures
_SIZE_LIMIT = 4096


def import_image_encoder(source: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return a checkpoint's encoder: its `name` and settings, and the weights of `body`.

    `source` is a folder or `hf:owner/name`. Where it does not state how pictures are prepared, it
    is as for the first models of its architecture. Raises CheckpointError for one that lacks a
    file, is damaged or of another architecture, ConfigError for sizes that describe no model, and
    for the Hub as `limner.hub.download`.
    """
    folder = find_folder(source, (_SEEN, _PROCESSOR))
    known = {name: encoder.architecture for name, encoder in PRETRAINED_IMAGE.items()}
    name, sizes = read_sizes(folder, known)
    with torch.device("meta"):
        body = build_body(known[name], sizes)
    weights = read_weights(folder, known[name], body.state_dict())
    seen = read_seen(folder, PRETRAINED_IMAGE[name], sizes)
    return {"name": name, "sizes": sizes, **seen}, weights


def read_seen(
    folder: Path, encoder: type[PretrainedImageEncoder], sizes: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the size, mean and std of the pictures that a folder's encoder was trained with.

    Raises CheckpointError for what describes no such pictures.
    """
    held: Any = {}
    if (folder / _SEEN).exists():
        held = read_json(folder, _SEEN)
    elif (folder / _PROCESSOR).exists():
        held = read_json(folder, _PROCESSOR).get("image_processor")
    held = held if isinstance(held, dict) else {}
    size = held.get("crop_size") if held.get("do_center_crop", True) else None
    size = _side(size or held.get("size") or sizes.get("image_size", _SIZE))
    mean, std = held.get("image_mean") or encoder.mean, held.get("image_std") or encoder.std
    if not held.get("do_normalize", True):
        mean, std = (0, 0, 0), (1, 1, 1)
    if size is None or not (_is_colour(mean) and _is_colour(std)):
        raise CheckpointError(
            f"{folder} prepares pictures with the size {quote(held.get('size'))}, mean "
            f"{quote(mean)} and std {quote(std)}; expected a square of at most {_SIZE_LIMIT} "
            "pixels a side, and three numbers from 0 each"
        )
    return {"size": size, "mean": [float(x) for x in mean], "std": [float(x) for x in std]}


def _side(size: Any) -> int | None:
    """Return the pixels a side of a square that is written as a number or as a table."""
    if isinstance(size, dict):
        sides = [size[key] for key in ("height", "width", "shortest_edge") if size.get(key)]
        size = sides[0] if sides and sides == sides[:1] * len(sides) else None
    return size if type(size) is int and 0 < size <= _SIZE_LIMIT else None


def _is_colour(values: Any) -> bool:
    fits = isinstance(values, list | tuple) and len(values) == 3
    return fits and all(type(each) in (int, float) and 0 <= each < 256 for each in values)
