"""What a layout of another library is, and what several of them have in common."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from limner.convert import transformers_clip
from limner.convert.keys import KeyMap

Shape = tuple[int, ...]
SPLIT = {"qkv_proj": transformers_clip.PARTS}
PROCESSOR = "preprocessor_config.json"
_ACTS = {ours: theirs for theirs, ours in reversed(transformers_clip.ACTIVATIONS.items())}


class NoPlace(Exception):
    """A model that a layout cannot hold; it says what the layout is of."""


@dataclass(frozen=True)
class Part:
    """A file of a layout: the table of its tensors, and what stands before our names of them.

    Those named in `split` are written as so many parts of their first axis, under the names given;
    those in `shapes` have another shape there, and those that match `matrices`, by their names
    there, the first two axes alone. `inside` is the table of the file that they stand in. It has
    those whose names, without `prefix`, begin with `only` and with none of `others`.
    """

    file: str
    keys: KeyMap
    prefix: str
    split: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    shapes: Mapping[str, Shape] = field(default_factory=dict)
    inside: str = ""
    only: str = ""
    others: tuple[str, ...] = ()
    matrices: str = ""


@dataclass(frozen=True)
class Layout:
    """What an export writes: parts, and texts by the names of their files."""

    parts: tuple[Part, ...]
    texts: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Model:
    """What an exporter knows of a model: its tables, and its tokenizer's JSON, {} without one."""

    tables: Mapping[str, Any]
    tokenizer: Mapping[str, Any]


def need(table: Mapping[str, Any], name: str) -> None:
    """Raise NoPlace for a part of another kind."""
    if table["name"] != name:
        raise NoPlace(name)


def tower_of(tower: Mapping[str, Any], width: int) -> dict[str, Any]:
    """Return the config of a tower of CLIP, as transformers has it."""
    return {
        "hidden_size": width, "intermediate_size": tower["hidden"],
        "num_hidden_layers": tower["layers"], "num_attention_heads": tower["heads"],
        "hidden_act": _ACTS[tower.get("activation", "gelu")],
        "layer_norm_eps": tower.get("epsilon", 1e-5),
    }  # fmt: skip


def processor_of(image: Mapping[str, Any], *, siglip: bool) -> dict[str, Any]:
    """Return the config of what prepares pictures for an image tower, as transformers has it."""
    from limner.clip.preparing import FILTERS

    size = image["size"]
    shown: dict[str, Any] = {
        "image_mean": image["mean"], "image_std": image["std"], "do_normalize": True,
        "do_rescale": True, "rescale_factor": 1 / 255, "do_resize": True, "do_convert_rgb": True,
        "resample": FILTERS.index(image["resample"]),
    }  # fmt: skip
    if siglip or image["squash"]:
        kind = "SiglipImageProcessor" if siglip else "CLIPImageProcessor"
        square = {"height": size, "width": size}
        return shown | {"image_processor_type": kind, "size": square, "do_center_crop": False}
    return shown | {
        "image_processor_type": "CLIPImageProcessor", "do_center_crop": True,
        "size": {"shortest_edge": image["edge"] or size},
        "crop_size": {"height": size, "width": size},
    }  # fmt: skip


def words_of(tokenizer: Mapping[str, Any]) -> dict[str, str]:
    """Return vocab.json and merges.txt of a tokenizer of byte pairs, fillers left out."""
    vocabulary = _named(tokenizer["model"]["vocab"])
    merges = [each if isinstance(each, str) else " ".join(each)
              for each in tokenizer["model"]["merges"]]  # fmt: skip
    return {
        "vocab.json": json.dumps(vocabulary, ensure_ascii=False),
        "merges.txt": "\n".join(["#version: 0.2", *merges, ""]),
    }


def _named(vocabulary: Mapping[str, int]) -> dict[str, int]:
    """Return a vocabulary with the names of special tokens, and without what filled it up."""
    filled = {name for name in vocabulary if name.startswith("\0") and name[1:].isdigit()}
    return {name.lstrip("\0"): at for name, at in vocabulary.items() if name not in filled}


def as_json(value: Mapping[str, Any]) -> str:
    """Return a file of JSON."""
    return json.dumps(value, ensure_ascii=False, indent=2) + "\n"
