"""Named parts: a table of names and one way to build any of them from plain values.

A part of another package has a name too: that of its entry point in the group `limner.codecs`,
`limner.priors` and so on, or `module:Class`. It is a class whose `__init__` takes one argument,
annotated with the dataclass of its settings. A model's folder may hold such a name, and never makes
limner import a module that nobody asked for: see `find_part`.
"""

import importlib
import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any, get_args, get_origin, get_type_hints

from limner.errors import ConfigError, did_you_mean, quote, shorten

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

Parts = Mapping[str, tuple[type[Any], type[Any]]]

TRUSTED = "LIMNER_PARTS"  # the variable with the modules, commas between, that a model may import
_CLASS = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")
_METHODS = {"codec": ("encode", "decode"), "prior": ("loss", "stream")}


def create(kind: str, parts: Parts, config: Mapping[str, Any]) -> Any:
    """Build the part that `config["name"]` names in `parts`; other keys are its config's fields.

    `parts` maps a name to (config dataclass, part). Raises ConfigError for an unknown name or key,
    a missing one, or a value of another type or out of range.
    """
    parsed = parse_config(kind, parts, config)
    return find_part(kind, parts, config["name"])[1](parsed)


def parse_config(kind: str, parts: Parts, config: Mapping[str, Any]) -> Any:
    """Return the checked config dataclass of a part, without building it; raises as `create`."""
    name = config.get("name")
    config_type = find_part(kind, parts, name)[0]
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


def find_part(kind: str, parts: Parts, name: object) -> tuple[type[Any], type[Any]]:
    """Return the config dataclass and the class of the part that has a name.

    Names of `parts` come first, then entry points of installed packages, then `module:Class`, whose
    module must have been imported already, or stand in the variable LIMNER_PARTS. Raises
    ConfigError for an unknown name, and for what is no part.
    """
    found = find_object(kind, parts, name)
    return parts[name] if name in parts else _part_of(kind, found, str(name))  # type: ignore[index]


def find_object(kind: str, known: Mapping[str, Any], name: object) -> Any:
    """Return what has a name: in `known`, as an entry point, or as `module:Name`; as `find_part`.

    What another package gives is returned as it is, unchecked.
    """
    if isinstance(name, str) and name in known:
        return known[name]
    if isinstance(name, str) and _CLASS.fullmatch(name):
        return _class_of(kind, name)
    others = {each.name: each for each in _entry_points(kind)}
    if isinstance(name, str) and name in others:
        return _loaded(kind, others[name])
    names = [*known, *others]
    raise ConfigError(
        f"unknown {kind} {quote(name)}{did_you_mean(str(name), names)}; choose one of "
        f"{', '.join(names)}",
        param="name",
    )


def describe_parts(kind: str, parts: Parts) -> dict[str, str]:
    """Return every name of a kind with the first line that its class says of itself.

    A part of another package that cannot be imported says why.
    """
    found = {name: _line_of(part) for name, (_, part) in parts.items()}
    for each in _entry_points(kind):
        if each.name not in found:
            try:
                found[each.name] = _line_of(find_part(kind, {}, each.name)[1])
            except ConfigError as error:
                found[each.name] = str(error)
    return found


def import_parts(tables: Mapping[str, Any]) -> None:
    """Import the module of every `name` or `task` "module:Class" of a person's own file.

    Raises ConfigError for a module that cannot be imported.
    """
    for name in _class_names(tables):
        _import(name.partition(":")[0], f"the part {quote(name)}")


def _class_names(value: Any) -> Iterator[str]:
    if not isinstance(value, Mapping):
        return
    for key, each in value.items():
        if key in ("name", "task") and isinstance(each, str) and _CLASS.fullmatch(each):
            yield each
        yield from _class_names(each)


def _import(module: str, what: str) -> Any:
    try:
        return importlib.import_module(module)
    except Exception as error:  # whatever the code of another package does
        raise ConfigError(
            f"{what} cannot be imported: {_reason(error)}; install its package, or put its folder "
            "on PYTHONPATH",
            param="name",
        ) from error


def _reason(error: Exception) -> str:
    return shorten(" ".join(str(error).split()), 120) or type(error).__name__


def _class_of(kind: str, name: str) -> Any:
    module, _, attribute = name.partition(":")
    # A model's folder is data from a stranger: that it names a module must import nothing.
    trusted = os.environ.get(TRUSTED, "").replace(" ", "").split(",")
    if module not in sys.modules and module not in trusted:
        raise ConfigError(
            f"the {kind} {quote(name)} is a class of a module that is not imported; if you trust "
            f"it, import {module} first, or name it in the variable {TRUSTED}",
            param="name",
        )
    found = _import(module, f"the {kind} {quote(name)}")
    if not hasattr(found, attribute):
        raise ConfigError(
            f"the {kind} {quote(name)} is not there: {module} has no "
            f"{attribute}{did_you_mean(attribute, dir(found))}",
            param="name",
        )
    return getattr(found, attribute)


def _entry_points(kind: str) -> "list[EntryPoint]":
    """Return what installed packages offer of a kind, as "text encoder" in limner.text_encoders."""
    from importlib.metadata import entry_points  # slow to import, and seldom wanted

    return list(entry_points(group=f"limner.{kind.replace(' ', '_')}s"))


def _loaded(kind: str, entry: "EntryPoint") -> Any:
    try:
        return entry.load()
    except Exception as error:
        raise ConfigError(
            f"the {kind} {quote(entry.name)} of {quote(entry.value)} cannot be imported: "
            f"{_reason(error)}; mend or remove the package that has it",
            param="name",
        ) from error


def _part_of(kind: str, part: Any, name: str) -> tuple[type[Any], type[Any]]:
    """Return a class with the dataclass of its settings; ConfigError unless it is a part."""
    try:
        # The config's type is read off the first argument: a part is one class, and no table.
        hints = get_type_hints(part.__init__)
        config = next(each for key, each in hints.items() if key != "return")
    except (AttributeError, NameError, StopIteration, TypeError):
        config = None
    missing = [each for each in _METHODS.get(kind, ()) if not callable(getattr(part, each, None))]
    if not isinstance(part, type) or not is_dataclass(config) or missing:
        lacks = f", and it lacks {', '.join(missing)}" if missing else ""
        raise ConfigError(
            f"{quote(name)} is no {kind}: expected a class whose __init__ takes one argument, "
            f"annotated with the dataclass of its settings{lacks}",
            param="name",
        )
    return config, part  # type: ignore[return-value]  # a dataclass, not one of its instances


def _line_of(part: object) -> str:
    return (part.__doc__ or "").strip().partition("\n")[0]


def _checked(value: Any, wanted: Any, where: str) -> Any:
    """Return a value as the dataclass holds it: lists as tuples, whole numbers as floats."""
    if get_origin(wanted) is tuple:
        item, *rest = get_args(wanted)
        length = None if rest[-1:] == [...] else 1 + len(rest)
        fits = isinstance(value, list | tuple) and length in (None, len(value))
        # Maps are tuples of tuples, which TOML and JSON write as lists of lists.
        if fits and get_origin(item) is tuple:
            return tuple(_checked(each, item, where) for each in value)
        if not fits or not all(_is(each, item) for each in value):
            count = "" if length is None else f"{length} "
            kind = "list" if get_origin(item) is tuple else item.__name__
            raise ConfigError(f"{where} is {quote(value)}; expected a list of {count}{kind}")
        return tuple(value)
    if get_origin(wanted) is dict:
        wanted = dict
    # JSON and TOML write 1.0 as 1 often enough.
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
