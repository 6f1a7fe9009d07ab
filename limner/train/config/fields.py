"""Config dataclasses that check themselves: types, ranges and choices, told by their key."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from operator import ge, gt, le, lt
from pathlib import Path
from typing import Any

from limner.errors import ConfigError, UsageError, did_you_mean, quote
from limner.parts import Parts, a_type, parse_config

INTEGER_LIMIT = 10**9  # what fits every counter, and any run


@dataclass(frozen=True)
class Limits:
    """A range of numbers; a bound that is None is not there."""

    least: float | None = None
    above: float | None = None
    most: float | None = None
    below: float | None = None

    @property
    def bounds(self) -> list[tuple[str, Callable[[Any, Any], bool], float]]:
        """Those that are there: in words, how a value is compared with one, and itself."""
        words, compare = ("at least", "above", "at most", "below"), (ge, gt, le, lt)
        values = (self.least, self.above, self.most, self.below)
        every = zip(words, compare, values, strict=True)
        return [(word, holds, bound) for word, holds, bound in every if bound is not None]

    def __contains__(self, value: float) -> bool:
        return math.isfinite(value) and all(holds(value, b) for _, holds, b in self.bounds)

    def __str__(self) -> str:
        return " and ".join(f"{word} {bound:g}" for word, _, bound in self.bounds)


def number(default: float, **limits: float) -> Any:
    """Return the field of a number within `Limits`; an int where `default` is one."""
    return field(default=default, metadata={"limits": Limits(**limits)})


def choice(default: str, *names: str) -> Any:
    """Return the field of one of some names."""
    return field(default=default, metadata={"choices": names})


class Checked:
    """A dataclass whose values are checked when it is made; ConfigError names the key (`param`)."""

    def __post_init__(self) -> None:
        for item in dataclasses.fields(self):  # type: ignore[arg-type]
            value = getattr(self, item.name)
            # A whole number is a float too, unless it is too large for one.
            if type(default_of(item)) is float and type(value) is int and abs(value) < 1e300:
                value = float(value)
                object.__setattr__(self, item.name, value)
            if fault := _fault(item, value, type(default_of(item))):
                raise ConfigError(fault, param=item.name)


def _fault(item: "dataclasses.Field[Any]", value: Any, wanted: type[Any]) -> str:
    """Return what is wrong with a value; "" when nothing is."""
    if not isinstance(value, wanted) or (wanted is int and isinstance(value, bool)):
        kind = a_type(type(value))
        return f"{item.name} is {quote(value)}, {kind}; expected {a_type(wanted)}"
    limits, choices = item.metadata.get("limits"), item.metadata.get("choices")
    if limits is not None and value not in limits:
        return f"{item.name} is {quote(value)}; expected {a_type(wanted)} {limits}"
    if wanted is int and value > INTEGER_LIMIT:
        return f"{item.name} is {quote(value)}; expected at most {INTEGER_LIMIT}"
    if choices is not None and value not in choices:
        hint = did_you_mean(value, choices)
        return f"{item.name} is {quote(value)}; expected one of {', '.join(choices)}{hint}"
    return ""


def default_of(item: "dataclasses.Field[Any]") -> Any:
    """Return a field's default; a required field holds text."""
    if item.default_factory is not dataclasses.MISSING:
        return item.default_factory()
    return "" if item.default is dataclasses.MISSING else item.default


def given(config: Any, dotted: str) -> bool:
    """Say whether a run's config has another value at a key than it has by default.

    The key is of a field, or of a table and what is in it.
    """
    table, _, key = dotted.partition(".")
    held = config.value(table)
    if not key:
        kind = type(held)
        return bool(held != kind()) if dataclasses.is_dataclass(kind) else bool(held)
    if isinstance(held, Mapping):  # the values of a part have no defaults here
        return key in held
    defaults = {each.name: default_of(each) for each in dataclasses.fields(held)}
    return bool(getattr(held, key) != defaults[key])


# Three ways in which keys of a run do not go together; each raises ConfigError that names the key.


def exclude(config: Any, key: str, other: str, why: str) -> None:
    """Refuse two keys that are both given, and say why."""
    if given(config, key) and given(config, other):
        raise ConfigError(
            f"{key} and {other} are both given, and {why}; leave one of them out", param=key
        )


def need(config: Any, key: str, other: str, what: str) -> None:
    """Refuse a key that is given without another, which says `what`."""
    if given(config, key) and not given(config, other):
        raise ConfigError(
            f"{key} is given, but {other}, {what}, is not; give both or neither", param=key
        )


def decided(config: Any, by: str, *keys: str) -> None:
    """Refuse keys whose value something else decides."""
    for key in keys:
        if given(config, key):
            raise ConfigError(f"{key} is decided by {by}; leave it out", param=key)


def check_own_encoder(config: Any, table: str) -> None:
    """Refuse a table's `text_encoder` unless it is of our own, for a new model."""
    held = config.part(table).get("text_encoder", {})
    named = held.get("name", "own") if isinstance(held, dict) else "own"
    if held and (config.text.encoder or config.start_from or named != "own"):
        raise ConfigError(
            f"{table}.text_encoder describes an encoder of our own for a new model; leave it "
            "out, and name a pretrained one by text.encoder",
            param=f"{table}.text_encoder",
        )


def check_part(table: str, parts: Parts, values: Mapping[str, Any]) -> Any:
    """Return the config that a part's table describes; ConfigError names TABLE.KEY."""
    try:
        return parse_config(table, parts, values)
    except ConfigError as error:
        param = table if error.param is None else f"{table}.{error.param}"
        raise ConfigError(str(error), param=param) from None


def check_sampling(
    kind: type[Any], values: Mapping[str, Any], make: Callable[..., Any] | None = None
) -> None:
    """Raise ConfigError unless `[sampling]` makes settings of a kind; it names sampling.KEY.

    `make` checks the values where the settings themselves do not.
    """
    known = [each.name for each in dataclasses.fields(kind)]
    for key in values:
        if key not in known:
            hint = did_you_mean(key, known)
            raise ConfigError(f"unknown key sampling.{key}{hint}", param=f"sampling.{key}")
    try:
        (make or kind)(**values)
    except UsageError as error:
        raise ConfigError(f"sampling.{error}", param=f"sampling.{error.param}") from None


def read_text(path: str | Path) -> str:
    """Return the text of a run's config; ConfigError where it cannot be read."""
    shown = quote(str(path), 200)[1:-1]
    try:
        return Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"no config file at {shown}; see configs/ for examples") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{shown} is not valid TOML: {error}") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ConfigError(
            f"cannot read the config {shown} ({reason}); give a TOML file as those of configs/"
        ) from None
