"""Config dataclasses that check themselves: types, ranges and choices, told by their key."""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from limner.errors import ConfigError, UsageError, did_you_mean, quote
from limner.parts import Parts, a_type, parse_config

INTEGER_LIMIT = 10**9


@dataclass(frozen=True)
class Limits:
    """A range of numbers; a bound that is None is not there."""

    least: float | None = None
    above: float | None = None
    most: float | None = None
    below: float | None = None

    def __contains__(self, value: float) -> bool:
        return (
            math.isfinite(value)
            and (self.least is None or value >= self.least)
            and (self.above is None or value > self.above)
            and (self.most is None or value <= self.most)
            and (self.below is None or value < self.below)
        )

    def __str__(self) -> str:
        bounds = (
            ("at least", self.least),
            ("above", self.above),
            ("at most", self.most),
            ("below", self.below),
        )
        return " and ".join(f"{word} {bound:g}" for word, bound in bounds if bound is not None)


def number(
    default: float,
    *,
    least: float | None = None,
    above: float | None = None,
    most: float | None = None,
    below: float | None = None,
) -> Any:
    """Return the field of a number within limits; an int where `default` is one."""
    limits = Limits(least, above, most, below)
    return field(default=default, metadata={"limits": limits})


def choice(default: str, *names: str) -> Any:
    """Return the field of one of some names."""
    return field(default=default, metadata={"choices": names})


class Checked:
    """A dataclass whose values are checked when it is made; ConfigError names the key (`param`)."""

    def __post_init__(self) -> None:
        for item in dataclasses.fields(self):  # type: ignore[arg-type]
            value = getattr(self, item.name)
            wanted = type(default_of(item))
            if wanted is float and type(value) is int and abs(value) < 1e300:
                value = float(value)
                object.__setattr__(self, item.name, value)
            fits = isinstance(value, wanted) and not (wanted is int and isinstance(value, bool))
            if not fits:
                raise ConfigError(
                    f"{item.name} is {quote(value)}, {a_type(type(value))}; expected "
                    f"{a_type(wanted)}",
                    param=item.name,
                )
            limits, choices = item.metadata.get("limits"), item.metadata.get("choices")
            if limits is not None and value not in limits:
                raise ConfigError(
                    f"{item.name} is {quote(value)}; expected {a_type(wanted)} {limits}",
                    param=item.name,
                )
            if wanted is int and value > INTEGER_LIMIT:
                raise ConfigError(
                    f"{item.name} is {quote(value)}; expected at most {INTEGER_LIMIT}",
                    param=item.name,
                )
            if choices is not None and value not in choices:
                hint = did_you_mean(value, choices)
                raise ConfigError(
                    f"{item.name} is {quote(value)}; expected one of {', '.join(choices)}{hint}",
                    param=item.name,
                )


def default_of(item: "dataclasses.Field[Any]") -> Any:
    """Return a field's default; a required field holds text."""
    if item.default_factory is not dataclasses.MISSING:
        return item.default_factory()
    return "" if item.default is dataclasses.MISSING else item.default


def settle_table(table: str, parts: Parts, values: Mapping[str, Any]) -> Any:
    """Return the config that a part's table describes; ConfigError names TABLE.KEY."""
    try:
        return parse_config(table, parts, values)
    except ConfigError as error:
        param = table if error.param is None else f"{table}.{error.param}"
        raise ConfigError(str(error), param=param) from None


def check_sampling(kind: type[Any], values: Mapping[str, Any]) -> None:
    """Raise ConfigError unless `[sampling]` makes settings of a kind; it names sampling.KEY."""
    known = [each.name for each in dataclasses.fields(kind)]
    for key in values:
        if key not in known:
            hint = did_you_mean(key, known)
            raise ConfigError(f"unknown key sampling.{key}{hint}", param=f"sampling.{key}")
    try:
        kind(**values)
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
