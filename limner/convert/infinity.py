"""Infinity (github.com/FoundationVision/Infinity): a transformer of bits, its VAE, and T5.

A folder with `infinity_125M_256x256.pth`, `infinity_vae_d16.pth`, and a folder below with T5's
encoder in the files of `transformers`, as `flan-t5-xl`. The VAE alone is read as a codec. Layout
facts are from that repository at 4c27bbb (infinity/models/infinity.py, basic.py, bsq_vae/vae.py,
flux_vqgan.py and multiscale_bsq.py; infinity/utils/dynamic_resolution.py; scripts/train.sh:
`rope2d_normalized_by_hw` 2, `add_lvl_embeding_only_first_block` 1, which no file of weights says).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from limner.convert.formats import Plan
from limner.convert.keys import KeyMap, Shapes, Weight, collect, our_shapes, table
from limner.convert.llamagen import T5_KEYS, t5_encoder
from limner.convert.t5_tokenizer import t5_tokenizer
from limner.convert.taming import network_sizes, side_rows
from limner.convert.tensors import Under
from limner.errors import CheckpointError
from limner.files.folder import shown_path

if TYPE_CHECKING:
    from pathlib import Path

    from limner.convert.files import Files
    from limner.convert.tensors import Tensors

    Held = tuple[Tensors, Path]

NAME = "infinity"
SIDES = (1, 2, 4, 6, 8, 12, 16)  # of 256 pixels; larger pictures have more
TAU, TOP_P, GUIDANCE = 0.5, 0.97, 2.0  # of its notebook; a cfg of 3 there
_ENDS = (".pt", ".pth", ".bin", ".safetensors")
_OURS = {
    "cfg_uncond": "untold", "text_norm.weight": "text_norm.weight", "pos_start": "begin",
    "lvl_embed.weight": "map_embedding.weight", "text_proj_for_sos.ca.mat_q": "summary.query",
    "text_proj_for_sos.ca.mat_kv.weight": "summary.both.weight",
    "text_proj_for_sos.ca.v_bias": "summary.value_bias",
}  # fmt: skip
_LINEAR = {
    "text_proj_for_sos.ca.proj": "summary.out", "text_proj_for_ca.0": "project.0",
    "text_proj_for_ca.2": "project.2", "word_embed": "into", "shared_ada_lin.1": "common",
    "head_nm.ada_lin.1": "condition", "head": "head",
}  # fmt: skip
_LAYER = {
    "sa.mat_qkv.weight": "layers.{}.qkv.weight", "sa.q_bias": "layers.{}.query_bias",
    "sa.v_bias": "layers.{}.value_bias", "sa.scale_mul_1H11": "layers.{}.sharpness",
    "ada_gss": "layers.{}.offset", "ca.mat_kv.weight": "cross.{}.both.weight",
    "ca.v_bias": "cross.{}.value_bias",
}  # fmt: skip
_LAYER_LINEAR = {
    "sa.proj": "layers.{}.out", "ffn.fc1": "layers.{}.up", "ffn.fc2": "layers.{}.down",
    "ca_norm": "cross.{}.norm", "ca.mat_q": "cross.{}.query", "ca.proj": "cross.{}.out",
}  # fmt: skip
_BOTH = (".weight", ".bias")
_CARD = """# {name}

Imported from Infinity's {what}: {layers} layers of {width} that read T5's features of a text, over
{maps} maps of {bits} bits a cell, {size} pixels. The weights were published under the MIT licence;
they were trained on pictures of the web: they show its biases, and know English alone.
"""
_CODEC_CARD = """# The VAE of Infinity

Imported from {what}: a codec of {maps} maps of {bits} bits a cell, {cell} x {cell} pixels each in
the finest. It draws nothing alone: give this folder as `codec_from` to train a prior, or to
`limner data encode --codec`.
"""


def keys_of(chunks: int, each: int) -> KeyMap:
    """Return the table of a transformer whose layers stand in so many chunks of so many."""
    rows = list(_OURS.items())
    rows += [(f"{a}{end}", f"{b}{end}") for a, b in _LINEAR.items() for end in _BOTH]
    for number in range(chunks * each):
        at = f"block_chunks.{number // each}.module.{number % each}"
        rows += [(f"{at}.{a}", b.format(number)) for a, b in _LAYER.items()]
        rows += [
            (f"{at}.{a}{end}", f"{b.format(number)}{end}")
            for a, b in _LAYER_LINEAR.items()
            for end in _BOTH
        ]
    return table(*rows)


def _vae_keys() -> KeyMap:
    """Return the table of the VAE, whose convolutions and norms stand in modules of their own."""
    sides = (*side_rows("encoder", "down", "downsample"), *side_rows("decoder", "up", "upsample"))
    return table(
        *(
            (f"{a}{'.norm' if a.rpartition('.')[2].startswith('norm') else '.conv'}{end}", b + end)
            for a, b in sides
            for end in _BOTH
        )
    )


VAE_KEYS = _vae_keys()


def looks_like(files: Files) -> bool:
    """Say whether files have Infinity's transformer or its VAE."""
    return any(_parts(files, re.compile("infinity|vae", re.IGNORECASE)))


