"""Every prior, too small to draw anything, over codes of every shape that it can serve."""

from typing import Any

import torch
from torch import Tensor

VOCABULARY = 24
SIZES: dict[str, dict[str, Any]] = {
    "gpt": {"layers": 2},
    "next_scale": {"layers": 2},
    "crf": {"text_layers": 1, "layers": 2, "rank": 6, "iterations": 2, "sweeps": 4},
}
ONE_MAP_ALONE = ("crf",)
SHAPES: dict[str, dict[str, Any]] = {
    "one": {"grid": [3, 3]},
    "groups": {"grid": [3, 3], "groups": 2, "levels": [4, 3, 2]},
    "maps": {"grid": [3, 3], "maps": [[1, 1], [2, 2], [3, 3]]},
    "maps-groups": {"grid": [2, 2], "maps": [[1, 2], [2, 2]], "groups": 2},
}


def config_of(name: str, shape: str) -> dict[str, Any]:
    """Return the config of a small prior."""
    width = {"width": 32, "heads": 2, "hidden": 48}
    sizes = {"text_vocabulary": 20, "vocabulary": VOCABULARY, **width}
    return {"name": name, **sizes, **SIZES[name], **SHAPES[shape]}


def texts(count: int, length: int = 5) -> Tensor:
    """Return rows of text ids, each with another number of pads at its left."""
    ids = torch.randint(1, 20, (count, length), generator=torch.Generator().manual_seed(4))
    pads = torch.arange(count) % (length - 1)
    return ids.masked_fill(torch.arange(length)[None] < pads[:, None], 0)


def codes_for(prior: Any, count: int) -> Tensor:
    """Return random codes (count, S), or (count, S, G) where a cell has several."""
    groups = prior.config.groups
    shape = (count, prior.length, groups) if groups > 1 else (count, prior.length)
    return torch.randint(0, VOCABULARY, shape, generator=torch.Generator().manual_seed(5))
