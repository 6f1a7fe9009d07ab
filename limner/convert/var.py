"""VAR (github.com/FoundationVision/VAR): a transformer of ImageNet's classes and its VQ-VAE.

A folder with `var_d16.pth` (or d20, d24, d30, d36) and `vae_ch160v4096z32.pth`, or what its
`train.py` saves, which has both. The VQ-VAE alone is read as a codec. The names of classes are in
no file of VAR: where the folder has them (`id2label` of a config.json of transformers, or a
classes.txt of a line each), the model draws by name, and else by number. Layout facts are from that
repository at 78b9539 (models/var.py, basic_var.py, vqvae.py, quant.py; trainer.py).
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from math import isqrt
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limner.convert.formats import Plan
from limner.convert.keys import Shapes, Weight, collect, our_shapes, table
from limner.convert.rearranged import Split
from limner.convert.taming import KEYS as TAMING_KEYS
from limner.convert.taming import taming_config
from limner.convert.tensors import Under
from limner.errors import CheckpointError
from limner.files.folder import shown_path
from limner.text.classes import ClassTokenizer, Names, names_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from limner.convert.files import Files
    from limner.convert.keys import KeyMap
    from limner.convert.tensors import Tensors

NAME = "var"
TOP_K, TOP_P, GUIDANCE = 900, 0.95, 4.0  # of its demo; pictures for its FID have 0.96 and 1.5
_ENDS = (".pt", ".pth", ".bin", ".safetensors")
_FUSED = r".*\.attn(_1|\.\d+)\.(?P<whole>qkv)\.(weight|bias)"
PARTS = ("q", "k", "v")
_CELLS = 2**16  # of all maps together
_OURS = {
    "class_emb.weight": "classes.weight", "pos_start": "begin", "pos_1LC": "placed",
    "lvl_embed.weight": "map_embedding.weight",
}  # fmt: skip
_LAYER = {
    "attn.mat_qkv.weight": "qkv.weight", "attn.q_bias": "query_bias", "attn.v_bias": "value_bias",
    "attn.scale_mul_1H11": "sharpness", "ada_gss": "offset",
}  # fmt: skip
_LINEAR = {
    "word_embed": "into", "shared_ada_lin.1": "common", "head_nm.ada_lin.1": "condition",
    "head": "head", "blocks.{i}.attn.proj": "layers.{i}.out", "blocks.{i}.ffn.fc1": "layers.{i}.up",
    "blocks.{i}.ffn.fc2": "layers.{i}.down", "blocks.{i}.ada_lin.1": "layers.{i}.condition",
}  # fmt: skip
KEYS = table(
    *_OURS.items(),
    *((f"blocks.{{i}}.{a}", f"layers.{{i}}.{b}") for a, b in _LAYER.items()),
    *((f"{a}{end}", f"{b}{end}") for a, b in _LINEAR.items() for end in (".weight", ".bias")),
)
_PHI = "quantize.quant_resi.qresi_ls.{i}"
_PHIS = table(*((f"{_PHI}.{end}", f"phi.{{i}}.conv.{end}") for end in ("weight", "bias")))
VAE_KEYS = type(TAMING_KEYS)((*TAMING_KEYS.rows, *_PHIS.rows))
_BUFFERS = (r"lvl_1L", r"attn_bias_for_masking", r"blocks\.\d+\.attn\.zero_k_bias")
_CARD = """# {name}

Imported from VAR's {what}: {layers} layers of {width} that draw one of {classes} classes of
ImageNet, map after map, {size} pixels. The weights were published under the MIT licence; they were
trained on ImageNet's pictures, and show their biases. They know no words: a text is matched to the
name of one class, or gives its number, as "class 207".
"""
_CODEC_CARD = """# The VQ-VAE of VAR

