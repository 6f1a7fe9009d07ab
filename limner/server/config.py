"""How a server is set up: a table of values, a TOML file of them, and the keys.

A flag comes before the file, and the file before what is built in.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Self

from limner.errors import ConfigError, UsageError, did_you_mean, quote
from limner.files.places import data_folder
from limner.types import check_device, check_precision

KEY_LENGTH = 16  # characters of a key at least
_FILE_LIMIT = 2**20  # bytes of the file, and of that with keys


EMPTY = {  # what a value that is empty stands for
    "models": "all presets that draw", "keys": "none", "allow_host": "the server's own",
    "allow_origin": "the page's own", "public_url": "the Host that a client names",
    "per_key": "half of queue where there are several keys", "memory": "half of the machine's",
    "policy": "limner's own", "ray": "none: this process draws",
}  # fmt: skip


@dataclass(frozen=True)
class ServerConfig:
    """What a server does and allows; `models` are names, folders or hf: names, the first the usual.

    No `models` are all presets that draw. `queue` is how many requests may wait or be drawn at
    once, `per_key` how many of one key (0: half of them where there are several keys). `deadline`
    and `drain` are seconds, `memory` GiB of weights (0: half of the machine's), `kept` MiB of
    pictures that have a URL, `gallery_size` MiB of those of the page's gallery. With `metadata`
    files tell prompt and seed, with `mark` that a model drew them. With `classifier` pictures
    are judged before they are sent. With the address `ray` of a cluster `replicas` draw there, each
    on a CPU or GPU of its own. UsageError for a value that can't be used.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    models: tuple[str, ...] = ()
    keys: str = ""  # the file
    allow_host: tuple[str, ...] = ()
    allow_origin: tuple[str, ...] = ()
    public_url: str = ""
    queue: int = 32
    per_key: int = 0
    deadline: float = 600.0
    drain: float = 30.0
    memory: float = 0.0
    kept: int = 256
    aliases: bool = True
    metadata: bool = False
    mark: bool = True
    policy: str = ""  # the file of the prompt policy, "" for limner's own, or "none"
    classifier: bool = False
    gallery: str = ""  # the file of the page's pictures, or "none"
    gallery_size: int = 2048
    device: str = "cpu"
    precision: str = "fp32"
    ray: str = ""  # the cluster whose replicas draw, "local" for one that is started here
    replicas: int = 1

    def __post_init__(self) -> None:
        ranges: dict[str, tuple[float, float]] = {
            "port": (0, 65535), "queue": (1, 1024), "per_key": (0, 1024), "deadline": (1, 86400),
            "drain": (0, 3600), "memory": (0, 2**20), "kept": (1, 2**20),
            "gallery_size": (1, 2**20), "replicas": (1, 1024),
        }  # fmt: skip
        for each in fields(self):
            self._check(each.name, type(each.default), ranges.get(each.name))
        if self.public_url and not self.public_url.startswith(("http://", "https://")):
            raise ConfigError(
                f"public_url is {quote(self.public_url)}; expected one that begins with http:// or "
                "https://",
                param="public_url",
            )
        if self.replicas > 1 and not self.ray:
            raise ConfigError(
                f"replicas is {self.replicas} without a Ray cluster; give its address, or 'local' "
                "to start one here, as ray",
                param="replicas",
            )
        check_device(self.device)
        check_precision(self.precision)

    def _check(self, name: str, kind: type, span: tuple[float, float] | None) -> None:
        value = getattr(self, name)
        if kind is tuple:
            listed = [value] if isinstance(value, str) else value
            if not isinstance(listed, list | tuple) or not all(
                isinstance(each, str) and each for each in listed
            ):
                raise ConfigError(f"{name} is {quote(value)}; expected a list of texts", param=name)
            object.__setattr__(self, name, tuple(listed))
            return
        number = isinstance(value, int | float) and not isinstance(value, bool)
        fits = isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
        if kind is float:
            fits = number
        if span is not None:
            fits = fits and span[0] <= value <= span[1]
        if not fits:
            wanted = {str: "a text", bool: "true or false", int: "a whole number"}
            shown = wanted.get(kind, "a number")
            if span is not None:
                shown += f" from {span[0]:g} to {span[1]:g}"
            raise ConfigError(f"{name} is {quote(value)}; expected {shown}", param=name)

    @classmethod
    def read(cls, path: Path | None, given: Mapping[str, Any]) -> Self:
        """Return the values of a TOML file with those `given` over them; raises as `read_values`.

        Raises ConfigError for a bad value too.
        """
        return cls(**{**read_values(path), **given})

    def shown(self, name: str) -> str:
        """Return a value in words, one that is empty as what it stands for."""
        value = getattr(self, name)
        if name == "gallery":
            return value or str(self.gallery_file).replace(str(Path.home()), "~", 1)
        if name in EMPTY and not value:
            return EMPTY[name]
        if isinstance(value, tuple):
            return ", ".join(value)
        if isinstance(value, float):
            return f"{value:g}"
        return str(value).lower() if isinstance(value, bool) else str(value)

    @property
    def is_local(self) -> bool:
        """Whether only programs of this machine can connect."""
        return is_loopback(self.host)

    @property
    def gallery_file(self) -> Path | None:
        """Where the page's pictures are kept; None for nowhere."""
        if self.gallery == "none":
            return None
        if self.gallery:
            return Path(self.gallery)
        return data_folder() / "gallery.db"

    def with_port(self, port: int) -> Self:
        """Return the same with the port that was given by the system."""
        return replace(self, port=port)


def read_values(path: Path | None) -> dict[str, Any]:
    """Return what a TOML file of a server's settings says, {} for None.

    Raises ConfigError for a file that can't be read, and for an unknown key.
    """
    found = {} if path is None else _read_toml(path)
    known = [each.name for each in fields(ServerConfig)]
    for key in found:
        if key not in known:
            hint = did_you_mean(key, known) or f"; the keys are {', '.join(known)}"
            raise ConfigError(
                f"{quote(str(path), 100)} has the unknown key {quote(key)}{hint}", param=key
            )
    return found


def is_loopback(host: str) -> bool:
    """Say whether an address, or a name without asking anybody, is of this machine alone."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def read_keys(config: ServerConfig) -> dict[str, str]:
    """Return the keys, each with the name of its holder; {} where none is needed.

    The file has a key a line, or a name, a blank and a key. Raises UsageError for none where
    other machines can connect, ConfigError for a file that can't be read or a key too short.
    """
    if not config.keys:
        if config.is_local:
            return {}
        raise UsageError(
            f"host is {quote(config.host)}, which other machines can reach, and there is no key; "
            "give --keys FILE, or serve on 127.0.0.1",
            param="keys",
        )
    path, keys = Path(config.keys), dict[str, str]()
    shown = quote(config.keys, 100)
    for number, line in enumerate(_read_text(path).splitlines(), start=1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        name, key = (words[0], words[-1]) if len(words) == 2 else (f"key{number}", words[0])
        if len(words) > 2 or len(key) < KEY_LENGTH or not key.isascii():
            raise ConfigError(
                f"{shown} line {number} has no key; expected a name and a key of at least "
                f"{KEY_LENGTH} letters and digits",
                param="keys",
            )
        keys[key] = name
    if not keys:
        raise ConfigError(f"{shown} has no key; write one a line", param="keys")
    return keys


def _read_toml(path: Path) -> dict[str, Any]:
    text = _read_text(path)
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{quote(str(path), 100)} is not valid TOML: {error}") from None


def _read_text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_FILE_LIMIT).decode()
    except OSError as error:
        raise ConfigError(f"cannot read {quote(str(path), 100)}: {error.strerror}") from None
    except ValueError:
        raise ConfigError(f"{quote(str(path), 100)} is not in UTF-8") from None
