"""The VQGAN of taming-transformers: names and sizes, as DALL-E mini's detokenizer has them too."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from limner.convert.keys import KeyMap, table
from limner.errors import CheckpointError

if TYPE_CHECKING:
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


def decoder_config(
    tensors: Tensors,
    shown: str,
    *,
    pixels: str,
    epsilon: float,
    codebook: str = "embedding.weight",
    **more: Any,
) -> Any:
    """Return the TamingConfig of a decoder, read off its shapes; `more` are other settings of it.

    Of pictures it does not say the size: it is that of which the coarsest level has 16 cells a
    side, as all that were published have with five levels.
    """
    from limner.codecs.taming import TamingConfig

    def shape(name: str) -> tuple[int, ...]:
        entry = tensors.entries.get(name)
        if entry is None:
            raise CheckpointError(f"{shown} has no tensor {name}; give the weights of a VQGAN")
        return entry.shape

    names = list(tensors.entries)
    levels = 1 + max((int(m[1]) for n in names if (m := re.match(r"decoder\.up\.(\d+)\.", n))),
                     default=0)  # fmt: skip
    blocks = {m[1] for n in names if (m := re.match(r"decoder\.up\.0\.block\.(\d+)\.", n))}
    sees = {int(m[1]) for n in names if (m := re.match(r"decoder\.up\.(\d+)\.attn\.", n))}
    widths = [shape(f"decoder.up.{at}.block.0.conv1.weight")[0] for at in range(levels)]
    count, dimensions = shape(codebook)
    width = widths[0] if more.get("width") is None else more.pop("width")
    return TamingConfig(**{
        "size": 16 * 2 ** (levels - 1), "codebook": count, "dimensions": dimensions,
        "latent": shape("decoder.conv_in.weight")[1], "width": width,
        "multipliers": tuple(each // width for each in widths), "blocks": len(blocks) - 1,
        "attention": tuple(sorted(sees)), "pixels": pixels, "epsilon": epsilon, "encode": False,
        **more,
    })  # fmt: skip
