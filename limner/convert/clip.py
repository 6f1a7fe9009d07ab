"""What the layouts of CLIP have in common: the tables of both towers, sizes, and the plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isqrt
from typing import TYPE_CHECKING, Any

from limner.convert.formats import UNSTATED, Plan
from limner.convert.keys import KeyMap, Shapes, collect
from limner.errors import CheckpointError

if TYPE_CHECKING:
    from limner.convert.tensors import Tensors

PART = "clip."  # of a model of the family, before the names of the towers
HEAD = 64  # dimensions of a head where no config says it, as in all that OpenAI published
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
COLOURS = {"mean": list(MEAN), "std": list(STD), "edge": 0, "squash": False, "resample": "bicubic"}
_CARD = """# {name}

Imported from {what}: an image tower of {image} and a text tower of {text}, {dimensions} dimensions,
{size} pixels, {length} tokens. It compares pictures with sentences and draws none: use it with
`limner rank`, `limner clip classify` and `--best-of N --clip`. Its licence is that of whoever
published it; what it learnt of the web's pictures has their biases.
"""


@dataclass(frozen=True)
class Made:
    """What the files say that shapes do not: of the whole, of the image and of the text tower.

    `image` and `text` are settings of a ViT and of learned positions; `whole` of ClipConfig.
    """

    image: Mapping[str, Any]
    text: Mapping[str, Any]
    whole: Mapping[str, Any]


def block_rows(theirs: str, ours: str, names: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the rows of the blocks of a tower; `names` are theirs by ours, without their ends."""
    joint = names["qkv"]
    ends = ("_weight", "_bias") if joint.endswith("in_proj") else (".weight", ".bias")
    rows = []
    for end, their_end in zip((".weight", ".bias"), ends, strict=True):
        rows.append((f"{theirs}.{{i}}.{joint}{their_end}", f"{ours}.blocks.{{i}}.qkv{end}"))
        rows += [
            (f"{theirs}.{{i}}.{each}{end}", f"{ours}.blocks.{{i}}.{name}{end}")
            for name, each in names.items()
            if name != "qkv"
        ]
    return rows


def both(theirs: str, ours: str) -> list[tuple[str, str]]:
    """Return the rows of a weight and its bias."""
    return [(f"{theirs}{end}", f"{ours}{end}") for end in (".weight", ".bias")]


def image_tower(shapes: Shapes, made: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of an image tower, read off shapes and what files say of it.

    Of its places one may be a class token's.
    """
    width, _, patch, _ = shapes.of("image.patches.weight", 4)
    places, _ = shapes.of("image.places", 2)
    attends = "image.pool.qkv.weight" in shapes.held
    side = isqrt(places - (not attends))
    if side * side + (not attends) != places:
        raise CheckpointError(f"{shapes.shown} has {places} places in a picture, no square")
    hidden, _ = shapes.of("image.blocks.0.into.weight", 2)
    return {
        "name": "vit", "size": side * patch, "patch": patch, "width": width,
        "layers": shapes.count("image.blocks."), "hidden": hidden,
        "heads": max(1, width // HEAD), "pooling": "attention" if attends else "class", **made,
    }  # fmt: skip


def text_tower(shapes: Shapes, made: Mapping[str, Any]) -> tuple[dict[str, Any], int, int]:
    """Return the settings of a text tower, its rows of tokens, and its width."""
    rows, words = shapes.of("text.embed.weight", 2)
    length, _ = shapes.of("text.places", 2)
    hidden, _ = shapes.of("text.blocks.0.into.weight", 2)
    text = {
        "name": "learned_positions", "layers": shapes.count("text.blocks."), "hidden": hidden,
        "heads": max(1, words // HEAD), "length": length, **made,
    }  # fmt: skip
    return text, rows, words


def towers(shapes: Shapes, made: Made) -> dict[str, Any]:
    """Return the fields of ClipConfig, read off shapes by our names and what files say."""
    image = image_tower(shapes, made.image)
    text, rows, words = text_tower(shapes, made.text)
    if "text_projection.weight" in shapes.held:
        dimensions, _ = shapes.of("text_projection.weight", 2)
    else:
        dimensions, _ = shapes.of("text.head.weight", 2)
        text["head"] = dimensions
    return {
        "text_vocabulary": rows + 1, "image_encoder": image, "text_encoder": text,
        "width": words, "dimensions": dimensions, "pooling": "last", **made.whole,
    }  # fmt: skip


def clip_plan(
    name: str,
    what: str,
    config: Mapping[str, Any],
    source: tuple[Tensors, KeyMap, str],
    tokenizer: str,
    *,
    ignored: tuple[str, ...] = (),
    notes: tuple[str, ...] = (),
    licence: str = UNSTATED,
) -> Plan:
    """Return what will be written of a CLIP; `source` are tensors, their table and file's name.

    Raises CheckpointError for tensors that do not fit, and pictures of another size.
    """
    import torch

    from limner.clip.model import create_clip

    with torch.device("meta"):
        outline = create_clip(config)
    tensors, keys, shown = source
    weights = collect(tensors, keys, outline.state_dict(), shown, ignored=ignored)
    image, text = config["image_encoder"], config["text_encoder"]
    card = _CARD.format(
        name=name, what=what, dimensions=config["dimensions"], size=image["size"],
        image=f"{image['layers']} layers of {image['width']}", length=text["length"],
        text=f"{text['layers']} layers of {config['width']}",
    )  # fmt: skip
    named = {f"{PART}{each}": weight for each, weight in weights.items()}
    tables = {"clip": {"name": "clip", **config}}
    return Plan(
        name, "clip", image["size"], tables, named, card, text["length"], tokenizer, licence, notes
    )  # fmt: skip


def check_seen(seen: Mapping[str, Any], size: int, shown: str) -> dict[str, Any]:
    """Return how pictures are prepared, without their size, which must be the tower's."""
    if seen["size"] != size:
        raise CheckpointError(
            f"{shown} prepares pictures of {seen['size']} pixels, but its tower sees {size}; they "
            "belong to different models"
        )
    return {key: value for key, value in seen.items() if key != "size"}