def plan(files: Files) -> Plan:
    """Return the model, or the codec, that the files hold; CheckpointError for what doesn't fit."""
    transformer, vae = _parts(files)
    if vae is None:
        raise CheckpointError(
            f"{files.shown} has no file with Infinity's VAE; put infinity_vae_d16.pth beside its "
            "transformer"
        )
    codec, weights = _codec(vae)
    settings = {"name": "bits", **vars(codec)}
    if transformer is None:
        files.need_alone(vae[1], "Infinity's transformer")
        card = _CODEC_CARD.format(
            what=vae[1].name, maps=len(SIDES), bits=codec.latent, cell=codec.cell
        )
        return Plan("infinity-vae", "", codec.size, {"codec": settings}, weights, card)
    return _model(files, transformer, settings, weights)


def _model(
    files: Files, transformer: Held, codec: dict[str, Any], codes: dict[str, Weight]
) -> Plan:
    import torch

    from limner.priors import create_prior

    # 1. The transformer's sizes are read off its shapes; that of its pictures its name says.
    tensors, path = transformer
    if "256" not in path.name:
        raise CheckpointError(
            f"{shown_path(path)} does not say in its name that it draws 256 pixels, as "
            "infinity_125M_256x256.pth does; limner reads no larger Infinity"
        )
    keys, shown = _keys(tensors), shown_path(path)
    shapes = Shapes(our_shapes(tensors, keys), shown, keys)
    width, bits = shapes.of("into.weight", 2)
    length, _ = shapes.of("untold", 2)
    # 2. T5, and the tokenizer beside it.
    folder, t5, sizes = t5_encoder(files)
    text, count = t5_tokenizer(files, folder, lower=False)
    prior = {
        "name": "infinity", "text_vocabulary": count, "encoder": sizes,
        "maps": [[side, side] for side in SIDES], "groups": bits, "text_length": length,
        "numbered": shapes.of("map_embedding.weight", 2)[0], "width": width,
        "layers": shapes.count("layers."), "heads": shapes.of("layers.0.sharpness", 4)[1],
        "hidden": shapes.of("layers.0.up.weight", 2)[0],
        "pooling": shapes.of("summary.query", 3)[1],
    }  # fmt: skip
    if bits != codec["latent"]:
        raise CheckpointError(
            f"{shown} draws {bits} bits a cell, but the VAE beside it has {codec['latent']}; they "
            "belong to different models"
        )
    # 3. Every tensor has its place.
    with torch.device("meta"):
        wanted = create_prior(prior).state_dict()
    own = {name: each for name, each in wanted.items() if not name.startswith("encoder.")}
    rest = {name: each for name, each in wanted.items() if name not in own}
    found = collect(tensors, keys, own, shown, ignored=(r".*\.zero_k_bias",))
    left = (r"decoder\..*", r"lm_head\..*", r"encoder\.embed_tokens\.weight")
    found |= collect(t5, T5_KEYS, rest, shown_path(folder), ignored=left)
    named = {f"prior.{name}": each for name, each in found.items()}
    named |= {f"codec.{name}": each for name, each in codes.items()}
    card = _CARD.format(
        name=NAME, what=path.name, layers=prior["layers"], width=width, maps=len(SIDES), bits=bits,
        size=codec["size"],
    )  # fmt: skip
    tables = {"codec": codec, "prior": prior, "sampling": _SAMPLING}
    return Plan(NAME, "dalle", codec["size"], tables, named, card, length, text)


_SAMPLING = {
    "temperature": TAU, "top_k": 0, "top_p": TOP_P, "min_p": 0.0, "guidance": GUIDANCE,
    "guidance_schedule": "constant", "typical_p": 1.0, "speculate": 0,
}  # fmt: skip


def _keys(tensors: Tensors) -> KeyMap:
    """Return the table for the chunks that layers stand in."""
    pattern = r"block_chunks\.(\d{1,3})\.module\.(\d{1,3})\..*"
    numbers = [each for name in tensors.entries if (each := re.fullmatch(pattern, name))]
    chunks = len({each[1] for each in numbers})
    return keys_of(chunks, len({each[2] for each in numbers}))


def _parts(files: Files, named: re.Pattern[str] | None = None) -> tuple[Held | None, Held | None]:
    """Return the transformer and the VAE among the files, T5's left, or among those so `named`."""
    transformer = vae = None
    for name in files.names:
        asked = named is None or files.single() is not None or named.search(name)
        folder = name.rpartition("/")[0]
        beside = f"{folder}/config.json" if folder else "config.json"
        if not name.lower().endswith(_ENDS) or not asked or beside in files.names:
            continue
        path = files.path / name if files.path.is_dir() else files.path
        opened = files.open(path)
        if transformer is None and "text_proj_for_sos.ca.mat_q" in opened.entries:
            transformer = (opened, path)
        for held in (opened, Under(opened, "vae/")):
            if vae is None and "decoder.conv_in.conv.weight" in held.entries:
                vae = (held, path)
    return transformer, vae


def _codec(held: Held) -> tuple[Any, dict[str, Weight]]:
    """Return the config and the weights of the VAE."""
    import torch

    from limner.codecs.bits import BitCodec, BitCodecConfig

    tensors, path = held
    shown = shown_path(path)
    sizes = network_sizes(Shapes(our_shapes(tensors, VAE_KEYS), shown, VAE_KEYS))
    size = SIDES[-1] * 2 ** (len(sizes["multipliers"]) - 1)
    config = BitCodecConfig(**sizes, size=size, dimensions=sizes["latent"], scales=SIDES)
    with torch.device("meta"):
        wanted = BitCodec(config).state_dict()
    return config, collect(
        tensors, VAE_KEYS, wanted, shown, ignored=(r"quantize[r]?\.lfq\.(mask|zero)",)
    )
