"""Reading a pretrained image encoder: a folder or Hub repository in the layout of `transformers`.

Only config.json, preprocessor_config.json and safetensors are read, never a pickle and never code.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from limner.clip.preparing import FILTERS
from limner.clip.pretrained import PRETRAINED_IMAGE, Colour
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
    for the Hub as `limner.files.hub.download`.
    """
    folder = find_folder(source, (_SEEN, _PROCESSOR))
    known = {name: encoder.architecture for name, encoder in PRETRAINED_IMAGE.items()}
    name, sizes = read_sizes(folder, known)
    with torch.device("meta"):
        body = build_body(known[name], sizes)
    weights = read_weights(folder, known[name], body.state_dict())
    encoder = PRETRAINED_IMAGE[name]
    seen = read_seen(folder, Usual(encoder.mean, encoder.std, encoder.processor), sizes)
    return {"name": name, "sizes": sizes, **seen}, weights


@dataclass(frozen=True)
class Usual:
    """Colours and the processor (of `transformers`) of a checkpoint that does not state them."""

    mean: Colour
    std: Colour
    processor: str


def read_seen(folder: Path, usual: Usual, sizes: Mapping[str, Any]) -> dict[str, Any]:
    """Return how a folder's encoder was shown pictures: the settings of PretrainedImageConfig.

    Raises CheckpointError for what describes no such pictures.
    """
    held: Any = {}  # what the file says, of any type
    if (folder / _SEEN).exists():
        held = read_json(folder, _SEEN)
    elif (folder / _PROCESSOR).exists():
        held = read_json(folder, _PROCESSOR).get("image_processor")
    held = held if isinstance(held, dict) else {}
    mean, std = held.get("image_mean") or usual.mean, held.get("image_std") or usual.std
    if not held.get("do_normalize", True):
        mean, std = (0, 0, 0), (1, 1, 1)
    shown = _shown(held, usual.processor, sizes.get("image_size", _SIZE))
    if shown is None or not (_is_colour(mean) and _is_colour(std)):
        raise CheckpointError(
            f"{folder} prepares pictures with the size {quote(held.get('size'))}, mean "
            f"{quote(mean)} and std {quote(std)}; expected a square of at most {_SIZE_LIMIT} "
            "pixels a side, and three numbers from 0 each"
        )
    return {**shown, "mean": [float(x) for x in mean], "std": [float(x) for x in std]}


@dataclass(frozen=True)
class _Processor:
    """What an image processor of `transformers` does where its file does not say.

    `squash` is what a size of one number means, `share` that of the resized picture which is left.
    """

    squash: bool
    crop: bool
    resample: str
    share: float = 1.0


_PROCESSORS = {
    "ViT": _Processor(squash=True, crop=False, resample="bilinear"),
    "CLIP": _Processor(squash=False, crop=True, resample="bicubic"),
    "Siglip": _Processor(squash=False, crop=False, resample="bicubic"),
    "ConvNext": _Processor(squash=False, crop=False, resample="bicubic", share=224 / 256),
}
_KINDS = ("image_processor_type", "feature_extractor_type")
_UNCUT = 384  # pixels from which ConvNext's processor squashes


def _shown(held: Mapping[str, Any], processor: str, usual: Any) -> dict[str, Any] | None:
    """Return size, edge, squash and resample of a processor's file; None for what it can't be."""
    # 1. Which processor it is decides what is not said.
    named = str(next((held[key] for key in _KINDS if key in held), ""))
    kind = re.sub("(ImageProcessor|FeatureExtractor).*", "", named)
    does = _PROCESSORS.get(kind, _PROCESSORS[processor])
    crops = does.crop or kind not in _PROCESSORS  # where it says to what size
    edge, squash = _side(held.get("size") or usual, does.squash)
    resample = held.get("resample")
    number = FILTERS.index(does.resample) if resample is None else resample
    if edge is None or type(number) is not int or not 0 <= number < len(FILTERS):
        return None
    # 2. The square that is left of the resized picture.
    size, cut = edge, held.get("crop_size")
    if does.share < 1 and not squash:
        share = held.get("crop_pct") or does.share
        if type(share) not in (int, float) or not 0.1 <= share <= 1:
            return None
        edge, squash = (edge, True) if edge >= _UNCUT else (int(edge / share), False)
    elif cut and held.get("do_center_crop", crops):
        size = _side(cut, True)[0] or 0
    if not 0 < size <= edge:
        return None
    edge = 0 if edge == size else edge
    return {"size": size, "edge": edge, "squash": squash, "resample": FILTERS[number]}


def _side(size: Any, squash: bool) -> tuple[int | None, bool]:
    """Return the pixels that a size stands for, and whether of both sides or of the shorter.

    It is a number, which `squash` says to be of both, or a table.
    """
    if isinstance(size, dict):
        told = {key: value for key, value in size.items() if value is not None}
        squash = "shortest_edge" not in told
        sides = list(told.values())
        wanted = {"height", "width"} if squash else {"shortest_edge"}
        size = sides[0] if set(told) == wanted and sides == sides[:1] * len(sides) else None
    return (size if type(size) is int and 0 < size <= _SIZE_LIMIT else None), squash


def _is_colour(values: Any) -> bool:
    fits = isinstance(values, list | tuple) and len(values) == 3
    return fits and all(type(each) in (int, float) and 0 <= each < 256 for each in values)
