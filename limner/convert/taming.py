"""The VQGAN of taming-transformers (github.com/CompVis/taming-transformers), as a codec.

A checkpoint of Lightning (`last.ckpt`, with `state_dict`), or a state dict alone; f16 of 1024 or
16384 codes, and Gumbel f8. Sizes are read off the shapes, and what trained it (`loss.`) is left.
The detokenizer of DALL-E mini has the same names and sizes, of its decoder.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from limner.convert.formats import Plan
from limner.convert.keys import KeyMap, Shapes, Weight, collect, our_shapes, table
from limner.convert.tensors import Under
from limner.errors import CheckpointError
from limner.files.folder import shown_path

if TYPE_CHECKING:
    from limner.convert.files import Files
    from limner.convert.tensors import Tensors

_BLOCK = {"norm1": "norm1", "conv1": "conv1", "norm2": "norm2", "conv2": "conv2",
          "nin_shortcut": "skip"}  # fmt: skip
_SEES = {"norm": "norm", "q": "query", "k": "key", "v": "value", "proj_out": "out"}


def side_rows(side: str, levels: str, change: str, prefix: str = "") -> list[tuple[str, str]]:
    """Return rows of names without their ends, of an encoder (`down`) or a decoder (`up`)."""
    at, ours = f"{prefix}{side}", side
    rows = [(f"{at}.conv_in", f"{ours}.input"), (f"{at}.conv_out", f"{ours}.output")]
    rows += [(f"{at}.norm_out", f"{ours}.norm")]
    for theirs, place in (("mid.block_1", "middle.0"), ("mid.block_2", "middle.2")):
        rows += [(f"{at}.{theirs}.{a}", f"{ours}.{place}.{b}") for a, b in _BLOCK.items()]
    rows += [(f"{at}.mid.attn_1.{a}", f"{ours}.middle.1.{b}") for a, b in _SEES.items()]
    level = f"{at}.{levels}.{{i}}"
    rows += [
        (f"{level}.block.{{j}}.{a}", f"{ours}.levels.{{i}}.blocks.{{j}}.{b}")
        for a, b in _BLOCK.items()
    ]
    rows += [
        (f"{level}.attn.{{j}}.{a}", f"{ours}.levels.{{i}}.attentions.{{j}}.{b}")
        for a, b in _SEES.items()
    ]
    return [*rows, (f"{level}.{change}.conv", f"{ours}.levels.{{i}}.resample")]


def _keys(*rows: tuple[str, str], codebook: str) -> KeyMap:
    both = [(f"{a}{end}", f"{b}{end}") for a, b in rows for end in (".weight", ".bias")]
    return table((codebook, "codebook.weight"), *both)


DECODER_KEYS = _keys(
    *side_rows("decoder", "up", "upsample"),
    ("post_quant_conv", "decoder.embedded"),
    codebook="embedding.weight",
)


_BOTH = (
    *side_rows("encoder", "down", "downsample"),
    *side_rows("decoder", "up", "upsample"),
    ("quant_conv", "encoder.quantized"),
    ("post_quant_conv", "decoder.embedded"),
)
KEYS = _keys(*_BOTH, codebook="quantize.embedding.weight")
GUMBEL_KEYS = _keys(*_BOTH, ("quantize.proj", "encoder.logits"), codebook="quantize.embed.weight")
_CARD = """# A VQGAN of taming-transformers

Imported from {what}: a codec of {codes} codes, {cell} x {cell} pixels each. It draws nothing alone:
give this folder as `codec_from` to train a prior, or to `limner data encode --codec`.
"""


def looks_like(files: Files) -> bool:
    """Say whether the only file of weights has the tensors of a VQGAN."""
    path = files.single()
    return path is not None and vqgan_in(files.open(path)) is not None


def plan(files: Files) -> Plan:
    """Return the codec that the file holds; CheckpointError for what does not fit."""
    path = files.single()
    found = None if path is None else vqgan_in(files.open(path))
    if path is None or found is None:
        raise CheckpointError(
            f"{files.shown} is not one file of weights with quantize.embedding.weight or "
            "quantize.embed.weight; give the checkpoint of a VQGAN"
        )
    tensors, keys = found
    shown = shown_path(path)
    config = taming_config(
        Shapes(our_shapes(tensors, keys), shown, keys), pixels="signed", epsilon=1e-6
    )
    weights = taming_weights(config, tensors, keys, shown)
    card = _CARD.format(what=path.name, codes=config.codebook, cell=config.cell)
    return Plan(
        "vqgan", "", config.size, {"codec": {"name": "taming", **vars(config)}}, weights, card
    )  # fmt: skip


def vqgan_in(tensors: Tensors) -> tuple[Tensors, KeyMap] | None:
    """Return the tensors of a VQGAN and their table; None where there are none."""
    for held in (tensors, Under(tensors, "state_dict/")):
        residual = any(name.startswith("quantize.quant_resi.") for name in held.entries)
        if "decoder.up.0.block.0.norm1.weight" in held.entries and not residual:
            if "quantize.embedding.weight" in held.entries:
                return held, KEYS
            if "quantize.embed.weight" in held.entries:
                return held, GUMBEL_KEYS
    return None


def taming_config(shapes: Shapes, *, pixels: str, epsilon: float) -> Any:
    """Return the TamingConfig of a VQGAN, or of its decoder alone, read off its shapes.

    They do not say the size of its pictures: it is that of 16 cells a side, or of 32 where a cell
    has 8 pixels, as all that were published have. Raises CheckpointError for other networks.
    """
    from limner.codecs.taming import TamingConfig

    sizes = network_sizes(shapes)
    codebook, dimensions = shapes.of("codebook.weight", 2)
    cell = 2 ** (len(sizes["multipliers"]) - 1)
    return TamingConfig(
        size=cell * (32 if cell == 8 else 16), codebook=codebook, dimensions=dimensions,
        quantizer="gumbel" if "encoder.logits.weight" in shapes.held else "nearest",
        pixels=pixels, epsilon=epsilon, encode="encoder.input.weight" in shapes.held, **sizes,
    )  # fmt: skip


def network_sizes(shapes: Shapes) -> dict[str, Any]:
    """Return the sizes of both sides' networks, as TamingConfig has them."""
    # Levels from fine to coarse, each with a width that the finest one divides.
    levels = shapes.numbers("decoder.levels.")
    widths = [
        shapes.of(f"decoder.levels.{at}.blocks.0.conv1.weight", 4)[0] for at in range(len(levels))
    ]
    width = shapes.held.get("encoder.input.weight", tuple(widths[:1]) or (1,))[0]
    return {
        "latent": shapes.of("decoder.input.weight", 4)[1], "width": width,
        "multipliers": tuple(each // width for each in widths),
        "blocks": shapes.count("decoder.levels.0.blocks.") - 1,
        "attention": tuple(at for at in levels if shapes.count(f"decoder.levels.{at}.attentions.")),
    }  # fmt: skip


def taming_weights(
    config: Any,
    tensors: Tensors,
    keys: KeyMap,
    shown: str,
    *,
    ignored: tuple[str, ...] = (r"loss\..*",),
) -> dict[str, Weight]:
    """Return the weights of a VQGAN, by the names of the codec."""
    import torch

    from limner.codecs.taming import TamingCodec

    with torch.device("meta"):
        wanted = TamingCodec(config).state_dict()
    return collect(tensors, keys, wanted, shown, ignored=ignored)
