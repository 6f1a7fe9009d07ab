"""DALL-E mini and mega as they were published: msgpack of Flax, read without JAX.

The model is that of github.com/borisdayma/dalle-mini (`flax_model.msgpack`, `config.json`,
`vocab.json`, `merges.txt`), its VQGAN that of github.com/patil-suraj/vqgan-jax, another
`flax_model.msgpack`, in a folder below. Layers lie behind one another in one array each, as
`nn.scan` leaves them, or in arrays of their own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from limner.convert.bart import dalle_plan, prior_settings, prior_weights
from limner.convert.bart_tokenizer import tokenizer_json
from limner.convert.formats import Plan
from limner.convert.keys import CONVOLUTION, DENSE, SAME, KeyMap, Shapes, Turn, our_shapes
from limner.convert.msgpack import MsgpackTensors
from limner.convert.taming import side_rows, taming_config, taming_weights
from limner.errors import CheckpointError, quote
from limner.files.folder import shown_path
from limner.files.safetensors import TensorEntry

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from limner.convert.files import Files

    _Opened = tuple[Path, MsgpackTensors]

WEIGHTS = "flax_model.msgpack"
GUIDANCE = 9.0  # a condition_scale of 10, as its own notebook draws
ONLY = {  # of the variants that its config can say, the one that was published
    "ln_positions": "normformer", "ln_type": "layernorm", "activation_function": "gelu",
    "use_glu": True, "use_bias": False, "scale_embedding": False, "use_head_scale": False,
    "use_cosine_attention": False, "use_absolute_position_embeddings": True,
    "use_swin_position_embeddings": False, "use_deepnet_scaling": False, "sinkhorn_iters": 1,
    "tie_word_embeddings": False, "use_final_ln_encoder": True, "use_final_ln_decoder": True,
}  # fmt: skip
NOTE = (
    "dalle-mini normalised its texts with tables that are not among its files; write prompts in "
    "plain English words, with commas between parts"
)
_LAYERS = 256  # at most
_LAYER = r"(?P<part>.*/layers/)(?P<kind>FlaxBart\w+)Layers/(?P<rest>.*)"


def looks_like(files: Files) -> bool:
    """Say whether there is a file of Flax and a vocabulary, and no other model's config."""
    flax = files.find(WEIGHTS) is not None and files.find("vocab.json") is not None
    return flax and files.model_type() in ("", "dallebart", "vqgan")


def plan(files: Files) -> Plan:
    """Return the model that the files hold; CheckpointError for what does not fit."""
    # 1. Which file of Flax is the model, and which the VQGAN, their arrays say.
    model, vqgan = _opened(files)
    shown, tensors = shown_path(model[0]), _Unscanned(model[1])
    config = files.json(files.need(_beside(files, model[0], "config.json")))
    _check_variant(config, shown)
    # 2. The VQGAN, and the prior over its codes; heads and the beginning the config says.
    place = shown_path(vqgan[0])
    seen = Shapes(our_shapes(vqgan[1], VQGAN_KEYS), place, VQGAN_KEYS)
    codec = taming_config(seen, pixels="unit", epsilon=1e-6)
    shapes = Shapes(our_shapes(tensors, KEYS), shown, KEYS)
    begin = config.get("decoder_start_token_id", codec.codebook)
    prior = prior_settings(shapes, shapes, codes=codec.codebook, begin=begin)
    prior["heads"] = config.get("decoder_attention_heads", prior["heads"])
    if config.get("encoder_attention_heads", prior["heads"]) != prior["heads"]:
        raise CheckpointError(f"the config of {shown} has other heads in encoder and decoder")
    # 3. Text becomes ids; every tensor has its place.
    vocabulary, merges = files.need("vocab.json"), files.need("merges.txt")
    rows = prior["text_vocabulary"] - 1
    tokenizer, empty = tokenizer_json(files, vocabulary, merges, rows)
    prior["empty"] = list(empty)
    parts = (
        prior_weights(prior, [(tensors, KEYS, shown)]),
        taming_weights(codec, vqgan[1], VQGAN_KEYS, place),
    )
    made = dalle_plan(prior, codec, parts, tokenizer, "dalle-mini's Flax files", guidance=GUIDANCE)
    return replace(made, notes=(NOTE,)) if config.get("normalize_text") else made


def _opened(files: Files) -> tuple[_Opened, _Opened]:
    found: dict[bool, _Opened] = {}
    for name in files.names:
        if name.rpartition("/")[2] == WEIGHTS:
            path = files.path / name if files.path.is_dir() else files.path
            tensors = files.open(path)
            if not isinstance(tensors, MsgpackTensors):
                raise CheckpointError(f"{shown_path(path)} is no msgpack of Flax; get it anew")
            found["lm_head/kernel" in tensors.entries] = path, tensors
    if True not in found:
        raise CheckpointError(
            f"{files.shown} has no {WEIGHTS} with lm_head/kernel, as dalle-mini's"
        )
    if False not in found:
        raise CheckpointError(
            f"{files.shown} has no VQGAN; put the files of dalle-mini/vqgan_imagenet_f16_16384 in "
            "a folder vqgan there"
        )
    return found[True], found[False]


