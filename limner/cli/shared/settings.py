"""What a person sets once for a machine or session: variables of the environment, and one file.

An option comes first, then the variable, then the user's file, then what is built in. The tables
here are all there is to set, and docs/environment.md lists them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limner.errors import ConfigError, did_you_mean, quote

PREFIX = "LIMNER_"
HANDED_ON = "limner.handed_on"  # in a command's context: the variables that the file gave
_SIZE_LIMIT = 2**20  # bytes of the file


@dataclass(frozen=True)
class Setting:
    """One thing to set: `key` in the file, `variable` in the environment.

    `built_in` is what holds where nothing says otherwise, in words. `choices` are all values, where
    there are few. With `python` the library reads the variable too, and not the command line alone.
    """

    key: str
    built_in: str
    about: str
    kind: type = str
    choices: tuple[str, ...] = ()
    python: bool = False

    @property
    def variable(self) -> str:
        """The name in the environment."""
        return PREFIX + self.key.upper()


SETTINGS = (
    Setting("model", "default", "the model of most commands that draw or measure: --model"),
    Setting("clip", "clip", "the CLIP that ranks, scores and classifies: --clip"),
    Setting("device", "cpu; auto to encode and adapt", "the device that a model runs on: --device"),
    Setting("precision", "fp32", "precision of the weights in drawing: --precision"),
    Setting("out", "the current folder", "where commands that draw put pictures: --out"),
    Setting("preview", "true", "whether a terminal shows pictures: --no-preview", bool),
    Setting("metadata", "true", "whether a PNG records how it was made: --no-metadata", bool),
    Setting("xmp", "true", "whether XMP says that a model made a picture: --no-xmp", bool),
    Setting(
        "mark", "true, except for edits and palettes", "an invisible watermark: --no-mark", bool
    ),
    Setting("label", "none", "how pictures are labelled: --label"),
    Setting("sign", "none", "the PEM file that pictures are signed with: --sign"),
    Setting("policy", "none", "the prompt policy that replaces limner's own: --policy"),
    Setting("classifier", "false", "whether a classifier checks pictures: --classifier", bool),
    Setting("quiet", "false", "no progress and no notes: --quiet", bool),
    Setting("ray", "none", "the Ray cluster that draw, data encode and serve run on: --ray"),
    Setting("lang", "that of the locale", "the language of messages", choices=("en", "zh")),
    Setting("font", "where systems have it", "the path of NotoColorEmoji.ttf", python=True),
    Setting(
        "native", "1", "0 draws without the compiled C kernel",
        choices=("0", "1"), python=True,
    ),
    Setting(
        "graphs", "1", "on a GPU: 0 draws without CUDA graphs, compiled adds torch.compile",
        choices=("0", "1", "compiled"), python=True,
    ),
    Setting(
        "parts", "none", "modules, separated by commas, that a model folder may import parts of",
        python=True,
    ),
)  # fmt: skip

# Variables of others that limner heeds; every one that the package reads is here.
OTHERS = {
    "LANGUAGE": "the language of messages, before LC_ALL, LC_MESSAGES and LANG",
    "LC_ALL": "the language of messages, before LC_MESSAGES and LANG",
    "LC_MESSAGES": "the language of messages, before LANG",
    "LANG": "the language of messages",
    "TERM": "dumb: no colours, and no pictures in the terminal",
    "NO_COLOR": "any value: text without colours",
    "XDG_CONFIG_HOME": "the folder of limner/config.toml; ~/.config without",
    "XDG_CACHE_HOME": "the folder of the compiled kernel; ~/.cache without",
    "XDG_DATA_HOME": "the folder of limner/gallery.db and limner/models; ~/.local/share without",
    "HF_HOME": "where models from the Hub are kept; ~/.cache/huggingface without",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1: downloads from the Hub show no bars",
    "CC": "the C compiler of the kernel; cc, gcc or clang without",
    "OMP_WAIT_POLICY": "passive: waiting torch threads sleep; for a machine that others use too",
    "OMP_NUM_THREADS": "how many threads torch computes with; all cores without",
    "LD_LIBRARY_PATH": "handed on to the process that opens pickles, as on Linux",
    "DYLD_LIBRARY_PATH": "handed on to the process that opens pickles, as on macOS",
    "SYSTEMROOT": "handed on to the process that opens pickles, as on Windows",
    "RANK": "which of several training processes this is; torchrun sets it",
    "WORLD_SIZE": "how many training processes there are; torchrun sets it",
    "LOCAL_RANK": "which GPU of the machine a training process takes; torchrun sets it",
    "TORCHELASTIC_RESTART_COUNT": "how often torchrun restarted the run; above 0 it resumes",
}


@dataclass(frozen=True)
class Effect:
    """A setting as it holds now: the value in words, and where it comes from."""

    setting: Setting
    value: str
    source: str  # the variable's name, the file's path, or "built in"


def config_path(environment: Mapping[str, str]) -> Path:
    """Return where the user's file is, whether or not there is one."""
    root = environment.get("XDG_CONFIG_HOME", "")
    # The XDG Base Directory Specification says to take no notice of a relative path.
    folder = Path(root) if os.path.isabs(root) else Path.home() / ".config"
    return folder / "limner" / "config.toml"


