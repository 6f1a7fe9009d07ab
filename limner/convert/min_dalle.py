"""DALL-E mini and mega in the torch files of PyPI `min-dalle` (github.com/kuprel/min-dalle).

`encoder.pt`, `decoder.pt`, `detoker.pt`, `vocab.json` and `merges.txt`, in one folder or in those
that min-dalle makes; where a repository holds both models, those of mini end in `_mini`. Sizes are
read off the shapes, but for the heads: both models have 64 dimensions in each. Norms before a
product have no scale of their own in the published files, where it is 1.
"""

from __future__ import annotations

from math import isqrt
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limner.convert.bart_tokenizer import tokenizer_json
from limner.convert.formats import Plan
from limner.convert.keys import KeyMap, Weight, collect, table
from limner.convert.taming import DECODER_KEYS, decoder_config
from limner.errors import CheckpointError
from limner.files.folder import shown_path

if TYPE_CHECKING:
    from limner.convert.files import Files
    from limner.convert.tensors import Tensors

BEGIN = 2**14 - 1  # what min-dalle puts before the first cell
HEAD = 64  # dimensions of a head
CODES = 2**14  # what it draws: the decoder knows a few values more
NAMES = ("encoder.pt", "decoder.pt", "detoker.pt", "vocab.json", "merges.txt")
SAMPLING = {  # min-dalle's own; a factor of 16 there is a guidance of 15 here
    "temperature": 1.0, "top_k": 256, "top_p": 1.0, "min_p": 0.0, "guidance": 15.0,
    "guidance_schedule": "constant", "typical_p": 1.0, "speculate": 0,
}  # fmt: skip
UNSCALED = {  # by our names: norms of which only the bias is published
    r"(text\.)?layers\.\d+\.(attention|cross|feed_forward)\.before\.weight": 1.0,
    r"(text\.)?layers\.\d+\.feed_forward\.middle\.weight": 1.0,
    r"(text\.)?norm\.weight": 1.0,
}


def _attention(theirs: str, before: str, after: str, ours: str) -> list[tuple[str, str]]:
    projections = {"q_proj": "query", "k_proj": "key", "v_proj": "value", "out_proj": "out"}
    rows = [
        (f"layers.{{i}}.{theirs}.{a}.weight", f"layers.{{i}}.{ours}.{b}.weight")
        for a, b in projections.items()
    ]
    for a, b in ((before, "before"), (after, "after")):
        rows += [
            (f"layers.{{i}}.{a}.{kind}", f"layers.{{i}}.{ours}.{b}.{kind}")
            for kind in ("weight", "bias")
        ]
    return rows


_SHARED = [
    ("embed_tokens.weight", "embed.weight"),
    ("embed_positions.weight", "placed.weight"),
    ("layernorm_embedding.weight", "embed_norm.weight"),
    ("layernorm_embedding.bias", "embed_norm.bias"),
    ("final_ln.weight", "norm.weight"),
    ("final_ln.bias", "norm.bias"),
    *_attention("self_attn", "pre_self_attn_layer_norm", "self_attn_layer_norm", "attention"),
    ("layers.{i}.glu.ln0.weight", "layers.{i}.feed_forward.before.weight"),
    ("layers.{i}.glu.ln0.bias", "layers.{i}.feed_forward.before.bias"),
    ("layers.{i}.glu.ln1.weight", "layers.{i}.feed_forward.middle.weight"),
    ("layers.{i}.glu.ln1.bias", "layers.{i}.feed_forward.middle.bias"),
    ("layers.{i}.glu.fc0.weight", "layers.{i}.feed_forward.gate.weight"),
    ("layers.{i}.glu.fc1.weight", "layers.{i}.feed_forward.up.weight"),
    ("layers.{i}.glu.fc2.weight", "layers.{i}.feed_forward.down.weight"),
]
ENCODER_KEYS = table(*((a, f"text.{b}") for a, b in _SHARED))
PRIOR_KEYS = table(
    *_SHARED,
    *_attention("encoder_attn", "pre_encoder_attn_layer_norm", "encoder_attn_layer_norm", "cross"),
    ("lm_head.weight", "head.weight"),
)
_CARD = """# {name}

Imported from {what}: a text encoder and an image decoder ({layers} layers of {width}) over the
{codes} codes of a VQGAN, {size} pixels. The public weights are those of DALL-E mini and mega
(Apache-2.0, github.com/borisdayma/dalle-mini), trained on pictures of the web: they show its
biases, and know English alone.
"""


def looks_like(files: Files) -> bool:
    """Say whether there are min-dalle's files, without the endings of a repository of both."""
    return all(files.find(name) is not None for name in NAMES)


def plan(files: Files) -> Plan:
    """Return the model that the files hold; CheckpointError for what does not fit."""
    return plan_of(files, NAMES)


