"""DALL-E mini and mega in the torch files of PyPI `min-dalle` (github.com/kuprel/min-dalle).

`encoder.pt`, `decoder.pt`, `detoker.pt`, `vocab.json` and `merges.txt`, in one folder or in those
that min-dalle makes; where a repository holds both models, those of mini end in `_mini`. Sizes are
read off the shapes, but for the heads: both models have 64 dimensions in each. Norms before a
product have no scale of their own in the published files, where it is 1.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from limner.convert.bart import dalle_plan, prior_settings, prior_weights
from limner.convert.bart_tokenizer import tokenizer_json
from limner.convert.formats import Plan
from limner.convert.keys import Shapes, our_shapes, table
from limner.convert.taming import DECODER_KEYS, taming_config, taming_weights
from limner.files.folder import shown_path

if TYPE_CHECKING:
    from limner.convert.files import Files

BEGIN = 2**14 - 1  # what min-dalle puts before the first cell
TOP_K, GUIDANCE = 256, 15.0  # min-dalle's own; its factor of 16 is a guidance of 15 here
NAMES = ("encoder.pt", "decoder.pt", "detoker.pt", "vocab.json", "merges.txt")


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


def looks_like(files: Files) -> bool:
    """Say whether there are min-dalle's files, without the endings of a repository of both."""
    return all(files.find(name) is not None for name in NAMES)


def plan(files: Files) -> Plan:
    """Return the model that the files hold; CheckpointError for what does not fit."""
    return plan_of(files, NAMES)


def plan_of(files: Files, names: tuple[str, ...]) -> Plan:
    """Return the model that files of these names hold."""
    *weights, vocabulary, merges = (files.need(name) for name in names)
    encoder, decoder, detokenizer = (files.open(each) for each in weights)
    shown = [shown_path(each) for each in weights]
    # 1. The detokenizer, whose epsilon is that of torch there, and the prior over its codes.
    shapes = Shapes(our_shapes(detokenizer, DECODER_KEYS), shown[2], DECODER_KEYS)
    codec = taming_config(shapes, pixels="unit", epsilon=1e-5)
    prior = prior_settings(
        Shapes(our_shapes(encoder, ENCODER_KEYS), shown[0], ENCODER_KEYS),
        Shapes(our_shapes(decoder, PRIOR_KEYS), shown[1], PRIOR_KEYS),
        codes=codec.codebook, begin=BEGIN,
    )  # fmt: skip
    prior["begin"] = min(BEGIN, prior["rows"] - 1)
    # 2. Text becomes ids; each has its row in the encoder.
    rows = prior["text_vocabulary"] - 1
    tokenizer, empty = tokenizer_json(files, vocabulary, merges, rows)
    prior["empty"] = list(empty)
    # 3. Every tensor has its place.
    sources = [(encoder, ENCODER_KEYS, shown[0]), (decoder, PRIOR_KEYS, shown[1])]
    parts = (
        prior_weights(prior, sources),
        taming_weights(codec, detokenizer, DECODER_KEYS, shown[2]),
    )
    what = "min-dalle's torch files"
    return dalle_plan(prior, codec, parts, tokenizer, what, top_k=TOP_K, guidance=GUIDANCE)


def mini_names() -> tuple[str, ...]:
    """Return the names that the files of mini have beside those of mega."""
    paths = (Path(name) for name in NAMES)
    return tuple(
        name.name if name.stem == "detoker" else f"{name.stem}_mini{name.suffix}" for name in paths
    )
