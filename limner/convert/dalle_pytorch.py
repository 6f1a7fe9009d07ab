"""Checkpoints of DALLE-pytorch 1.6 (`train_dalle.py`): settings and all weights in one file.

The codec in it is the DiscreteVAE of that package, OpenAI's, or a VQGAN of taming-transformers. The
tokenizer is not: its `tokenizer.json` must lie beside the file, as `--bpe_path FILE --hug` took it.
A DiscreteVAE alone (`train_vae.py`) is read as a codec.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from limner.convert import openai_dvae, taming
from limner.convert.formats import Plan
from limner.convert.keys import KeyMap, Shapes, Weight, collect, our_shapes, table
from limner.convert.tensors import Under
from limner.errors import CheckpointError, quote
from limner.files.folder import shown_path
from limner.files.safetensors import TensorEntry

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

    from limner.convert.files import Files
    from limner.convert.tensors import Tensors

NAME = "dalle-pytorch"
FILTER = 0.9  # generate.py's own: the share of all tokens, of text too, that is left out
SAMPLING = {
    "temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0, "guidance": 0.0,
    "guidance_schedule": "constant", "typical_p": 1.0, "speculate": 0,
}  # fmt: skip
POSITIONS = {  # theirs have axes of length 1; two of them are spelt in two ways
    "transformer.pos_emb": "angles",
    "image_pos_emb.weights.0": "rows",
    "image_pos_emb.weights.1": "columns",
    "image_pos_emb.weights_0": "rows",
    "image_pos_emb.weights_1": "columns",
}
REFUSED = (
    "reversible",
    "shared_attn_ids",
    "shared_ff_ids",
    "share_input_output_emb",
    "sparse_attn",
)
_CARD = """# A model of DALLE-pytorch

Imported from {what}: {layers} layers of {width} over {codes} codes, {size} pixels. Its licence and
its pictures are those of whoever trained it.
"""


def looks_like(files: Files) -> bool:
    """Say whether the only file of weights has what DALLE-pytorch saves."""
    path = files.single()
    if path is None:
        return False
    tensors = files.open(path)
    return _is_dalle(tensors) or _is_vae(tensors)


def plan(files: Files) -> Plan:
    """Return the model, or the codec, that the file holds; CheckpointError for what doesn't fit."""
    path = files.single()
    if path is None or not looks_like(files):
        raise CheckpointError(
            f"{files.shown} is not one file with hparams and weights, as DALLE-pytorch saves them"
        )
    tensors = files.open(path)
    if _is_vae(tensors):
        values, weights = Under(tensors, "hparams/").values, Under(tensors, "weights/")
        config, found = _discrete(values, weights, shown_path(path))
        card = _CARD.format(what=path.name, layers=config["layers"], width=config["width"],
                            codes=config["vocabulary"], size=config["size"])  # fmt: skip
        return Plan(NAME, "", config["size"], {"codec": config}, found, card)
    return _dalle_plan(files, tensors, path)


def _is_dalle(tensors: Tensors) -> bool:
    return (
        "hparams/text_seq_len" in tensors.values and "weights/image_emb.weight" in tensors.entries
    )


def _is_vae(tensors: Tensors) -> bool:
    return "hparams/num_tokens" in tensors.values and "weights/codebook.weight" in tensors.entries


def _dalle_plan(files: Files, tensors: Tensors, path: Path) -> Plan:
    shown = shown_path(path)
    hparams = _checked(Under(tensors, "hparams/").values, shown)
    # 1. The codec is among the weights, whichever it is.
    vae = Under(tensors, "weights/vae.")
    codec, codec_weights = _codec(Under(tensors, "vae_params/").values, vae, shown)
    # 2. The prior; its options are stated, its sizes are those of the shapes.
    weights = Under(tensors, "weights/")
    prior, keys = _prior(hparams, weights, codec, shown)
    found = _prior_weights(prior, weights, keys, shown)
    # 3. The tokenizer lies beside it.
    tokenizer = _tokenizer(files, prior["text_vocabulary"])
    total = prior["text_vocabulary"] - 1 + prior["text_length"] + prior["vocabulary"]
    kept = max(int((1 - FILTER) * total), 1)
    sampling = SAMPLING | {"top_k": kept if kept < prior["vocabulary"] else 0}
    named = {f"prior.{name}": each for name, each in found.items()}
    named |= {f"codec.{name}": each for name, each in codec_weights.items()}
    card = _CARD.format(what=path.name, layers=prior["layers"], width=prior["width"],
                        codes=prior["vocabulary"], size=codec["size"])  # fmt: skip
    tables = {"codec": codec, "prior": prior, "sampling": sampling}
    return Plan(NAME, "dalle", codec["size"], tables, named, card, prior["text_length"], tokenizer)


