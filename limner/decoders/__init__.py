"""Decoders: an image embedding, text or both to a picture; upsamplers: a picture to a larger one.

`DECODERS` and `UPSAMPLERS` name every one; `IMPORTED` and `IMPORTED_UPSAMPLERS` are those in the
exact architecture of a published model, which come from its weights (`limner.convert`).
"""

from collections.abc import Mapping
from typing import Any

from limner.decoders.base import DecoderBase
from limner.decoders.cells import CellsConfig, CellsDecoder
from limner.decoders.karlo import (
    KarloDecoder,
    KarloDecoderConfig,
    KarloUpsampler,
    KarloUpsamplerConfig,
)
from limner.decoders.unet import UNet, UNetConfig
from limner.decoders.upsample import (
    ConvolutionUpsampler,
    ConvolutionUpsamplerConfig,
    DiffusionUpsampler,
    DiffusionUpsamplerConfig,
    Upsampler,
)
from limner.parts import create

DECODERS: dict[str, tuple[type[Any], type[Any]]] = {
    "unet": (UNetConfig, UNet),
    "cells": (CellsConfig, CellsDecoder),
}
UPSAMPLERS: dict[str, tuple[type[Any], type[Any]]] = {
    "convolution": (ConvolutionUpsamplerConfig, ConvolutionUpsampler),
    "diffusion": (DiffusionUpsamplerConfig, DiffusionUpsampler),
}
IMPORTED: dict[str, tuple[type[Any], type[Any]]] = {"karlo": (KarloDecoderConfig, KarloDecoder)}
IMPORTED_UPSAMPLERS: dict[str, tuple[type[Any], type[Any]]] = {
    "karlo": (KarloUpsamplerConfig, KarloUpsampler),
}


def create_decoder(config: Mapping[str, Any]) -> DecoderBase:
    """Build the decoder named by `config["name"]`; ConfigError for an unknown name or key."""
    return create("decoder", DECODERS | IMPORTED, config)


def create_upsampler(config: Mapping[str, Any]) -> Upsampler:
    """Build the upsampler named by `config["name"]`; ConfigError for an unknown name or key."""
    return create("upsampler", UPSAMPLERS | IMPORTED_UPSAMPLERS, config)
