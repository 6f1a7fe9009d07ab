"""Codecs: pictures to codes and back. `CODECS` names those that are trained here.

`CONTINUOUS` are those without codes, so that whatever takes its codec from `CODECS`, as every prior
over tokens does, never meets one that has none. `IMPORTED` have codes, and the exact architecture
of a published model: they come from its weights (`limner.convert`), and are drawn with alone.
"""

from collections.abc import Mapping
from typing import Any

from limner.codecs.base import CodecBase
from limner.codecs.bits import BitCodec, BitCodecConfig
from limner.codecs.dvae import DVAECodec, DVAEConfig
from limner.codecs.fsq import FSQCodec, FSQConfig
from limner.codecs.kl import KLCodec, KLConfig
from limner.codecs.lucid import LucidDVAECodec, LucidDVAEConfig
from limner.codecs.multiscale import MultiscaleCodec, MultiscaleConfig
from limner.codecs.openai_dvae import OpenAIDVAECodec, OpenAIDVAEConfig
from limner.codecs.pyramid import PyramidCodec, PyramidConfig
from limner.codecs.taming import TamingCodec, TamingConfig
from limner.codecs.var import VARCodec, VARCodecConfig
from limner.codecs.vqvae import VQGANCodec, VQGANConfig, VQVAECodec, VQVAEConfig
from limner.codecs.vqvae2 import VQVAE2Codec, VQVAE2Config
from limner.parts import create

CODECS: dict[str, tuple[type[Any], type[Any]]] = {
    "fsq": (FSQConfig, FSQCodec),
    "dvae": (DVAEConfig, DVAECodec),
    "multiscale": (MultiscaleConfig, MultiscaleCodec),
    "pyramid": (PyramidConfig, PyramidCodec),
    "vqvae": (VQVAEConfig, VQVAECodec),
    "vqvae2": (VQVAE2Config, VQVAE2Codec),
    "vqgan": (VQGANConfig, VQGANCodec),
}
CONTINUOUS: dict[str, tuple[type[Any], type[Any]]] = {"kl": (KLConfig, KLCodec)}

IMPORTED: dict[str, tuple[type[Any], type[Any]]] = {
    "bits": (BitCodecConfig, BitCodec),
    "lucid_dvae": (LucidDVAEConfig, LucidDVAECodec),
    "openai_dvae": (OpenAIDVAEConfig, OpenAIDVAECodec),
    "taming": (TamingConfig, TamingCodec),
    "var": (VARCodecConfig, VARCodec),
}


def create_codec(config: Mapping[str, Any]) -> CodecBase:
    """Build the codec named by `config["name"]`; raises ConfigError for an unknown name or key."""
    return create("codec", CODECS | IMPORTED, config)


def autoencoders() -> dict[str, tuple[type[Any], type[Any]]]:
    """Return the two tables of what is trained here as one."""
    return CODECS | CONTINUOUS


def create_autoencoder(config: Mapping[str, Any]) -> CodecBase:
    """Build a codec of any table; raises ConfigError for an unknown name or key."""
    return create("codec", autoencoders() | IMPORTED, config)