def _checked(hparams: Mapping[str, Any], shown: str) -> Mapping[str, Any]:
    for name in REFUSED:
        if hparams.get(name):
            raise CheckpointError(
                f"{shown} was trained with {name} = {quote(hparams[name])}, which limner does not "
                "draw with"
            )
    for name in ("text_seq_len", "depth", "heads", "dim_head", "num_text_tokens"):
        value = hparams.get(name, {"heads": 8, "dim_head": 64}.get(name))
        if type(value) is not int or value < 1:
            raise CheckpointError(f"{shown} has {name} = {quote(value)} among its hparams")
    return hparams


def _codec(
    values: Mapping[str, Any], weights: Tensors, shown: str
) -> tuple[dict[str, Any], dict[str, Weight]]:
    """Return the settings and the weights of the codec that a DALL-E was trained over."""
    if values:
        return _discrete(values, weights, shown)
    if "enc.blocks.input.w" in weights.entries:
        parts = {"encoder": Under(weights, "enc."), "decoder": Under(weights, "dec.")}
        return openai_dvae.codec_of(parts, dict.fromkeys(parts, shown))
    model = Under(weights, "model.")
    found = taming.vqgan_in(model)
    if found is None:
        raise CheckpointError(
            f"{shown} holds no codec that limner knows: neither DiscreteVAE, OpenAI's, nor a VQGAN"
        )
    tensors, keys = found
    shapes = Shapes(our_shapes(tensors, keys), shown, keys)
    config = taming.taming_config(shapes, pixels="signed", epsilon=1e-6)
    held = taming.taming_weights(config, tensors, keys, shown)
    return {"name": "taming", **vars(config)}, held


def _discrete(
    values: Mapping[str, Any], weights: Tensors, shown: str
) -> tuple[dict[str, Any], dict[str, Weight]]:
    """Return the settings and the weights of a DiscreteVAE."""
    import torch

    from limner.codecs import create_codec

    if values.get("channels", 3) != 3:
        raise CheckpointError(f"{shown} has pictures of {values['channels']} channels; expected 3")
    names = {
        "image_size": "size", "num_tokens": "vocabulary", "codebook_dim": "dimensions",
        "num_layers": "layers", "num_resnet_blocks": "blocks", "hidden_dim": "width",
    }  # fmt: skip
    config: dict[str, Any] = {"name": "lucid_dvae"}
    config |= {ours: values[theirs] for theirs, ours in names.items() if theirs in values}
    with torch.device("meta"):
        outline = create_codec(config)
    config = {"name": "lucid_dvae", **vars(outline.config)}
    keys = discrete_keys(config["layers"], config["blocks"])
    return config, collect(weights, keys, outline.state_dict(), shown)


def discrete_keys(layers: int, blocks: int) -> KeyMap:
    """Return the table of a DiscreteVAE: its parts are numbered behind one another."""
    rows = [("codebook.weight", "codebook.weight")]
    entry = 1 if blocks else 0
    last = {"encoder": layers + blocks, "decoder": entry + blocks + layers}
    steps = {"encoder": range(layers), "decoder": range(entry + blocks, entry + blocks + layers)}
    inner = {"encoder": range(layers, layers + blocks), "decoder": range(entry, entry + blocks)}
    for side in ("encoder", "decoder"):
        places = [f"{at}.0" for at in steps[side]] + [str(last[side])]
        places += ["0"] if side == "decoder" and blocks else []
        for end in ("weight", "bias"):
            rows += [(f"{side}.{place}.{end}", f"{side}.{place}.{end}") for place in places]
            rows += [
                (f"{side}.{at}.net.{k}.{end}", f"{side}.{at}.path.{k}.{end}")
                for at in inner[side]
                for k in (0, 2, 4)
            ]
    return table(*rows)