def _beside(files: Files, path: Path, name: str) -> str:
    """Return how the file of a name is found that lies in the folder of `path`."""
    return (path.parent / name).relative_to(files.path).as_posix()


def _check_variant(config: Mapping[str, Any], shown: str) -> None:
    for key, wanted in ONLY.items():
        if config.get(key, wanted) != wanted:
            raise CheckpointError(
                f"the config of {shown} has {key} = {quote(config[key])}; limner draws with "
                f"{quote(wanted)}, as the published models have it"
            )


class _Unscanned:
    """Tensors of which each layer has its own, whether or not they lie in one array."""

    def __init__(self, tensors: MsgpackTensors) -> None:
        self._tensors = tensors
        self._places: dict[str, tuple[str, int | None]] = {}
        self.values: Mapping[str, Any] = tensors.values
        entries: dict[str, TensorEntry] = {}
        for name, entry in tensors.entries.items():
            scanned = re.fullmatch(_LAYER, name)
            if scanned is None or not entry.shape:
                self._places[name], entries[name] = (name, None), entry
                continue
            for row in range(min(entry.shape[0], _LAYERS)):
                own = f"{scanned['part']}{scanned['kind']}Layer_{row}/{scanned['rest']}"
                self._places[own] = name, row
                entries[own] = TensorEntry(entry.dtype, entry.shape[1:])
        self.entries: Mapping[str, TensorEntry] = entries

    def read(self, name: str) -> Tensor:
        """Return a tensor, of one layer."""
        place, row = self._places[name]
        return self._tensors.read(place) if row is None else self._tensors.read_row(place, row)


_Row = tuple[str, str, Turn]


def _norm(theirs: str, ours: str) -> list[_Row]:
    return [(f"{theirs}/scale", f"{ours}.weight", SAME), (f"{theirs}/bias", f"{ours}.bias", SAME)]


def _attention(theirs: str, before: str, after: str, ours: str) -> list[_Row]:
    names = {"q_proj": "query", "k_proj": "key", "v_proj": "value", "out_proj": "out"}
    rows = [(f"{theirs}/{a}/kernel", f"{ours}.{b}.weight", DENSE) for a, b in names.items()]
    return [*rows, *_norm(before, f"{ours}.before"), *_norm(after, f"{ours}.after")]


def _part(part: str, prefix: str) -> list[_Row]:
    """Return the rows of the encoder or the decoder; `prefix` is before our names."""
    at = f"model/{part}"
    layer = f"{at}/layers/FlaxBart{part.title()}Layer_{{i}}"
    ours = f"{prefix}layers.{{i}}"
    rows: list[_Row] = [
        (f"{at}/embed_tokens/embedding", f"{prefix}embed.weight", SAME),
        (f"{at}/embed_positions/embedding", f"{prefix}placed.weight", SAME),
        *_norm(f"{at}/layernorm_embedding", f"{prefix}embed_norm"),
        *_norm(f"{at}/final_ln", f"{prefix}norm"),
        *_attention(
            f"{layer}/FlaxBartAttention_0", f"{layer}/LayerNorm_0", f"{layer}/LayerNorm_1",
            f"{ours}.attention",
        ),
        *_norm(f"{layer}/GLU_0/LayerNorm_0", f"{ours}.feed_forward.before"),
        *_norm(f"{layer}/GLU_0/LayerNorm_1", f"{ours}.feed_forward.middle"),
    ]  # fmt: skip
    for number, name in enumerate(("gate", "up", "down")):
        theirs = f"{layer}/GLU_0/Dense_{number}/kernel"
        rows.append((theirs, f"{ours}.feed_forward.{name}.weight", DENSE))
    return rows


_DECODER = "model/decoder/layers/FlaxBartDecoderLayer_{i}"
KEYS = KeyMap((
    *_part("encoder", "text."), *_part("decoder", ""),
    *_attention(
        f"{_DECODER}/FlaxBartAttention_1", f"{_DECODER}/LayerNorm_2", f"{_DECODER}/LayerNorm_3",
        "layers.{i}.cross",
    ),
    ("lm_head/kernel", "head.weight", DENSE),
))  # fmt: skip


def _vqgan_rows() -> list[_Row]:
    """Return the rows of the VQGAN: those of taming's, as Flax spells them."""
    named = [
        *side_rows("encoder", "down", "downsample"), *side_rows("decoder", "up", "upsample"),
        ("quant_conv", "encoder.quantized"), ("post_quant_conv", "decoder.embedded"),
    ]  # fmt: skip
    rows: list[_Row] = [("quantize/embedding/embedding", "codebook.weight", SAME)]
    for theirs, ours in named:
        # A list of modules has its number behind a stroke, not behind a dot.
        spelt = re.sub(r"\.\{(\w+)\}", r"_{\1}", theirs).replace(".", "/")
        if "norm" in spelt.rpartition("/")[2]:
            rows += _norm(spelt, ours)
        else:
            rows.append((f"{spelt}/kernel", f"{ours}.weight", CONVOLUTION))
            rows.append((f"{spelt}/bias", f"{ours}.bias", SAME))
    return rows


VQGAN_KEYS = KeyMap(tuple(_vqgan_rows()))