def plan_of(files: Files, names: tuple[str, ...]) -> Plan:
    """Return the model that files of these names hold."""
    encoder, decoder, detokenizer, vocabulary, merges = (files.need(name) for name in names)
    held = files.open(encoder), files.open(decoder), files.open(detokenizer)
    shown = [shown_path(each) for each in (encoder, decoder, detokenizer)]
    # 1. Text becomes ids; each has its row in the encoder.
    rows = _shape(held[0], "embed_tokens.weight", shown[0])[0]
    tokenizer, empty = tokenizer_json(files, vocabulary, merges, rows)
    # 2. The detokenizer, and the prior over its codes.
    codec = decoder_config(held[2], shown[2], pixels="unit", epsilon=1e-5)
    prior = prior_config(held[0], held[1], shown, codec.codebook) | {"empty": list(empty)}
    weights = prior_weights(prior, held[0], held[1], ENCODER_KEYS, PRIOR_KEYS, shown)
    weights |= codec_weights(codec, held[2], DECODER_KEYS, shown[2])
    # 3. What it is called.
    name = model_name(prior)
    return dalle_plan(name, prior, codec, weights, tokenizer, "min-dalle's torch files")


def prior_config(
    encoder: Tensors, decoder: Tensors, shown: list[str], codes: int
) -> dict[str, Any]:
    """Return the settings of the prior, read off shapes."""
    rows, width = _shape(encoder, "embed_tokens.weight", shown[0])
    length, _ = _shape(encoder, "embed_positions.weight", shown[0])
    hidden, _ = _shape(decoder, "layers.0.glu.fc0.weight", shown[1])
    cells, _ = _shape(decoder, "embed_positions.weight", shown[1])
    values, _ = _shape(decoder, "embed_tokens.weight", shown[1])
    side = isqrt(cells)
    if side * side != cells:
        raise CheckpointError(f"{shown[1]} draws {cells} cells, which are no square")
    return {
        "name": "bart", "text_vocabulary": rows + 1, "vocabulary": codes, "rows": values,
        "begin": min(BEGIN, values - 1), "text_length": length, "grid": [side, side],
        "width": width, "layers": count_layers(decoder), "text_layers": count_layers(encoder),
        "heads": max(1, width // HEAD), "hidden": hidden,
    }  # fmt: skip


def prior_weights(
    config: dict[str, Any],
    encoder: Tensors,
    decoder: Tensors,
    encoder_keys: KeyMap,
    decoder_keys: KeyMap,
    shown: list[str],
) -> dict[str, Weight]:
    """Return the weights of the prior, by the names of the whole model."""
    import torch

    from limner.priors import create_prior

    with torch.device("meta"):
        wanted = create_prior(config).state_dict()
    text = {name: each for name, each in wanted.items() if name.startswith("text.")}
    rest = {name: each for name, each in wanted.items() if name not in text}
    found = collect(encoder, encoder_keys, text, shown[0], filled=UNSCALED)
    found |= collect(decoder, decoder_keys, rest, shown[1], filled=UNSCALED)
    return {f"prior.{name}": each for name, each in found.items()}


def codec_weights(config: Any, tensors: Tensors, keys: KeyMap, shown: str) -> dict[str, Weight]:
    """Return the weights of a VQGAN, by the names of the whole model."""
    import torch

    from limner.codecs.taming import TamingCodec

    with torch.device("meta"):
        wanted = TamingCodec(config).state_dict()
    found = collect(tensors, keys, wanted, shown)
    return {f"codec.{name}": each for name, each in found.items()}


def dalle_plan(
    name: str,
    prior: dict[str, Any],
    codec: Any,
    weights: dict[str, Weight],
    tokenizer: str,
    what: str,
) -> Plan:
    """Return what will be written of a DALL-E mini."""
    size = codec.size
    if [size // codec.cell] * 2 != prior["grid"]:
        raise CheckpointError(
            f"the decoder draws {prior['grid'][0]} cells a side, but the detokenizer was made for "
            f"{size // codec.cell}; they belong to different models"
        )
    card = _CARD.format(
        name=name, what=what, layers=prior["layers"], width=prior["width"],
        codes=prior["vocabulary"], size=size,
    )  # fmt: skip
    tables = {"codec": {"name": "taming", **vars(codec)}, "prior": prior, "sampling": SAMPLING}
    return Plan(name, "dalle", size, tables, weights, card, prior["text_length"], tokenizer)


def model_name(prior: dict[str, Any]) -> str:
    """Return what a model of these sizes is called."""
    return "dalle-mega" if prior["width"] > 1024 else "dalle-mini"


def count_layers(tensors: Tensors) -> int:
    """Return how many layers a state dict has."""
    named = [name.split(".")[1] for name in tensors.entries if name.startswith("layers.")]
    return len(set(named))


def _shape(tensors: Tensors, name: str, shown: str) -> tuple[int, int]:
    entry = tensors.entries.get(name)
    if entry is None or len(entry.shape) != 2:
        raise CheckpointError(f"{shown} has no matrix {name}; give the file that min-dalle reads")
    return entry.shape[0], entry.shape[1]


def mini_names() -> tuple[str, ...]:
    """Return the names that the files of mini have beside those of mega."""
    paths = (Path(name) for name in NAMES)
    return tuple(
        name.name if name.stem == "detoker" else f"{name.stem}_mini{name.suffix}" for name in paths
    )