def prior_keys(*, shift: bool) -> KeyMap:
    """Return the table of the transformer; token shift puts two modules around each part."""
    layer, ours = "transformer.layers.layers.{i}", "layers.{i}"
    attention = f"{layer}.0.fn.fn." + ("fn.fn.fn" if shift else "fn")
    feed = f"{layer}.1.fn.fn" + (".fn.fn" if shift else "")
    rows = [
        ("text_emb.weight", "text_embed.weight"),
        ("image_emb.weight", "embed.weight"),
        ("text_pos_emb.weight", "text_placed.weight"),
        ("to_logits.0.weight", "norm.weight"),
        ("to_logits.0.bias", "norm.bias"),
        ("to_logits.1.weight", "head.weight"),
        ("to_logits.1.bias", "head.bias"),
        (f"{attention}.to_qkv.weight", f"{ours}.qkv.weight"),
    ]
    for end in ("weight", "bias"):
        rows += [
            (f"{attention}.to_out.0.{end}", f"{ours}.out.{end}"),
            (f"{feed}.net.0.{end}", f"{ours}.into.{end}"),
            (f"{feed}.net.3.{end}", f"{ours}.down.{end}"),
            (f"{layer}.{{k}}.fn.norm.{end}", f"{ours}.norms.{{k}}.{end}"),
            (f"{layer}.{{k}}.fn.norm_out.{end}", f"{ours}.after.{{k}}.{end}"),
        ]
    return table(*rows, (f"{layer}.{{k}}.scale", f"{ours}.scales.{{k}}"))


class _Flat:
    """Tensors of which positions lose the axes of length 1 that theirs have."""

    def __init__(self, tensors: Tensors) -> None:
        self._tensors, self.values = tensors, tensors.values
        self.entries = {
            name: TensorEntry(each.dtype, _flat(each.shape)) if name in POSITIONS else each
            for name, each in tensors.entries.items()
        }

    def read(self, name: str) -> Tensor:
        """Return a tensor."""
        return self._tensors.read(name).reshape(self.entries[name].shape)


def _flat(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (*(each for each in shape[:-1] if each > 1), *shape[-1:])


def _prior(
    hparams: Mapping[str, Any], weights: Tensors, codec: Mapping[str, Any], shown: str
) -> tuple[dict[str, Any], KeyMap]:
    shift = bool(hparams.get("shift_tokens", True))
    keys = KeyMap((*prior_keys(shift=shift).rows, *table(*POSITIONS.items()).rows))
    shapes = Shapes(our_shapes(_Flat(weights), keys), shown, keys)
    vocabulary, width = shapes.of("embed.weight", 2)
    side = _side(codec)
    kinds = hparams.get("attn_types") or ["full"]
    angles = shapes.of("angles", 2)[1] if "angles" in shapes.held else 0
    return {
        "name": "lucid", "text_vocabulary": hparams["num_text_tokens"] + 1,
        "vocabulary": vocabulary, "text_length": hparams["text_seq_len"], "grid": [side, side],
        "width": width, "layers": hparams["depth"], "heads": hparams.get("heads", 8),
        "head": hparams.get("dim_head", 64), "angles": angles, "shift": shift,
        "attention": [kinds] if isinstance(kinds, str) else list(kinds),
        "sandwich": bool(hparams.get("sandwich_norm", False)),
        "stable": bool(hparams.get("stable", False)),
    }, keys  # fmt: skip


def _side(codec: Mapping[str, Any]) -> int:
    import torch

    from limner.codecs import create_codec

    with torch.device("meta"):
        return int(create_codec(codec).grid[0])


def _prior_weights(
    prior: Mapping[str, Any], weights: Tensors, keys: KeyMap, shown: str
) -> dict[str, Weight]:
    import torch

    from limner.priors import create_prior

    with torch.device("meta"):
        wanted = create_prior(prior).state_dict()
    ignored = (r"vae\..*", r".*\.(static_mask|rotary_pos_emb)")
    return collect(_Flat(weights), keys, wanted, shown, ignored=ignored)


def _tokenizer(files: Files, vocabulary: int) -> str:
    """Return limner's tokenizer.json of the one that lies beside the checkpoint."""
    from limner.text.pretrained_tokenizer import PretrainedTokenizer

    path = files.find("tokenizer.json", "*tokenizer*.json", "*bpe*.json", "*.json")
    if path is None:
        raise CheckpointError(
            f"{files.shown} has no tokenizer.json, and a checkpoint of DALLE-pytorch has no "
            "tokenizer in it; give a folder with both, as --bpe_path took it in training"
        )
    found = PretrainedTokenizer.convert(files.text(path), source=shown_path(path))
    if found.vocabulary != vocabulary:
        raise CheckpointError(
            f"{shown_path(path)} has {found.vocabulary - 1} ids, but the model was trained with "
            f"{vocabulary - 1}; they belong to different models"
        )
    return found.to_json()
