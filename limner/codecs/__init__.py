"""Codecs: pictures to codes and back. `CODECS` names every one, `CONTINUOUS` those without codes.

They are two tables, so that whatever takes its codec from `CODECS`, as every prior over tokens
does, never meets one that has none.
"""

from collections.abc import Mapping
from typing import Any

from limner.codecs.base import CodecBase
from limner.codecs.dvae import DVAECodec, DVAEConfig
from limner.codecs.fsq import FSQCodec, FSQConfig
from limner.codecs.kl import KLCodec, KLConfig
from limner.codecs.multiscale import MultiscaleCodec, MultiscaleConfig
from limner.codecs.pyramid import PyramidCodec, PyramidConfig
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


def create_codec(config: Mapping[str, Any]) -> CodecBase:
    """Build the codec named by `config["name"]`; raises ConfigError for an unknown name or key."""
    return create("codec", CODECS, config)


def autoencoders() -> dict[str, tuple[type[Any], type[Any]]]:
    """Return both tables as one."""
    return CODECS | CONTINUOUS


def create_autoencoder(config: Mapping[str, Any]) -> CodecBase:
    """Build a codec of either table; raises ConfigError for an unknown name or key."""
    return create("codec", autoencoders(), config)