Imported from {what}: a codec of {maps} maps of {codes} codes, {cell} x {cell} pixels a cell of the
finest. It draws nothing alone: give this folder as `codec_from` to train a prior, or to `limner
data encode --codec`.
"""
NO_NAMES = (
    "VAR's files do not name its classes, so it draws by number, as 'class 207'; import again with "
    "a config.json with id2label, or a classes.txt of a line each, in the same folder for names"
)


@dataclass(frozen=True)
class _Held:
    """A part's tensors, and the file they are of."""

    tensors: Tensors
    path: Path

    @property
    def shown(self) -> str:
        return shown_path(self.path)

    def shapes(self, keys: KeyMap) -> Shapes:
        return Shapes(our_shapes(self.tensors, keys), self.shown, keys)


def looks_like(files: Files) -> bool:
    """Say whether files have VAR's transformer or its VQ-VAE."""
    return any(_parts(files, re.compile("var|vae|ar-ckpt", re.IGNORECASE)))


def plan(files: Files) -> Plan:
    """Return the model, or the codec, that the files hold; CheckpointError for what doesn't fit."""
    transformer, vae = _parts(files)
    if vae is None:
        raise CheckpointError(
            f"{files.shown} has no file with VAR's VQ-VAE; put vae_ch160v4096z32.pth beside its "
            "transformer"
        )
    if transformer is None:
        from limner.codecs.var import SCALES

        files.need_alone(vae.path, "VAR's transformer")
        codec, weights = _codec(vae, SCALES)
        card = _CODEC_CARD.format(
            what=vae.path.name, codes=codec.codebook, maps=len(SCALES), cell=codec.cell
        )
        settings = {"name": "var", **vars(codec)}
        return Plan("var-vae", "", codec.size, {"codec": settings}, weights, card)
    return _model(files, transformer, vae)


def _model(files: Files, transformer: _Held, vae: _Held) -> Plan:
    import torch

    from limner.priors import create_prior

    # 1. The codec has the maps that the transformer was made for.
    sides = _sides(transformer)
    codec, codes = _codec(vae, sides)
    # 2. Sizes are read off the shapes.
    shapes = transformer.shapes(KEYS)
    classes, width = shapes.of("classes.weight", 2)
    hidden, _ = shapes.of("layers.0.up.weight", 2)
    prior = {
        "name": "var", "text_vocabulary": classes, "maps": [[side, side] for side in sides],
        "vocabulary": shapes.of("head.weight", 2)[0], "dimensions": codec.dimensions,
        "phis": codec.phis, "width": width, "layers": shapes.count("layers."), "hidden": hidden,
        "heads": shapes.of("layers.0.sharpness", 4)[1], "common": "common.weight" in shapes.held,
    }  # fmt: skip
    if prior["vocabulary"] != codec.codebook:
        raise CheckpointError(
            f"{transformer.shown} draws {prior['vocabulary']} codes, but {vae.shown} has "
            f"{codec.codebook}; they belong to different models"
        )
    # 3. Every tensor has its place; the codebook and the phis are the codec's.
    with torch.device("meta"):
        wanted = create_prior(prior).state_dict()
    lent = {name: each for name, each in codes.items() if re.match(r"codebook\.|phi\.", name)}
    own = {name: each for name, each in wanted.items() if name not in lent}
    found = collect(transformer.tensors, KEYS, own, transformer.shown, ignored=_BUFFERS)
    named = {f"prior.{name}": each for name, each in (found | lent).items()}
    named |= {f"codec.{name}": each for name, each in codes.items()}
    # 4. The names of classes, where there are any.
    names = _names(files, classes - 1)
    tokenizer = ClassTokenizer(names or [()] * (classes - 1)).to_json()
    tables = {"codec": {"name": "var", **vars(codec)}, "prior": prior, "sampling": _SAMPLING}
    card = _CARD.format(
        name=NAME, what=transformer.path.name, layers=prior["layers"], width=width,
        classes=classes - 1, size=codec.size,
    )  # fmt: skip
    return Plan(
        NAME, "dalle", codec.size, tables, named, card, 1, tokenizer,
        notes=() if names else (NO_NAMES,),
    )  # fmt: skip


