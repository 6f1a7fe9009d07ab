"""The discrete VAE of OpenAI's DALL-E, as PyPI `dall-e` 0.1 has it (github.com/openai/DALL-E).

Two files, `encoder` and `decoder`, with any suffix: state dicts (by torch.save or as safetensors),
or whole modules, as `encoder.pkl` and `decoder.pkl` were published. A pickled module asks for the
classes of `dall_e` and of torch.nn: in their place stand classes that do nothing and keep the
weights, so that no code of the package is needed or run. A pickle of before torch 1.6 that holds a
whole module is refused: its sources are among its records.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from limner.convert.formats import Plan
from limner.convert.keys import Weight, collect, table
from limner.errors import CheckpointError
from limner.files.folder import shown_path

if TYPE_CHECKING:
    from collections.abc import Mapping

    from limner.convert.files import Files
    from limner.convert.tensors import Tensors

NAME = "openai-dvae"
SIZE = 256  # pixels a side: the network takes others, and was trained on these
ENCODER = ("encoder.pkl", "encoder.pt", "encoder.pth", "encoder.bin", "encoder.safetensors")
DECODER = tuple(name.replace("encoder", "decoder") for name in ENCODER)
KEYS = table(
    ("blocks.input.w", "input.weight"),
    ("blocks.input.b", "input.bias"),
    ("blocks.group_{g+1}.block_{b+1}.id_path.w", "groups.{g}.{b}.skip.weight"),
    ("blocks.group_{g+1}.block_{b+1}.id_path.b", "groups.{g}.{b}.skip.bias"),
    ("blocks.group_{g+1}.block_{b+1}.res_path.conv_{k+1}.w", "groups.{g}.{b}.path.{k}.weight"),
    ("blocks.group_{g+1}.block_{b+1}.res_path.conv_{k+1}.b", "groups.{g}.{b}.path.{k}.bias"),
    ("blocks.output.conv.w", "output.weight"),
    ("blocks.output.conv.b", "output.bias"),
)
_CARD = """# The discrete VAE of OpenAI's DALL-E

Imported from the layout of PyPI `dall-e`: a codec of {vocabulary} codes, 8 x 8 pixels each. It
draws nothing alone: give this folder as `codec_from` to train a prior, or to `limner data encode
--codec`. OpenAI published its weights under a modified MIT licence.
"""


def looks_like(files: Files) -> bool:
    """Say whether there are an encoder and a decoder and no tokenizer, which DALL-E mini has."""
    has_both = files.find(*ENCODER) is not None and files.find(*DECODER) is not None
    return has_both and files.find("vocab.json", "vocab_mini.json", "config.json") is None


def plan(files: Files) -> Plan:
    """Return the codec that the two files hold; CheckpointError for what does not fit."""
    paths = {"encoder": files.need(*ENCODER), "decoder": files.need(*DECODER)}
    held = {part: files.open(path) for part, path in paths.items()}
    shown = {part: shown_path(path) for part, path in paths.items()}
    settings, weights = codec_of(held, shown)
    card = _CARD.format(vocabulary=settings["vocabulary"])
    return Plan(NAME, "", settings["size"], {"codec": settings}, weights, card)


def codec_of(
    held: Mapping[str, Tensors], shown: Mapping[str, str]
) -> tuple[dict[str, Any], dict[str, Weight]]:
    """Return the settings and the weights of the codec of an `encoder` and a `decoder`."""
    import torch

    from limner.codecs.openai_dvae import OpenAIDVAECodec

    # 1. Sizes are read off the shapes of the first and last layers.
    config = _sizes(held["encoder"], held["decoder"], shown)
    with torch.device("meta"):
        outline = OpenAIDVAECodec(config)
    # 2. Every tensor has its place in the codec of these sizes.
    weights: dict[str, Weight] = {}
    for part, tensors in held.items():
        found = collect(tensors, KEYS, getattr(outline, part).state_dict(), shown[part])
        weights |= {f"{part}.{name}": each for name, each in found.items()}
    return {"name": "openai_dvae", **vars(config)}, weights


def _sizes(encoder: Tensors, decoder: Tensors, shown: Mapping[str, str]) -> Any:
    from limner.codecs.openai_dvae import OpenAIDVAEConfig

    def shape(tensors: Tensors, name: str, part: str) -> tuple[int, ...]:
        entry = tensors.entries.get(name)
        if entry is None or len(entry.shape) != 4:
            raise CheckpointError(
                f"{shown[part]} has no tensor {name} of four axes; give the state dict of the "
                f"{part} of PyPI dall-e"
            )
        return entry.shape

    named = [name for name in encoder.entries if name.startswith("blocks.group_1.block_")]
    blocks = len({name.split(".")[2] for name in named})
    vocabulary, *_ = shape(encoder, "blocks.output.conv.w", "encoder")
    width, *_ = shape(encoder, "blocks.input.w", "encoder")
    start, *_ = shape(decoder, "blocks.input.w", "decoder")
    return OpenAIDVAEConfig(SIZE, vocabulary, width, start, max(1, blocks))
