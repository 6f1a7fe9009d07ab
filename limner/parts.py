"""Named parts: a table of names and one way to build any of them from plain values."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from limner.errors import ConfigError, did_you_mean

Parts = Mapping[str, tuple[type[Any], type[Any]]]


def create(kind: str, parts: Parts, config: Mapping[str, Any]) -> Any:
    """Build the part that `config["name"]` names in `parts`; other keys are its config's fields.

    `parts` maps a name to (config dataclass, part). Raises ConfigError for an unknown name or key,
    or a missing one.
    """
    values = {key: tuple(v) if isinstance(v, list) else v for key, v in config.items()}
    name = values.pop("name", None)
    if name not in parts:
        hint = did_you_mean(str(name), list(parts))
        raise ConfigError(f"unknown {kind} {name!r}{hint}; choose one of {', '.join(parts)}")
    config_type, part_type = parts[name]
    known = [field.name for field in fields(config_type)]
    for key in values:
        if key not in known:
            hint = did_you_mean(key, known)
            raise ConfigError(f"{kind} {name!r} has no setting {key!r}{hint}")
    try:
        return part_type(config_type(**values))
    except TypeError as error:
        raise ConfigError(f"{kind} {name!r}: {error}") from None
