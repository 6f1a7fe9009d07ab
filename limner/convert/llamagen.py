"""LlamaGen (github.com/FoundationVision/LlamaGen): the text-to-image decoder, T5 and the tokenizer.

A folder with `t2i_XL_stage1_256.pt` (or another text-to-image decoder), `vq_ds16_t2i.pt`, and a
folder below with T5's encoder in the files of `transformers`, as `flan-t5-xl`. `vq_ds16_c2i.pt` and
its like alone are read as codecs. Layout facts are from that repository at 5a50452 (autoregressive/
models/gpt.py and generate.py, tokenizer/tokenizer_image/vq_model.py, language/t5.py).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limner.convert.formats import Plan
from limner.convert.keys import KeyMap, Shapes, Weight, collect, our_shapes, table
from limner.convert.rearranged import Several
from limner.convert.t5_tokenizer import t5_tokenizer
from limner.convert.taming import taming_config, taming_weights
from limner.convert.tensors import Under
from limner.errors import CheckpointError
from limner.files.folder import shown_path

if TYPE_CHECKING:
    from limner.convert.files import Files
    from limner.convert.tensors import Tensors

NAME = "llamagen"
CELL = 16  # pixels of a cell, of both published tokenizers for text
HEADS = {3200: 32, 4096: 32}  # by width; all others have 64 dimensions in a head
TOP_K, GUIDANCE = 1000, 6.5  # its own; a cfg-scale of 7.5 there
_HOLDS = ("model/", "module/", "state_dict/", "")
_ENDS = (".pt", ".pth", ".bin", ".safetensors")
KEYS = table(
    ("cls_embedding.cap_proj.fc1.weight", "into.weight"),
    ("cls_embedding.cap_proj.fc2.weight", "onto.weight"),
    ("cls_embedding.uncond_embedding", "untold"),
    ("tok_embeddings.weight", "embed.weight"),
    ("layers.{i}.attention_norm.weight", "layers.{i}.attention_norm.weight"),
    ("layers.{i}.attention.wqkv.weight", "layers.{i}.qkv.weight"),
    ("layers.{i}.attention.wo.weight", "layers.{i}.out.weight"),
    ("layers.{i}.ffn_norm.weight", "layers.{i}.feed_forward_norm.weight"),
    ("layers.{i}.feed_forward.w1.weight", "layers.{i}.gate.weight"),
    ("layers.{i}.feed_forward.w3.weight", "layers.{i}.up.weight"),
    ("layers.{i}.feed_forward.w2.weight", "layers.{i}.down.weight"),
    ("norm.weight", "norm.weight"),
    ("output.weight", "head.weight"),
)
T5_KEYS = table(
    ("shared.weight", "encoder.body.embed_tokens.weight"),
    ("encoder.final_layer_norm.weight", "encoder.body.final_layer_norm.weight"),
    *(
        (
            f"encoder.block.{{i}}.layer.{each}.weight",
            f"encoder.body.block.{{i}}.layer.{each}.weight",
        )
        for each in (
            *(f"0.SelfAttention.{part}" for part in "qkvo"),
            *("0.SelfAttention.relative_attention_bias", "0.layer_norm", "1.layer_norm"),
            *(f"1.DenseReluDense.{part}" for part in ("wi", "wi_0", "wi_1", "wo")),
        )
    ),
)
_BLOCK = {"norm1": "norm1", "conv1": "conv1", "norm2": "norm2", "conv2": "conv2",
          "nin_shortcut": "skip"}  # fmt: skip
_SEES = {"norm": "norm", "q": "query", "k": "key", "v": "value", "proj_out": "out"}
_CARD = """# {name}

