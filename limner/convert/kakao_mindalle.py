"""minDALL-E (github.com/kakaobrain/minDALL-E): a GPT over text and codes, its VQGAN, its tokenizer.

The folder that `1.3B.tar.gz` unpacks: `stage1_last.ckpt` is the VQGAN, `stage2_last.ckpt` the
transformer, and the folder `tokenizer` has `bpe-16k-vocab.json` and `bpe-16k-merges.txt`. Sizes are
read off the shapes, but for the heads, which `config.yaml` says: 64 dimensions each without it.
Layout facts are from that repository at e548007 (dalle/models/stage1/vqgan.py, stage2/layers.py,
stage2/transformer.py, tokenizer.py, configs/dalle-1.3B.yaml).
"""

from __future__ import annotations

import re
from math import isqrt
from typing import TYPE_CHECKING, Any

from limner.convert.char_bpe import char_bpe
from limner.convert.formats import Plan
from limner.convert.keys import Shapes, Weight, collect, our_shapes, table
from limner.convert.rearranged import Joined
from limner.convert.taming import taming_config, taming_weights, vqgan_in
from limner.convert.tensors import Under
from limner.errors import CheckpointError
from limner.files.folder import shown_path

if TYPE_CHECKING:
    from pathlib import Path

    from limner.convert.files import Files

NAME, LICENCE = "mindall-e", "CC-BY-NC-SA-4.0"
HEAD = 64  # dimensions of one of the published model's heads
TOP_K = 256  # its own
STAGES = ("stage1_last.ckpt", "stage2_last.ckpt")
VOCABULARY, MERGES = "bpe-16k-vocab.json", "bpe-16k-merges.txt"
PARTS = ("query", "key", "value")
JOINED = r"blocks\.\d+\.attn\.(?P<part>query|key|value)\.(weight|bias)"
_PARTS = {
    "ln1": "attention_norm", "ln2": "feed_forward_norm", "attn.qkv": "qkv", "attn.proj": "out",
    "mlp.0": "into", "mlp.2": "down",
}  # fmt: skip
KEYS = table(
    ("tok_emb_txt.weight", "text_embed.weight"),
    ("tok_emb_img.weight", "embed.weight"),
    ("pos_emb_txt.weight", "text_placed.weight"),
    ("pos_emb_img.weight", "placed.weight"),
    ("head_txt.weight", "text_head.weight"),
    ("head_img.weight", "head.weight"),
    *((f"ln_f.{end}", f"norm.{end}") for end in ("weight", "bias")),
    *(
        (f"blocks.{{i}}.{theirs}.{end}", f"layers.{{i}}.{ours}.{end}")
        for theirs, ours in _PARTS.items()
        for end in ("weight", "bias")
    ),
)
SAMPLING = {
    "temperature": 1.0, "top_k": TOP_K, "top_p": 1.0, "min_p": 0.0, "guidance": 0.0,
    "guidance_schedule": "constant", "typical_p": 1.0, "speculate": 0,
}  # fmt: skip
_CARD = """# minDALL-E

Imported from {what}: {layers} layers of {width} over text and the {codes} codes of a VQGAN, {size}
pixels. The published weights (Kakao Brain; {licence}: not for commercial use) were trained on
14 million pictures of the web with English captions: they show its biases, and know English alone.
"""


def looks_like(files: Files) -> bool:
    """Say whether both of its checkpoints are there, by their names."""
    return all(files.find(name) is not None for name in STAGES)


def plan(files: Files) -> Plan:
    """Return the model that the files hold; CheckpointError for what does not fit."""
    first, second = (files.need(name) for name in STAGES)
    # 1. The VQGAN, which is that of taming-transformers.
    found = vqgan_in(files.open(first))
    if found is None:
        raise CheckpointError(
            f"{shown_path(first)} holds no VQGAN with quantize.embedding.weight, as minDALL-E's"
        )
    vqgan, names = found
    seen = Shapes(our_shapes(vqgan, names), shown_path(first), names)
    codec = taming_config(seen, pixels="signed", epsilon=1e-6)
    # 2. The transformer over its codes, and the tokenizer whose ids have its rows.
    prior, tokenizer, weights = _prior(files, second)
    if (codec.codebook, [codec.size // codec.cell] * 2) != (prior["vocabulary"], prior["grid"]):
        raise CheckpointError(
            f"{shown_path(second)} draws {prior['grid'][0]} cells a side of {prior['vocabulary']} "
            f"codes, but the VQGAN beside it has {codec.size // codec.cell} of {codec.codebook}; "
            "they belong to different models"
        )
    # 3. Every tensor has its place.
    codes = taming_weights(codec, vqgan, names, shown_path(first))
    named = {f"codec.{name}": each for name, each in codes.items()}
    named |= {f"prior.{name}": each for name, each in weights.items()}
    card = _CARD.format(
        what=" and ".join(STAGES), layers=prior["layers"], width=prior["width"],
        codes=codec.codebook, size=codec.size, licence=LICENCE,
    )  # fmt: skip
    tables = {"codec": {"name": "taming", **vars(codec)}, "prior": prior, "sampling": SAMPLING}
    length = prior["text_length"]
    return Plan(NAME, "dalle", codec.size, tables, named, card, length, tokenizer, licence=LICENCE)


def _prior(files: Files, path: Path) -> tuple[dict[str, Any], str, dict[str, Weight]]:
    """Return the settings of the transformer, its tokenizer's JSON, and its weights."""
    import torch

    from limner.priors import create_prior

    shown = shown_path(path)
    tensors = Joined(Under(files.open(path), "state_dict/"), JOINED, PARTS, "qkv")
    shapes = Shapes(our_shapes(tensors, KEYS), shown, KEYS)
    rows, width = shapes.of("text_embed.weight", 2)
    cells, _ = shapes.of("placed.weight", 2)
    tokenizer, padding = char_bpe(files, files.need(VOCABULARY), files.need(MERGES), rows)
    prior = {
        "name": "gpt2", "text_vocabulary": rows + 1, "vocabulary": shapes.of("embed.weight", 2)[0],
        "text_length": shapes.of("text_placed.weight", 2)[0], "grid": [isqrt(cells)] * 2,
        "width": width, "layers": shapes.count("layers."), "heads": _heads(files, width),
        "padding": padding,
    }  # fmt: skip
    with torch.device("meta"):
        wanted = create_prior(prior).state_dict()
    return prior, tokenizer, collect(tensors, KEYS, wanted, shown)


def _heads(files: Files, width: int) -> int:
    """Return the heads that config.yaml states, or those of the published model's size."""
    path = files.find("config.yaml")
    text = "" if path is None else files.text(path)
    if re.search(r"^\s*gelu_use_approx:\s*true\b", text, re.MULTILINE | re.IGNORECASE):
        raise CheckpointError(
            f"{shown_path(path or files.path)} has gelu_use_approx, which limner does not draw with"
        )
    found = re.search(r"^\s*n_heads:\s*(\d{1,4})\b", text, re.MULTILINE)
    return int(found[1]) if found else max(1, width // HEAD)
