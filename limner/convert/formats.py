"""The formats that can be imported: one file each in this folder, and one line in `FORMATS`.

A format's module has `looks_like(files)`, whether files are of it, judged by names and first bytes,
and `plan(files)`, which opens them and says what will be written (`Plan`).
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, cast

from limner.convert.keys import Weight
from limner.errors import CheckpointError, UsageError, did_you_mean, quote

if TYPE_CHECKING:
    from limner.convert.files import Files

UNSTATED = "not stated by its files"


@dataclass(frozen=True)
class Plan:
    """What an import will write: a model of a `family`, or a codec alone where that is "".

    `tables` are those of the family, or the one table `codec`; `weights` are by our names, which of
    a model begin with its part's, as "codec.". `text_length` and `tokenizer` (JSON) are of models
    that read text.
    """

    name: str
    family: str
    size: int
    tables: Mapping[str, Mapping[str, Any]]
    weights: Mapping[str, Weight]
    card: str
    text_length: int = 0
    tokenizer: str = ""
    licence: str = UNSTATED
    notes: tuple[str, ...] = ()


class Reader(Protocol):
    """What a format's module has."""

    def looks_like(self, files: Files) -> bool:
        """Say whether files are of this format."""
        ...

    def plan(self, files: Files) -> Plan:
        """Open files and return what will be written; CheckpointError for what does not fit."""
        ...


@dataclass(frozen=True)
class Format:
    """What a format is, the files that a repository of it has (patterns), and its module."""

    about: str
    files: tuple[str, ...]
    module: str

    def reader(self) -> Reader:
        """Return the module."""
        return cast("Reader", importlib.import_module(f"limner.convert.{self.module}"))


FORMATS = {
    "openai-dvae": Format(
        "the discrete VAE of OpenAI's DALL-E (PyPI dall-e): encoder and decoder",
        ("encoder.*", "decoder.*"),
        "openai_dvae",
    ),
    "taming-vqgan": Format(
        "a VQGAN of taming-transformers: f16, or Gumbel f8",
        ("*.ckpt", "*model.safetensors"),
        "taming",
    ),
    "dalle-pytorch": Format(
        "a checkpoint of DALLE-pytorch, with its tokenizer.json beside it; or its DiscreteVAE",
        ("*.pt", "*tokenizer*.json"),
        "dalle_pytorch",
    ),
    "min-dalle": Format(
        "DALL-E mini or mega in min-dalle's torch files",
        ("encoder.pt", "decoder.pt", "detoker.pt", "vocab.json", "merges.txt"),
        "min_dalle",
    ),
    "min-dalle-mini": Format(
        "DALL-E mini where min-dalle's files of mega lie beside it",
        ("encoder_mini.pt", "decoder_mini.pt", "detoker.pt", "vocab_mini.json", "merges_mini.txt"),
        "min_dalle_mini",
    ),
    "dalle-mini": Format(
        "DALL-E mini or mega as published, in Flax, with its VQGAN in a folder below",
        ("*flax_model.msgpack", "*config.json", "*vocab.json", "*merges.txt"),
        "dalle_mini",
    ),
    "clip": Format(
        "a CLIP or a SigLIP in the files of transformers",
        (
            *("*config.json", "model.safetensors", "pytorch_model.bin", "vocab.json"),
            *("merges.txt", "tokenizer.json", "spiece.model"),
        ),
        "transformers_clip",
    ),
    "open-clip": Format(
        "a CLIP of open_clip, with its open_clip_config.json",
        (
            *("open_clip_config.json", "open_clip_model.safetensors", "vocab.json", "merges.txt"),
            *("open_clip_pytorch_model.bin", "tokenizer.json"),
        ),
        "open_clip",
    ),
    "openai-clip": Format(
        "a CLIP as OpenAI published it (ViT-B-32.pt), with its tokenizer beside it",
        ("*.pt", "*.txt.gz", "vocab.json", "merges.txt", "tokenizer.json"),
        "openai_clip",
    ),
    "llamagen": Format(
        "a text-to-image decoder of LlamaGen with its tokenizer and T5, or its tokenizer alone",
        (
            *("*t2i*.pt", "vq_*.pt", "*flan-t5-xl/*.json", "*flan-t5-xl/*.safetensors"),
            "*flan-t5-xl/spiece.model",
        ),
        "llamagen",
    ),
    "kakao-mindalle": Format(
        "minDALL-E of Kakao Brain: its two checkpoints, with its tokenizer beside them",
        (
            "stage1_last.ckpt",
            "stage2_last.ckpt",
            "config.yaml",
            "*bpe-16k-vocab.json",
            "*bpe-16k-merges.txt",
        ),
        "kakao_mindalle",
    ),
    "ru-dalle": Format(
        "a ruDALL-E, as Malevich, with its VQGAN and its tokenizer beside it",
        (
            *("pytorch_model*.bin", "pytorch_model*.safetensors", "*gumbelf8*.ckpt"),
            "bpe.model",
        ),
        "rudalle",
    ),
    "var": Format(
        "a VAR of ImageNet's classes with its VQ-VAE, or its VQ-VAE alone",
        ("var_d*.pth", "vae_ch*.pth", "*config.json", "*id2label*.json", "*classes*.txt"),
        "var",
    ),
    "infinity": Format(
        "an Infinity of 125 M parameters with its bitwise VAE and T5, or its VAE alone",
        (
            *("infinity_125M*.pth", "infinity_vae_d16.pth", "*flan-t5-xl/*.json"),
            *("*flan-t5-xl/*.safetensors", "*flan-t5-xl/spiece.model"),
        ),
        "infinity",
    ),
    "amused": Format(
        "an aMUSEd in the folders of diffusers",
        (
            *("model_index.json", "*/config.json", "*/*_config.json", "*/vocab.json"),
            *("*/merges.txt", "*/model.safetensors", "*/diffusion_pytorch_model.safetensors"),
        ),
        "amused",
    ),
    "karlo": Format(
        "Karlo's unCLIP, or its image variations, in the folders of diffusers",
        (
            *("model_index.json", "*/config.json", "*/*_config.json", "*/vocab.json"),
            *("*/merges.txt", "*/model.safetensors", "*/diffusion_pytorch_model.safetensors"),
            *("*/pytorch_model.bin", "*/diffusion_pytorch_model.bin"),
        ),
        "karlo",
    ),
}


def find_format(name: str) -> Format:
    """Return the format that has a name; UsageError for none."""
    if name not in FORMATS:
        raise UsageError(
            f"unknown format {quote(name)}{did_you_mean(name, FORMATS)}; the formats are "
            f"{', '.join(FORMATS)}",
            param="format",
        )
    return FORMATS[name]


def recognise(files: Files) -> str:
    """Return the name of the format that files are of; CheckpointError for none, or for several."""
    fitting = [name for name, each in FORMATS.items() if each.reader().looks_like(files)]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise CheckpointError(
            f"{files.shown} may be {' or '.join(fitting)}; say which by --as, or format="
        )
    held = ", ".join(quote(name, 40) for name in files.names[:5]) or "no file"
    raise CheckpointError(
        f"{files.shown} is of no format that limner knows ({', '.join(FORMATS)}); it has {held}"
    )
