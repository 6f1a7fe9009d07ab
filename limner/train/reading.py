"""A run's TOML file, read strictly: every mistake is told before anything is made.

Values come from the file; `--set` overrules them, and what neither gives has a default.
"""

import dataclasses
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limner.errors import ConfigError, did_you_mean, quote
from limner.parts import a_type, import_parts
from limner.train.config.fields import default_of, read_text
from limner.train.config.run import APART, TrainConfig
from limner.train.tasks import find_task, known_tables, tables_of

MEMBER = re.compile(r"""\s*["']?([\w-]+)["']?\s*(?:=|\.)\s*["']?([\w-]+)?""")
HEADER = re.compile(r"\s*\[\s*([\w.\s-]+?)\s*\]")
# Keys that had another name in the version before: an older file does not fail for a word.
RENAMED = {"unclip_training.told": "unclip_training.condition_on"} | {
    f"{table}.half": f"{table}.weights"
    for table in (
        "clip_training", "codec_training", "gan_training", "unclip_training", "upscale_training"
    )
}  # fmt: skip
_HALF = {False: "fp32", True: "fp16"}


@dataclass(frozen=True)
class Source:
    """Where the values of a config come from, to be told in messages."""

    path: str
    text: str
    overridden: tuple[str, ...]

    def at(self, dotted: str) -> str:
        """Return the place of a key: the --set option, or the file and the line if it is found."""
        for key in self.overridden:
            if key == dotted or key.startswith(f"{dotted}."):
                return f"{self.path} with --set {quote(key)}"
        line = find_line(self.text, dotted)
        return self.path if line is None else f"{self.path}:{line}"


def read_config(
    path: str | Path, overrides: Mapping[str, str] | None = None, *, text: str | None = None
) -> TrainConfig:
    """Read a TOML file; `overrides` are dotted keys with TOML values, as {"loop.steps": "100"}.

    With `text`, what was read already, messages name it by `path`. Raises ConfigError for a missing
    file, bad TOML, an unknown key, a wrong type, a value out of range, and parts that cannot be
    built. Nothing is made.
    """
    text = read_text(path) if text is None else text
    shown = quote(str(path), 200)[1:-1]
    try:
        tree = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{shown} is not valid TOML: {error}") from None
    for dotted, value in (overrides or {}).items():
        _override(tree, dotted, value)
    source = Source(shown, text, tuple(overrides or ()))
    # 1. Words of an older version become those of this one, and the run says so.
    notes = _rename(tree, source)
    # 2. The task says which tables there are beside the shared ones, so it is asked first.
    known = {each.name: default_of(each) for each in dataclasses.fields(TrainConfig)}
    shared = {key: value for key, value in known.items() if key not in APART}
    tables = {**known_tables(), **_tables_of_task(tree, source)}
    values = _values(shared | tables, tree, source, "")
    # 3. Every table checks itself as it is made; the whole checks what does not go together.
    own = {key: values.pop(key) for key in tables if key in values}
    config: TrainConfig = _made(TrainConfig, values | {"tables": own, "notes": notes}, source, "")
    try:
        config.data.check_given(tree.get("data", ()))
    except ConfigError as error:
        raise ConfigError(f"{source.at(f'data.{error.param}')}: data.{error}") from None
    try:
        config.check_parts()
    except ConfigError as error:
        raise ConfigError(f"{source.at(error.param or config.task)}: {error}") from None
    return config


def find_line(text: str, dotted: str) -> int | None:
    """Return the number of the line that gives a key, or its table; None where it is not plain."""
    *parents, key = dotted.split(".")
    table: list[str] = []
    for count, line in enumerate(text.splitlines(), start=1):
        if header := HEADER.match(line):
            table = [part.strip() for part in header[1].split(".")]
            if table == [*parents, key]:
                return count
        elif member := MEMBER.match(line):
            names = [*table, member[1]]
            if names == [*parents, key] or (parents and [*names, member[2]] == [*parents, key]):
                return count
    return None


def _override(tree: dict[str, Any], dotted: str, text: str) -> None:
    *parents, key = dotted.split(".")
    for number_, parent in enumerate(parents, start=1):
        tree = tree.setdefault(parent, {})
        if not isinstance(tree, dict):
            above = ".".join(parents[:number_])
            raise ConfigError(
                f"--set {quote(dotted)}: {above} is {a_type(type(tree))}, and has no keys"
            )
    try:
        tree[key] = tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        tree[key] = text  # a bare word is text: out=runs/x


def _rename(tree: dict[str, Any], source: Source) -> tuple[str, ...]:
    """Give values under older keys those of today, and return what to tell of it."""
    notes = []
    for old, new in RENAMED.items():
        table, _, key = old.partition(".")
        held, name = tree.get(table), new.partition(".")[2]
        if not isinstance(held, dict) or key not in held:
            continue
        if name in held:
            raise ConfigError(
                f"{source.at(old)}: {old} is the older name of {new}, and both are given; leave "
                f"{old} out"
            )
        value = held.pop(key)
        held[name] = _HALF[value] if key == "half" and isinstance(value, bool) else value
        notes.append(f"{old} is called {new} now; the next version reads the new name alone")
    return tuple(notes)


def _tables_of_task(tree: Mapping[str, Any], source: Source) -> Mapping[str, Any]:
    if not isinstance(name := tree.get("task", ""), str) or not name:
        return {}  # told later, with whatever else is lacking
    try:
        import_parts({"task": name})
        return tables_of(find_task(name))
    except ConfigError as error:
        raise ConfigError(f"{source.at('task')}: {error}") from None


def _values(
    known: Mapping[str, Any], tree: Mapping[str, Any], source: Source, prefix: str
) -> dict[str, Any]:
    """Return the values of known keys, whose defaults are given, with their tables made."""
    values = {}
    for key, value in tree.items():
        dotted = f"{prefix}{key}"
        if key not in known:
            hint = did_you_mean(key, list(known))
            raise ConfigError(f"{source.at(dotted)}: unknown key {dotted}{hint}")
        values[key] = value
        kind = type(known[key])
        if (kind is dict or dataclasses.is_dataclass(kind)) and not isinstance(value, dict):
            raise ConfigError(
                f"{source.at(dotted)}: {dotted} is {quote(value)}, {a_type(type(value))}; "
                f"expected a table, as [{dotted}]"
            )
        if dataclasses.is_dataclass(kind):
            inner = {each.name: default_of(each) for each in dataclasses.fields(kind)}
            made = _values(inner, value, source, f"{dotted}.")
            values[key] = _made(kind, made, source, f"{dotted}.")
    return values


def _made(kind: type[Any], values: Mapping[str, Any], source: Source, prefix: str) -> Any:
    try:
        return kind(**values)
    except TypeError:  # of the constructor: a required key is not there
        needed = [each.name for each in dataclasses.fields(kind) if _is_required(each)]
        lacking = ", ".join(name for name in needed if name not in values)
        raise ConfigError(f"{source.path} lacks {lacking}") from None
    except ConfigError as error:
        dotted = f"{prefix}{error.param}"
        raise ConfigError(f"{source.at(dotted)}: {prefix}{error}") from None


def _is_required(item: "dataclasses.Field[Any]") -> bool:
    return item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING
