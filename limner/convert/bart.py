"""What both layouts of DALL-E mini have in common: sizes by our names, weights, and the plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isqrt
from typing import TYPE_CHECKING, Any

from limner.convert.formats import Plan
from limner.convert.keys import KeyMap, Shapes, Weight, collect
from limner.errors import CheckpointError

if TYPE_CHECKING:
    from limner.convert.tensors import Tensors

HEAD = 64  # dimensions of a head in both models: shapes do not say it
SAMPLING = {
    "temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0, "guidance": 0.0,
    "guidance_schedule": "constant", "typical_p": 1.0, "speculate": 0,
}  # fmt: skip
UNSCALED = {  # by our names: norms of which only the bias is published, for their scale is 1
    r"(text\.)?layers\.\d+\.(attention|cross|feed_forward)\.before\.weight": 1.0,
    r"(text\.)?layers\.\d+\.feed_forward\.middle\.weight": 1.0,
    r"(text\.)?norm\.weight": 1.0,
}
_CARD = """# {name}

Imported from {what}: a text encoder and an image decoder ({layers} layers of {width}) over the
{codes} codes of a VQGAN, {size} pixels. The public weights are those of DALL-E mini and mega
(Apache-2.0, github.com/borisdayma/dalle-mini), trained on pictures of the web: they show its
biases, and know English alone.
"""
Source = tuple["Tensors", KeyMap, str]  # tensors, their names, and how messages call the file


def prior_settings(text: Shapes, prior: Shapes, *, codes: int, begin: int) -> dict[str, Any]:
    """Return the settings of the prior, read off shapes."""
    rows, width = text.of("text.embed.weight", 2)
    length, _ = text.of("text.placed.weight", 2)
    hidden, _ = prior.of("layers.0.feed_forward.gate.weight", 2)
    cells, _ = prior.of("placed.weight", 2)
    values, _ = prior.of("embed.weight", 2)
    side = isqrt(cells)
    if side * side != cells:
        raise CheckpointError(f"{prior.shown} draws {cells} cells, which are no square")
    return {
        "name": "bart", "text_vocabulary": rows + 1, "vocabulary": codes, "rows": values,
        "begin": begin, "text_length": length, "grid": [side, side], "width": width,
        "layers": prior.count("layers."), "text_layers": text.count("text.layers."),
        "heads": max(1, width // HEAD), "hidden": hidden,
    }  # fmt: skip


def prior_weights(settings: Mapping[str, Any], sources: Sequence[Source]) -> dict[str, Weight]:
    """Return the weights of the prior, of one file or of the encoder's and the decoder's."""
    import torch

    from limner.priors import create_prior

    with torch.device("meta"):
        wanted = create_prior(settings).state_dict()
    text = {name: each for name, each in wanted.items() if name.startswith("text.")}
    rest = {name: each for name, each in wanted.items() if name not in text}
    found: dict[str, Weight] = {}
    halves = (wanted,) if len(sources) == 1 else (text, rest)
    for (tensors, keys, shown), half in zip(sources, halves, strict=True):
        found |= collect(tensors, keys, half, shown, filled=UNSCALED)
    return found


def dalle_plan(
    prior: dict[str, Any],
    codec: Any,
    weights: tuple[Mapping[str, Weight], Mapping[str, Weight]],
    tokenizer: str,
    what: str,
    **sampling: Any,
) -> Plan:
    """Return what will be written of a model of these parts; `weights` are prior's and codec's."""
    size, cells = codec.size, codec.size // codec.cell
    if [cells, cells] != prior["grid"]:
        raise CheckpointError(
            f"the decoder draws {prior['grid'][0]} cells a side, but the detokenizer was made for "
            f"{cells}; they belong to different models"
        )
    name = "dalle-mega" if prior["width"] > 1024 else "dalle-mini"
    card = _CARD.format(
        name=name, what=what, layers=prior["layers"], width=prior["width"],
        codes=prior["vocabulary"], size=size,
    )  # fmt: skip
    named = {
        f"{part}.{key}": weight
        for part, held in zip(("prior", "codec"), weights, strict=True)
        for key, weight in held.items()
    }
    tables = {
        "codec": {"name": "taming", **vars(codec)},
        "prior": prior,
        "sampling": SAMPLING | sampling,
    }
    return Plan(name, "dalle", size, tables, named, card, prior["text_length"], tokenizer)
