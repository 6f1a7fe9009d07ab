"""Codecs: pictures to discrete codes and back. `CODECS` names every one."""

from collections.abc import Mapping
from typing import Any

from limner.codecs.fsq import FSQCodec, FSQConfig
from limner.parts import create

CODECS: dict[str, tuple[type[Any], type[Any]]] = {"fsq": (FSQConfig, FSQCodec)}


def create_codec(config: Mapping[str, Any]) -> Any:
    """Build the codec named by `config["name"]`; raises ConfigError for an unknown name or key."""
    return create("codec", CODECS, config)
