"""Public checkpoints that can be fetched by a name: what each is, how large, whose, and where.

Licences are as the pages named them when this table was made (November 2026); they bind whoever
uses the weights, so look there first. Bytes are those of the files that are fetched; where they are
not known for sure they are four for each parameter, and `exact` is false.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from limner.errors import UnknownModelError, did_you_mean, quote
from limner.files.folder import MANIFEST
from limner.files.places import data_folder

_CODEC_FILE = "codec.safetensors"
_CLIP_FILES = (
    *("config.json", "preprocessor_config.json", "vocab.json", "merges.txt"),
    *("tokenizer.json", "tokenizer_config.json", "model.safetensors"),
)
_PICKLE = ("pytorch_model.bin",)
_T5 = ("config.json", "spiece.model", "tokenizer.json", "model*.safetensors*")


@dataclass(frozen=True)
class Source:
    """Files of a repository of the Hub: `files` (patterns), laid into `folder` below the whole.

    Where none of `files` is one of weights, those of `instead` are fetched too.
    """

    repository: str
    files: tuple[str, ...]
    folder: str = ""
    instead: tuple[str, ...] = ()


@dataclass(frozen=True)
class PublicModel:
    """A public checkpoint; `parameters` in millions, `megabytes` to fetch.

    `place` is where its files are; `sources` those that can be fetched from the Hub, () where a
    person has to fetch them.
    """

    about: str
    family: str
    format: str
    parameters: int
    megabytes: int
    licence: str
    place: str
    sources: tuple[Source, ...] = ()
    commercial: bool = True
    exact: bool = False

    @property
    def memory(self) -> int:
        """Megabytes of memory that its weights take in fp32."""
        return self.parameters * 4

    def to_json(self) -> dict[str, Any]:
        """Return the fields as plain JSON values, and the memory; sources are repositories."""
        sources = [each.repository for each in self.sources]
        return asdict(self) | {"memory": self.memory, "sources": sources}


def _clip(about: str, repository: str, parameters: int, licence: str, **more: Any) -> PublicModel:
    more = {"format": "clip", "files": _CLIP_FILES, "instead": _PICKLE} | more
    form, files, instead = more.pop("format"), more.pop("files"), more.pop("instead")
    return PublicModel(
        about, "clip", form, parameters, parameters * 4, licence, f"hf:{repository}",
        (Source(repository, files, instead=instead),), **more,
    )  # fmt: skip


def _dalle_mini(name: str, parameters: int) -> PublicModel:
    flax = "flax_model.msgpack"
    return PublicModel(
        "draws 256 pixels from English texts", "dalle", "dalle-mini", parameters, parameters * 4,
        "Apache-2.0", f"hf:dalle-mini/{name} and hf:dalle-mini/vqgan_imagenet_f16_16384",
        (
            Source(f"dalle-mini/{name}", (flax, "config.json", "vocab.json", "merges.txt")),
            Source("dalle-mini/vqgan_imagenet_f16_16384", (flax, "config.json"), "vqgan"),
        ),
    )  # fmt: skip


def _llamagen(file: str, pixels: int) -> PublicModel:
    return PublicModel(
        f"draws {pixels} pixels from English texts", "dalle", "llamagen", 2070, 14_800,
        "MIT; Apache-2.0 (T5)", "hf:peizesun/llamagen_t2i and hf:google/flan-t5-xl",
        (
            Source("peizesun/llamagen_t2i", (file, "vq_ds16_t2i.pt")),
            Source("google/flan-t5-xl", _T5, "flan-t5-xl"),
        ),
    )  # fmt: skip


def _amused(name: str, pixels: int) -> PublicModel:
    return PublicModel(
        f"draws {pixels} pixels from English texts in 12 passes", "dalle", "amused", 803, 3212,
        "OpenRAIL++", f"hf:amused/{name}",
        (
            Source(
                f"amused/{name}",
                (
                    *("model_index.json", "*/config.json", "tokenizer/*"),
                    *("*/model.safetensors", "*/diffusion_pytorch_model.safetensors"),
                ),
            ),
        ),
    )  # fmt: skip


def _malevich(file: str) -> PublicModel:
    return PublicModel(
        "draws 256 pixels from Russian texts", "dalle", "ru-dalle", 1379, 2990,
        "Apache-2.0 (code); look at the pages of its weights",
        "hf:ai-forever/rudalle-Malevich and hf:shonenkov/rudalle-utils",
        (
            Source("ai-forever/rudalle-Malevich", (file,)),
            Source("shonenkov/rudalle-utils", ("bpe.model", "vqgan.gumbelf8-sber.model.ckpt")),
        ),
    )  # fmt: skip


def _var(depth: int, parameters: int) -> PublicModel:
    return PublicModel(
        "draws 256 pixels of one of ImageNet's 1000 classes", "dalle", "var", parameters,
        parameters * 4, "MIT; Apache-2.0 (names of classes)",
        "hf:FoundationVision/var, and config.json of hf:microsoft/resnet-50 in a folder names",
        (
            Source("FoundationVision/var", (f"var_d{depth}.pth", "vae_ch160v4096z32.pth")),
            # The names of the classes, which VAR's own files do not have.
            Source("microsoft/resnet-50", ("config.json",), "names"),
        ),
    )  # fmt: skip


def _karlo() -> PublicModel:
    name, weights = "kakaobrain/karlo-v1-alpha", "diffusion_pytorch_model"
    files = ("model_index.json", "*/*config.json", "tokenizer/*", "text_encoder/model.safetensors")
    eyes = ("image_encoder/config.json", "feature_extractor/*", "image_encoder/model.safetensors")
    return PublicModel(
        "draws 256 pixels from English texts or like a picture: an unCLIP, as DALL-E 2", "unclip",
        "karlo", 3727, 14_907, "CreativeML Open RAIL-M",
        f"hf:{name}, and the folders of pictures of hf:{name}-image-variations",
        (
            Source(name, (*files, f"*/{weights}.safetensors"),
                   instead=(f"*/{weights}.bin", "text_encoder/pytorch_model.bin")),
            Source(f"{name}-image-variations", eyes, instead=("image_encoder/pytorch_model.bin",)),
        ),
    )  # fmt: skip


PUBLIC: dict[str, PublicModel] = {
    "dalle-mini": _dalle_mini("dalle-mini", 514),
    "dalle-mega": _dalle_mini("dalle-mega", 2664),
    "llamagen-256": _llamagen("t2i_XL_stage1_256.pt", 256),
    "llamagen-512": _llamagen("t2i_XL_stage2_512.pt", 512),
    "amused-256": _amused("amused-256", 256),
    "amused-512": _amused("amused-512", 512),
    "mindall-e": PublicModel(
        "draws 256 pixels from English texts", "dalle", "kakao-mindalle", 1367, 5468,
        "CC-BY-NC-SA-4.0",
        "what 1.3B.tar.gz unpacks, linked in the README of github.com/kakaobrain/minDALL-E",
        commercial=False,
    ),
    "rudalle-malevich": _malevich("pytorch_model_v3.bin"),
    "var-d16": _var(16, 419),
    "var-d20": _var(20, 709),
    "var-d24": _var(24, 1142),
    "var-d30": _var(30, 2118),
    "infinity-125m": PublicModel(
        "draws 256 pixels from English texts, map after map", "dalle", "infinity", 1458, 12_300,
        "MIT; Apache-2.0 (T5)", "hf:FoundationVision/Infinity and hf:google/flan-t5-xl",
        (
            Source(
                "FoundationVision/Infinity", ("infinity_125M_256x256.pth", "infinity_vae_d16.pth")
            ),
            Source("google/flan-t5-xl", _T5, "flan-t5-xl"),
        ),
    ),
    "karlo": _karlo(),
    "clip-vit-b32": _clip(
        "OpenAI's CLIP, 224 pixels", "openai/clip-vit-base-patch32", 151, "MIT"
    ),
    "clip-vit-l14": _clip(
        "OpenAI's larger CLIP, 224 pixels", "openai/clip-vit-large-patch14", 428, "MIT"
    ),
    "open-clip-vit-b32": _clip(
        "open_clip's CLIP of LAION-2B, 224 pixels", "laion/CLIP-ViT-B-32-laion2B-s34B-b79K", 151,
        "MIT", format="open-clip", instead=("open_clip_pytorch_model.bin",),
        files=("open_clip_config.json", "open_clip_model.safetensors", *_CLIP_FILES[2:5]),
    ),
    "metaclip-b32": _clip(
        "Meta's CLIP, 224 pixels", "facebook/metaclip-b32-400m", 151, "CC-BY-NC-4.0",
        commercial=False, exact=True,
    ),
    "siglip-b16": _clip(
        "Google's SigLIP, 224 pixels", "google/siglip-base-patch16-224", 203, "Apache-2.0",
        files=(*_CLIP_FILES, "spiece.model"), exact=True,
    ),
    "siglip2-b16": _clip(
        "Google's SigLIP 2, of many languages, 224 pixels", "google/siglip2-base-patch16-224", 375,
        "Apache-2.0",
    ),
    "llamagen-vq": PublicModel(
        "a codec of 16384 codes, 16 pixels each", "", "llamagen", 72, 288, "MIT",
        "hf:FoundationVision/LlamaGen",
        (Source("FoundationVision/LlamaGen", ("vq_ds16_c2i.pt",)),),
    ),
    "openai-dvae": PublicModel(
        "a codec of 8192 codes, 8 pixels each", "", "openai-dvae", 98, 392, "modified MIT",
        "encoder.pkl and decoder.pkl, linked in the README of github.com/openai/DALL-E",
    ),
    "vqgan-f16-16384": PublicModel(
        "a codec of 16384 codes, 16 pixels each", "", "taming-vqgan", 76, 304, "MIT",
        "last.ckpt, linked in the README of github.com/CompVis/taming-transformers",
    ),
}  # fmt: skip


def find_public(name: str) -> PublicModel:
    """Return the public checkpoint of a name; UnknownModelError for none."""
    if name not in PUBLIC:
        near = did_you_mean(name, PUBLIC)
        raise UnknownModelError(
            f"no public model is called {quote(name)}{near or '; ' + ', '.join(PUBLIC)}",
            param="model",
        )
    return PUBLIC[name]


def place_of(name: str) -> Path:
    """Return where a public checkpoint lies, or would lie, on this machine."""
    return data_folder() / "models" / name


def is_pulled(name: str) -> bool:
    """Say whether a public checkpoint is on this machine, converted."""
    if name not in PUBLIC:
        return False
    folder = place_of(name)
    return (folder / MANIFEST).is_file() or (folder / _CODEC_FILE).is_file()


def pulled() -> list[str]:
    """Return the names of the public checkpoints on this machine."""
    return [name for name in PUBLIC if is_pulled(name)]


def advice(name: str) -> str:
    """Return what to know of a public checkpoint that is not here, and how to get it."""
    model = find_public(name)
    limits = "" if model.commercial else ", not for commercial use"
    return (
        f"{quote(name)} is not on this machine: {model.parameters} M parameters, "
        f"{model.megabytes} MB, licence {model.licence}{limits}; "
        f"limner models pull {name} gets it; without network copy its files ({model.place}) to a "
        "folder, and add --from FOLDER"
    )
