"""Pipelines in the folders of diffusers: what those of several have in common.

A folder of a part has a config.json and one file of weights; model_index.json names the pipeline.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from itertools import dropwhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limner.convert.clip_tokenizer import clip_tokenizer
from limner.convert.files import Files
from limner.errors import CheckpointError, quote

if TYPE_CHECKING:
    from limner.convert.tensors import Tensors

INDEX = "model_index.json"
WEIGHTS = ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin",
           "model.safetensors", "pytorch_model.bin")  # fmt: skip


def is_of(files: Files, *pipelines: str) -> bool:
    """Say whether model_index.json is of one of these pipelines."""
    path = files.find(INDEX)
    if path is None:
        return False
    try:
        return files.json(path).get("_class_name") in pipelines
    except CheckpointError:
        return False  # what is wrong with it is told where it is needed


def need_pipeline(files: Files, *pipelines: str) -> None:
    """Raise CheckpointError unless model_index.json is of one of these pipelines."""
    if not is_of(files, *pipelines):
        raise CheckpointError(
            f"{files.shown} has no model_index.json of {' or '.join(pipelines)}; give the folder "
            "that diffusers wrote"
        )


def part_of(files: Files, name: str) -> tuple[dict[str, Any], Path]:
    """Return the config of a folder, and its file of weights."""
    config = files.need(f"{name}/config.json")
    return files.json(config), files.need(*(f"{name}/{each}" for each in WEIGHTS))


def check_only(config: Mapping[str, Any], wanted: Mapping[str, Any], shown: str) -> None:
    """Raise CheckpointError for a setting that is there and differs from what is wanted."""
    for key, value in wanted.items():
        if config.get(key, value) != value:
            raise CheckpointError(
                f"the config of {shown} has {key} = {quote(config[key])}; limner draws with "
                f"{quote(value)}, as the published models have it"
            )


def whole_numbers(
    config: Mapping[str, Any], usual: Mapping[str, int | None], shown: str
) -> dict[str, int]:
    """Return numbers of 1 and more that a config says, or else the usual ones, if any."""
    found: dict[str, int] = {}
    for key, value in usual.items():
        number = config.get(key, value)
        if type(number) is not int or number < 1:
            raise CheckpointError(f"the config of {shown} has {key} = {quote(number)}")
        found[key] = number
    return found


def read_tokenizer(files: Files, rows: int) -> tuple[str, list[int], int]:
    """Return the tokenizer's JSON, the ids of the empty text, and the id that fills texts up."""
    folder = files.need("tokenizer/vocab.json").parent
    held = Files(folder)
    text = clip_tokenizer(held, rows)
    parts = json.loads(text)
    told: Any = None
    if (path := held.find("tokenizer_config.json")) is not None:
        told = held.json(path).get("pad_token")
    told = told.get("content") if isinstance(told, dict) else told
    ends = parts["limner"]
    ids = {name.lstrip("\0"): at + 1 for name, at in parts["model"]["vocab"].items()}
    return text, [*ends["begin"], *ends["end"]], ids.get(str(told), ends["end"][-1])


def reshaped(
    tensors: Tensors, pattern: str, *, axes: int = 0, first: bool = False
) -> dict[str, tuple[int, ...]]:
    """Return other shapes of the tensors that match, by patterns.

    They are without the axes of 1 that stand `first`, or with so many `axes`: those at the end go,
    or are of 1.
    """
    found = {}
    for name, entry in tensors.entries.items():
        if re.fullmatch(pattern, name):
            shape = tuple(dropwhile(lambda each: each == 1, entry.shape))
            found[re.escape(name)] = shape if first else (*entry.shape, 1, 1)[:axes]
    return found
