"""Codecs: pictures to discrete codes and back. `CODECS` names every one."""

from dataclasses import fields
from typing import Any

from torch import nn

from limner.codecs.fsq import FSQCodec, FSQConfig
from limner.errors import ConfigError

CODECS: dict[str, tuple[type[Any], type[nn.Module]]] = {"fsq": (FSQConfig, FSQCodec)}


def create_codec(config: dict[str, Any]) -> Any:
    """Build the codec named by `config["name"]`; the other keys are its config's fields.

    Raises ConfigError for an unknown name or key.
    """
    values = dict(config)
    name = values.pop("name", None)
    if name not in CODECS:
        raise ConfigError(f"unknown codec {name!r}; choose one of {', '.join(CODECS)}")
    config_type, codec_type = CODECS[name]
    known = {field.name for field in fields(config_type)}
    if unknown := sorted(set(values) - known):
        raise ConfigError(
            f"codec {name!r} has no setting {unknown[0]!r}; its settings are {', '.join(sorted(known))}"
        )
    frozen = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
    return codec_type(config_type(**frozen))
