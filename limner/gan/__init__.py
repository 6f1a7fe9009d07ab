"""GANs: text and noise to a picture, or the latent of one, at once, and what judges it.

`GENERATORS` and `DISCRIMINATORS` name every one.
"""

from collections.abc import Mapping
from typing import Any

from limner.gan.cells import CellsConfig, CellsGenerator
from limner.gan.discriminator import (
    Discriminator,
    FrozenConfig,
    FrozenDiscriminator,
    ResidualConfig,
    ResidualDiscriminator,
    StridedConfig,
    StridedDiscriminator,
)
from limner.gan.generator import (
    Generator,
    ModulatedConfig,
    ModulatedGenerator,
    TransposedConfig,
    TransposedGenerator,
)
from limner.parts import create

GENERATORS: dict[str, tuple[type[Any], type[Any]]] = {
    "dcgan": (TransposedConfig, TransposedGenerator),
    "modulated": (ModulatedConfig, ModulatedGenerator),
    "cells": (CellsConfig, CellsGenerator),
}
DISCRIMINATORS: dict[str, tuple[type[Any], type[Any]]] = {
    "dcgan": (StridedConfig, StridedDiscriminator),
    "residual": (ResidualConfig, ResidualDiscriminator),
    "clip": (FrozenConfig, FrozenDiscriminator),
}


def create_generator(config: Mapping[str, Any]) -> Generator:
    """Build the generator named by `config["name"]`; ConfigError for an unknown name or key."""
    return create("generator", GENERATORS, config)


def create_discriminator(config: Mapping[str, Any]) -> Discriminator:
    """Build the discriminator named by `config["name"]`; ConfigError for an unknown name or key."""
    return create("discriminator", DISCRIMINATORS, config)
