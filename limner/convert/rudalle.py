"""ruDALL-E (github.com/ai-forever/ru-dalle, PyPI rudalle 1.1.3): Malevich and its like.

A folder with the transformer (`pytorch_model_v3.bin`, or another `pytorch_model*.bin`), the VQGAN
`vqgan.gumbelf8-sber.model.ckpt`, and the tokenizer `bpe.model`. Sizes are read off the shapes, but
for the heads: 16 of the published width, else 64 dimensions each. What the last layer sees says
which of two versions it is, and without it the file's name. Layout facts are from rudalle/dalle
(__init__.py, model.py, transformer.py, image_attention.py), rudalle/tokenizer.py, rudalle/vae.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from limner.convert.formats import Plan
from limner.convert.keys import Shapes, Weight, collect, our_shapes, table
from limner.convert.taming import taming_config, taming_weights, vqgan_in
from limner.convert.youtokentome import youtokentome
from limner.errors import CheckpointError
from limner.files.folder import shown_path

if TYPE_CHECKING:
    from pathlib import Path

    from limner.convert.files import Files
    from limner.convert.tensors import Tensors

NAME = "ru-dalle"
HEADS = {2048: 16}  # by width; all others have 64 dimensions in a head
TOP_K, TOP_P = 2048, 0.995  # the first of its own examples
MODEL = ("pytorch_model*.bin", "pytorch_model*.safetensors", "model.safetensors")
VQGAN, TOKENIZER = "*gumbelf8*.ckpt", "bpe.model"
SEEN = "transformer.conv_mask"
_LAYER = {
    "input_layernorm": "attention_norm", "attention.query_key_value": "qkv",
    "attention.dense": "out", "before_first_addition_layernorm": "out_norm",
    "post_attention_layernorm": "feed_forward_norm", "mlp.dense_h_to_4h": "into",
    "mlp.dense_4h_to_h": "down", "before_second_addition_layernorm": "down_norm",
}  # fmt: skip
KEYS = table(
    ("text_embeddings.weight", "text_embed.weight"),
    ("image_embeddings.weight", "embed.weight"),
    ("text_pos_embeddings.weight", "text_placed.weight"),
    ("image_row_embeddings.weight", "rows.weight"),
    ("image_col_embeddings.weight", "columns.weight"),
    *(
        (f"{theirs}.{end}", f"{ours}.{end}")
        for theirs, ours in (
            ("transformer.final_layernorm", "norm"),
            ("to_logits.0", "last"),
            ("to_logits.1", "head"),
            *((f"transformer.layers.{{i}}.{a}", f"layers.{{i}}.{b}") for a, b in _LAYER.items()),
        )
        for end in ("weight", "bias")
    ),
)
SAMPLING = {
    "temperature": 1.0, "top_k": TOP_K, "top_p": TOP_P, "min_p": 0.0, "guidance": 0.0,
    "guidance_schedule": "constant", "typical_p": 1.0, "speculate": 0,
}  # fmt: skip
NOTE = "it was trained on texts in Russian; write prompts in Russian"
_CARD = """# ruDALL-E

Imported from {what}: {layers} layers of {width} over Russian text and the {codes} codes of a VQGAN,
{size} pixels. The public weights are those of Sber AI's Malevich and what was trained from it (see
the model's page for the licence), on pictures of the web: they show its biases.
"""


def looks_like(files: Files) -> bool:
    """Say whether its tokenizer and its VQGAN are there, by their names."""
    return files.find(TOKENIZER) is not None and files.find(VQGAN) is not None


def plan(files: Files) -> Plan:
    """Return the model that the files hold; CheckpointError for what does not fit."""
    path, second = files.need(*MODEL), files.need(VQGAN)
    # 1. The VQGAN, which is a Gumbel one of taming-transformers.
    found = vqgan_in(files.open(second))
    if found is None:
        raise CheckpointError(
            f"{shown_path(second)} holds no VQGAN of taming-transformers; give "
            "vqgan.gumbelf8-sber.model.ckpt, and not the one that draws wavelets"
        )
    vqgan, names = found
    seen = Shapes(our_shapes(vqgan, names), shown_path(second), names)
    codec = taming_config(seen, pixels="signed", epsilon=1e-6)
    # 2. The transformer over its codes.
    prior, weights = _prior(files.open(path), path)
    if codec.codebook != prior["vocabulary"]:
        raise CheckpointError(
            f"{shown_path(path)} draws {prior['vocabulary']} codes, but the VQGAN beside it has "
            f"{codec.codebook}; they belong to different models"
        )
    # 3. The tokenizer, and every tensor in its place.
    tokenizer = youtokentome(files, files.need(TOKENIZER), prior["text_vocabulary"] - 1)
    codes = taming_weights(codec, vqgan, names, shown_path(second))
    named = {f"codec.{name}": each for name, each in codes.items()}
    named |= {f"prior.{name}": each for name, each in weights.items()}
    size = codec.cell * prior["grid"][0]
    card = _CARD.format(what=path.name, layers=prior["layers"], width=prior["width"],
                        codes=codec.codebook, size=size)  # fmt: skip
    tables = {
        "codec": {"name": "taming", **vars(codec), "size": size}, "prior": prior,
        "sampling": SAMPLING | {"top_k": TOP_K if codec.codebook > TOP_K else 0},
    }  # fmt: skip
    length = prior["text_length"]
    return Plan(NAME, "dalle", size, tables, named, card, length, tokenizer, notes=(NOTE,))


def _prior(tensors: Tensors, path: Path) -> tuple[dict[str, Any], dict[str, Weight]]:
    """Return the settings and the weights of the transformer."""
    import torch

    from limner.priors import create_prior

    shown = shown_path(path)
    shapes = Shapes(our_shapes(tensors, KEYS), shown, KEYS)
    rows, width = shapes.of("text_embed.weight", 2)
    length, side = shapes.of("text_placed.weight", 2)[0] - 1, shapes.of("rows.weight", 2)[0]
    prior = {
        "name": "rudalle", "text_vocabulary": rows - length + 1,
        "vocabulary": shapes.of("embed.weight", 2)[0], "text_length": length,
        "grid": [side, side], "width": width, "layers": shapes.count("layers."),
        "heads": HEADS.get(width, max(1, width // 64)),
        "version": _version(tensors, path, length, side),
    }  # fmt: skip
    with torch.device("meta"):
        wanted = create_prior(prior).state_dict()
    ignored = (r"transformer\.(row|col|conv)_mask",)
    return prior, collect(tensors, KEYS, wanted, shown, ignored=ignored)


def _version(tensors: Tensors, path: Path, length: int, side: int) -> int:
    """Return which version a transformer is of, by what its last layer sees, or by its name."""
    import torch

    from limner.nn.windows import allowed

    total = length + side * side
    entry = tensors.entries.get(SEEN)
    if entry is None:
        return 2 if re.search(r"_v2|emojich", path.as_posix(), re.IGNORECASE) else 3
    if entry.shape == (total, total):
        seen = tensors.read(SEEN).bool()
        for version, kind in ((3, "window"), (2, "torus")):
            if torch.equal(seen, allowed(kind, length, side)):
                return version
    raise CheckpointError(
        f"{shown_path(path)} has a {SEEN} that is of neither version of ruDALL-E that limner knows"
    )
