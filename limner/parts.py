"""Named parts: a table of names and one way to build any of them from plain values."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, get_args, get_origin, get_type_hints

from limner.errors import ConfigError, did_you_mean, quote

Parts = Mapping[str, tuple[type[Any], type[Any]]]


def create(kind: str, parts: Parts, config: Mapping[str, Any]) -> Any:
    """Build the part that `config["name"]` names in `parts`; other keys are its config's fields.

    `parts` maps a name to (config dataclass, part). Raises ConfigError for an unknown name or key,
    a missing one, or a value of another type or out of range.
    """
    settled = settle(kind, parts, config)
    return parts[config["name"]][1](settled)


def settle(kind: str, parts: Parts, config: Mapping[str, Any]) -> Any:
    """Return the checked config dataclass of a part, without building it; raises as `create`."""
    name = config.get("name")
    if not isinstance(name, str) or name not in parts:
        hint = did_you_mean(str(name), list(parts))
        raise ConfigError(
            f"unknown {kind} {quote(name)}{hint}; choose one of {', '.join(parts)}", param="name"
        )
    config_type = parts[name][0]
    types = get_type_hints(config_type)
    known = [field.name for field in fields(config_type)]
    values = {}
    for key, value in config.items():
        if key == "name":
            continue
        if key not in known:
            hint = did_you_mean(key, known)
            raise ConfigError(f"{kind} {name!r} has no setting {quote(key)}{hint}", param=key)
        values[key] = _checked(value, types[key], f"{kind} {name!r}: {key}")
    try:
        return config_type(**values)
    except TypeError as error:
        raise ConfigError(f"{kind} {name!r}: {error}") from None
    except ConfigError as error:
        raise ConfigError(f"{kind} {name!r}: {error}") from None


def _checked(value: Any, wanted: Any, where: str) -> Any:
    """Return a value as the dataclass holds it: lists as tuples, whole numbers as floats."""
    if get_origin(wanted) is tuple:
        item, *rest = get_args(wanted)
        length = None if rest[-1:] == [...] else 1 + len(rest)
        fits = isinstance(value, list | tuple) and length in (None, len(value))
        if fits and get_origin(item) is tuple:
            return tuple(_checked(each, item, where) for each in value)
        if not fits or not all(_is(each, item) for each in value):
            count = "" if length is None else f"{length} "
            kind = "list" if get_origin(item) is tuple else item.__name__
            raise ConfigError(f"{where} is {quote(value)}; expected a list of {count}{kind}")
        return tuple(value)
    if get_origin(wanted) is dict:
        wanted = dict
    if wanted is float and _is(value, int):
        return float(value)
    if not _is(value, wanted):
        raise ConfigError(
            f"{where} is {quote(value)}, {a_type(type(value))}; expected {a_type(wanted)}"
        )
    return value


def a_type(kind: type[Any]) -> str:
    """Return a type's name with its article, as a config file calls it: "an int", "a table"."""
    name = "table" if kind is dict else kind.__name__
    return f"an {name}" if name[0] in "aeiou" else f"a {name}"


def _is(value: Any, kind: type[Any]) -> bool:
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