Imported from LlamaGen's {what}: {layers} layers of {width} that read T5's features of a text, over
the {codes} codes of its tokenizer, {size} pixels. The published weights (MIT for the code; see the
model's page) were trained on pictures of the web: they show its biases, and know English alone.
"""
_CODEC_CARD = """# The tokenizer of LlamaGen

Imported from {what}: a codec of {codes} codes, {cell} x {cell} pixels each. It draws nothing alone:
give this folder as `codec_from` to train a prior, or to `limner data encode --codec`.
"""
NOTES = (
    "LlamaGen cleaned its texts before T5 read them; limner makes them lower case and nothing "
    "else, so write plain English sentences",
)


def vq_keys(levels: int) -> KeyMap:
    """Return the table of the tokenizer; its decoder numbers levels from coarse to fine."""
    rows = [("quant_conv", "encoder.quantized"), ("post_quant_conv", "decoder.embedded")]
    for side, change in (("encoder", "downsample"), ("decoder", "upsample")):
        rows += [(f"{side}.{a}", f"{side}.{b}") for a, b in
                 (("conv_in", "input"), ("conv_out", "output"), ("norm_out", "norm"))]  # fmt: skip
        for place, parts in ((0, _BLOCK), (1, _SEES), (2, _BLOCK)):
            rows += [(f"{side}.mid.{place}.{a}", f"{side}.middle.{place}.{b}")
                     for a, b in parts.items()]  # fmt: skip
        for at in range(levels):
            theirs = f"{side}.conv_blocks.{at if side == 'encoder' else levels - 1 - at}"
            ours = f"{side}.levels.{at}"
            rows += [(f"{theirs}.res.{{j}}.{a}", f"{ours}.blocks.{{j}}.{b}")
                     for a, b in _BLOCK.items()]  # fmt: skip
            rows += [(f"{theirs}.attn.{{j}}.{a}", f"{ours}.attentions.{{j}}.{b}")
                     for a, b in _SEES.items()]  # fmt: skip
            rows.append((f"{theirs}.{change}.conv", f"{ours}.resample"))
    both = [(f"{a}{end}", f"{b}{end}") for a, b in rows for end in (".weight", ".bias")]
    return table(("quantize.embedding.weight", "codebook.weight"), *both)


@dataclass(frozen=True)
class _Held:
    """A part's tensors, and the file they are of."""

    tensors: Tensors
    path: Path

    @property
    def shown(self) -> str:
        return shown_path(self.path)


def looks_like(files: Files) -> bool:
    """Say whether a file beside no config.json has LlamaGen's decoder or tokenizer."""
    return any(_parts(files))


def plan(files: Files) -> Plan:
    """Return the model, or the codec, that the files hold; CheckpointError for what doesn't fit."""
    decoder, tokenizer = _parts(files)
    if tokenizer is None:
        raise CheckpointError(
            f"{files.shown} has no file with LlamaGen's tokenizer; put vq_ds16_t2i.pt beside its "
            "decoder"
        )
    codec, weights = _codec(tokenizer)
    if decoder is None:
        files.need_alone(tokenizer.path, "LlamaGen's decoder")
        card = _CODEC_CARD.format(what=tokenizer.path.name, codes=codec.codebook, cell=codec.cell)
        settings = {"name": "taming", **vars(codec)}
        return Plan("llamagen-vq", "", codec.size, {"codec": settings}, weights, card)
    return _model(files, decoder, codec, weights)


def _model(files: Files, decoder: _Held, codec: Any, codes: dict[str, Weight]) -> Plan:
    import torch

    from limner.priors import create_prior

    # 1. The decoder's sizes are read off its shapes; the side of its pictures its name says.
    shapes = Shapes(our_shapes(decoder.tensors, KEYS), decoder.shown, KEYS)
    if "cls_embedding.embedding_table.weight" in decoder.tensors.entries:
        raise CheckpointError(
            f"{decoder.shown} draws classes of ImageNet, not texts; give a text-to-image decoder, "
            "as t2i_XL_stage1_256.pt"
        )
    vocabulary, width = shapes.of("embed.weight", 2)
    hidden, _ = shapes.of("layers.0.gate.weight", 2)
    length, _ = shapes.of("untold", 2)
    size = _side(decoder.path)
    # 2. T5, and the tokenizer beside it.
    folder, t5, sizes = t5_encoder(files)
    text, count = t5_tokenizer(files, folder)
    prior = {
        "name": "llamagen", "text_vocabulary": count, "encoder": sizes,
        "vocabulary": vocabulary, "text_length": length, "grid": [size // CELL] * 2,
        "width": width, "layers": shapes.count("layers."), "hidden": hidden,
        "heads": HEADS.get(width, max(1, width // 64)),
    }  # fmt: skip
    # 3. Every tensor has its place.
    with torch.device("meta"):
        wanted = create_prior(prior).state_dict()
    own = {name: each for name, each in wanted.items() if not name.startswith("encoder.")}
    rest = {name: each for name, each in wanted.items() if name not in own}
    ignored = (r"freqs_cis", r"causal_mask", r".*\.kv_cache\..*")
    found = collect(decoder.tensors, KEYS, own, decoder.shown, ignored=ignored)
    left = (r"decoder\..*", r"lm_head\..*", r"encoder\.embed_tokens\.weight")
    found |= collect(t5, T5_KEYS, rest, shown_path(folder), ignored=left)
    named = {f"prior.{name}": each for name, each in found.items()}
    named |= {f"codec.{name}": each for name, each in codes.items()}
    settings = {"name": "taming", **vars(codec), "size": size}
    tables = {"codec": settings, "prior": prior, "sampling": _SAMPLING}
    card = _CARD.format(
        name=NAME, what=decoder.path.name, layers=prior["layers"], width=width, codes=vocabulary,
        size=size,
    )  # fmt: skip
    return Plan(NAME, "dalle", size, tables, named, card, length, text, notes=NOTES)


_SAMPLING = {
    "temperature": 1.0, "top_k": TOP_K, "top_p": 1.0, "min_p": 0.0, "guidance": GUIDANCE,
    "guidance_schedule": "constant", "typical_p": 1.0, "speculate": 0,
}  # fmt: skip


def _parts(files: Files) -> tuple[_Held | None, _Held | None]:
    """Return the decoder and the tokenizer among the files beside which there is no config."""
    decoder = tokenizer = None
    for name in files.names:
        folder = name.rpartition("/")[0]
        beside = f"{folder}/config.json" if folder else "config.json"
        plain = files.single() is not None or re.search(r"t2i|c2i|vq|gpt|llamagen", name, re.I)
        if not name.lower().endswith(_ENDS) or not plain or beside in files.names:
            continue
        path = files.path / name if files.path.is_dir() else files.path
        opened = files.open(path)
        for prefix in _HOLDS:
            held = Under(opened, prefix) if prefix else opened
            if "tok_embeddings.weight" in held.entries and decoder is None:
                decoder = _Held(held, path)
            if "decoder.conv_blocks.0.res.0.norm1.weight" in held.entries and tokenizer is None:
                tokenizer = _Held(held, path)
    return decoder, tokenizer


def _codec(held: _Held) -> tuple[Any, dict[str, Weight]]:
    """Return the config and the weights of the tokenizer; its codes have length 1."""
    from dataclasses import replace

    numbers = {
        found[1]
        for name in held.tensors.entries
        if (found := re.match(r"decoder\.conv_blocks\.(\d+)\.", name))
    }
    keys = vq_keys(len(numbers))
    shapes = Shapes(our_shapes(held.tensors, keys), held.shown, keys)
    config = taming_config(shapes, pixels="signed", epsilon=1e-6)
    config = replace(config, quantizer="cosine")
    ignored = (r"quantize\.codebook_used",)
    return config, taming_weights(config, held.tensors, keys, held.shown, ignored=ignored)


def _side(path: Path) -> int:
    """Return the pixels a side that a decoder's name says: 256, or 384 or 512."""
    found = re.search(r"(256|384|512)", path.name)
    return int(found[1]) if found else 256


def t5_encoder(files: Files) -> tuple[Path, Tensors, dict[str, Any]]:
    """Return the folder of T5, its tensors and its sizes."""
    from limner.nn.foreign_files import read_sizes
    from limner.text.pretrained import T5Encoder

    for name in files.names:
        if name.rpartition("/")[2] != "config.json":
            continue
        folder = (files.path / name).parent
        if files.json(files.path / name).get("model_type") not in T5Encoder.architecture.types:
            continue
        _, sizes = read_sizes(folder, {"t5": T5Encoder.architecture})
        inside = [each for each in files.names if (files.path / each).parent == folder]
        for ending in (".safetensors", ".bin"):
            weights = [each for each in inside if each.endswith(ending)]
            if weights:
                return folder, Several([files.open(files.path / each) for each in weights]), sizes
    raise CheckpointError(
        f"{files.shown} has no T5, which reads the text; put the files of google/flan-t5-xl in a "
        "folder flan-t5-xl there"
    )