_SAMPLING = {
    "temperature": 1.0, "top_k": TOP_K, "top_p": TOP_P, "min_p": 0.0, "guidance": GUIDANCE,
    "guidance_schedule": "ramp", "typical_p": 1.0, "speculate": 0,
}  # fmt: skip


def _parts(files: Files, named: re.Pattern[str] | None = None) -> tuple[_Held | None, _Held | None]:
    """Return the transformer and the VQ-VAE among the files, or among those so `named`."""
    transformer = vae = None
    for name in files.names:
        asked = named is None or files.single() is not None or named.search(name)
        if not name.lower().endswith(_ENDS) or not asked:
            continue
        path = files.path / name if files.path.is_dir() else files.path
        opened = files.open(path)
        for own, other in (("", ""), ("trainer/var_wo_ddp/", "trainer/vae_local/")):
            held, held_too = (Under(opened, each) if each else opened for each in (own, other))
            if transformer is None and {"pos_1LC", "head_nm.ada_lin.1.weight"} <= set(held.entries):
                transformer = _Held(held, path)
            if vae is None and "quantize.quant_resi.qresi_ls.0.weight" in held_too.entries:
                vae = _Held(held_too, path)
    return transformer, vae


def _sides(held: _Held) -> tuple[int, ...]:
    """Return the sides of the maps, of the buffer that says which map each cell is of."""
    entry = held.tensors.entries.get("lvl_1L")
    numbers: list[int] = []
    if entry is not None and entry.count <= _CELLS:
        numbers = held.tensors.read("lvl_1L").flatten().tolist()
    counts = [count for _, count in sorted(Counter(numbers).items())]
    sides = tuple(isqrt(each) for each in counts)
    ordered = [which for which, side in enumerate(sides) for _ in range(side * side)]
    if not numbers or numbers != ordered:
        raise CheckpointError(
            f"{held.shown} does not say in lvl_1L which square map each cell is of; get the file "
            "anew"
        )
    return sides


def _codec(held: _Held, sides: Sequence[int]) -> tuple[Any, dict[str, Weight]]:
    """Return the config and the weights of the VQ-VAE."""
    import torch

    from limner.codecs.var import VARCodec, VARCodecConfig

    split = _Held(Split(held.tensors, _FUSED, PARTS), held.path)
    shapes = split.shapes(VAE_KEYS)
    sizes = vars(taming_config(shapes, pixels="signed", epsilon=1e-6))
    kernel = shapes.of("encoder.quantized.weight", 4)[2]
    sizes |= {"size": sides[-1] * 2 ** (len(sizes["multipliers"]) - 1), "kernel": kernel}
    config = VARCodecConfig(**sizes, scales=tuple(sides), phis=shapes.count("phi."))
    with torch.device("meta"):
        wanted = VARCodec(config).state_dict()
    ignored = (r"quantize\.ema_vocab_hit_SV",)
    return config, collect(split.tensors, VAE_KEYS, wanted, held.shown, ignored=ignored)


def _names(files: Files, count: int) -> list[Names]:
    """Return the names of each class, [] where no file has them; CheckpointError for others."""
    for path in (files.find("*id2label*.json"), files.find("*config.json")):
        if path is None:
            continue
        told = files.json(path)
        labels = told.get("id2label", told if "id2label" in path.name else None)
        if labels is not None:
            numbers = [str(each) for each in range(count)]
            fits = isinstance(labels, dict) and set(labels) == set(numbers)
            if not fits:
                raise _other(path, len(labels) if isinstance(labels, dict) else 0, count)
            return names_of([labels[each] for each in numbers], shown_path(path))
    path = files.find("*classes*.txt")
    if path is None or not files.path.is_dir():
        return []
    lines = files.text(path).splitlines()
    if len(lines) != count:
        raise _other(path, len(lines), count)
    return names_of(lines, shown_path(path))


def _other(path: Path, found: int, count: int) -> CheckpointError:
    return CheckpointError(
        f"{shown_path(path)} names {found} classes, but the model has {count}; give the names of "
        "its own, or take the file away"
    )