def read_file(path: Path) -> dict[str, Any]:
    """Return what the user's file sets, {} where there is none.

    Raises ConfigError for a file that cannot be read, is no TOML, or has a key or value that is
    none of SETTINGS.
    """
    shown = quote(str(path), 200)
    try:
        with path.open("rb") as file:
            data = file.read(_SIZE_LIMIT)
    except (FileNotFoundError, NotADirectoryError):  # nobody must have one
        return {}
    except OSError as error:
        raise ConfigError(
            f"cannot read your settings {shown}: {error.strerror}; mend the file or move it away"
        ) from None
    import tomllib  # only where there is a file

    try:
        found = tomllib.loads(data.decode())
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"your settings {shown} are not valid TOML: {error}") from None
    known = {each.key: each for each in SETTINGS}
    for key, value in found.items():
        if key not in known:
            hint = did_you_mean(key, known) or f"; the keys are {', '.join(known)}"
            raise ConfigError(f"your settings {shown} have the unknown key {quote(key)}{hint}")
        _check(known[key], value, f"your settings {shown}: {key}")
    return found


def _check(setting: Setting, value: Any, place: str) -> None:
    if setting.choices:
        fits, wanted = value in setting.choices, " or ".join(map(repr, setting.choices))
    elif setting.kind is bool:
        fits, wanted = isinstance(value, bool), "true or false"
    else:
        fits, wanted = isinstance(value, str) and value not in ("", "-"), "a text in quotes"
    if not fits:
        raise ConfigError(f"{place} is {quote(value)}; expected {wanted}", param=setting.key)


def of_parameters(parameters: Iterable[Any]) -> dict[str, Any]:
    """Return the values of the user's file for those parameters of a command that it may set."""
    variables = {each.variable: each.key for each in SETTINGS}
    wanted = {each.name: variables[each.envvar] for each in parameters if each.envvar in variables}
    if not wanted:
        return {}
    found = read_file(config_path(os.environ))
    return {name: found[key] for name, key in wanted.items() if key in found}


@contextmanager
def handed_on() -> Iterator[frozenset[str]]:
    """Give the library what the user's file sets for it, as variables; yield their names."""
    found = read_file(config_path(os.environ))
    for each in SETTINGS:
        if each.choices and (value := os.environ.get(each.variable)):
            _check(each, value, each.variable)
    given = {
        each.variable: str(found[each.key])
        for each in SETTINGS
        if each.python and each.key in found and not os.environ.get(each.variable)
    }
    os.environ.update(given)  # the library reads variables alone
    try:
        yield frozenset(given)
    finally:
        for name in given:
            os.environ.pop(name, None)  # a process may run several commands, as tests do


def language(environment: Mapping[str, str]) -> str:
    """Return the language that a person set for messages: "en", "zh", or "" for the locale's.

    A file that cannot be read says nothing here: that is reported where it is used.
    """
    stated = environment.get("LIMNER_LANG", "")
    if not stated:
        try:
            stated = read_file(config_path(environment)).get("lang", "")
        except (ConfigError, RuntimeError):
            return ""  # reported where the file is read for its values
    return stated if stated in ("en", "zh") else ""


def effects(environment: Mapping[str, str], handed: Iterable[str] = ()) -> list[Effect]:
    """Return every setting as it holds, `handed` being the variables that the file gave."""
    path = config_path(environment)
    found = read_file(path)
    stated = []
    for each in SETTINGS:
        # A variable wins, unless it is the file's own that was handed on.
        if environment.get(each.variable) and each.variable not in handed:
            stated.append(Effect(each, environment[each.variable], each.variable))
        elif each.key in found:
            value = found[each.key]
            shown = str(value).lower() if isinstance(value, bool) else value
            stated.append(Effect(each, shown, str(path)))
        else:
            stated.append(Effect(each, each.built_in, "built in"))
    return stated


def is_set(key: str) -> bool:
    """Say whether a variable or the user's file sets a key."""
    found = {each.setting.key: each.source for each in effects(os.environ)}
    return found[key] != "built in"


def strangers(environment: Mapping[str, str]) -> list[str]:
    """Return a sentence on each variable that looks like one of limner's and is none."""
    known = [each.variable for each in SETTINGS]
    return [
        f"{name} is no variable of limner{did_you_mean(name, known)}"
        for name in sorted(environment)
        if name.startswith(PREFIX) and name not in known
    ]
