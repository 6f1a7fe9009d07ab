"""A training run as one TOML file, read strictly: unknown keys and wrong types are refused."""

import dataclasses
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from limner.errors import ConfigError, did_you_mean


@dataclass(frozen=True)
class DataConfig:
    """Which scenes a run sees; `cached` > 0 trains a prior on that many encoded scenes.

    `seed` names the run's own stream of scenes. `jitter` moves all objects of a picture by up to so
    many pixels (codec only).
    """

    level: int = 4
    seed: int = 0
    jitter: int = 0
    cached: int = 0
    captions: int = 4
    held_for_validation: int = 512


@dataclass(frozen=True)
class LoopConfig:
    """How long and how a run trains. `steps` are optimiser steps of `batch` pictures."""

    steps: int = 10_000
    batch: int = 64
    learning_rate: float = 1e-3
    optimizer: str = "adamw"
    schedule: str = "wsd"
    warmup: int = 200
    decay: float = 0.2
    weight_decay: float = 0.02
    clip: float = 1.0
    average: float = 0.999
    bf16: bool = True
    seed: int = 0
    validate_every: int = 500
    sample_every: int = 1000
    save_every: int = 500


@dataclass(frozen=True)
class CodecTraining:
    """Weights of the codec's losses, and the step at which the discriminator joins."""

    perceptual: float = 0.0
    perceptual_weights: str = ""
    adversarial: float = 0.0
    adversarial_from: int = 0
    decoder_only: bool = False


@dataclass(frozen=True)
class PriorTraining:
    """How the prior learns: dropped captions, share of the run with annealed random order."""

    caption_dropout: float = 0.1
    random_order_until: float = 0.0


@dataclass(frozen=True)
class TrainConfig:
    """A whole run: what to train ("codec", "features" or "prior"), where to, on what and how."""

    task: str
    out: str
    start_from: str = ""
    codec_from: str = ""
    text_length: int = 32
    data: DataConfig = field(default_factory=DataConfig)
    loop: LoopConfig = field(default_factory=LoopConfig)
    codec_training: CodecTraining = field(default_factory=CodecTraining)
    prior_training: PriorTraining = field(default_factory=PriorTraining)
    codec: Mapping[str, Any] = field(default_factory=dict)
    prior: Mapping[str, Any] = field(default_factory=dict)
    sampling: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the config as plain JSON values."""
        return dataclasses.asdict(self)


def read_config(path: str | Path, overrides: Mapping[str, str] | None = None) -> TrainConfig:
    """Read a TOML file; `overrides` are dotted keys with TOML values, as {"loop.steps": "100"}.

    Raises ConfigError for a missing file, bad TOML, an unknown key or a wrong type.
    """
    try:
        tree = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"no config file at {path}; see configs/ for examples") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from None
    for dotted, text in (overrides or {}).items():
        _override(tree, dotted, text)
    return _build(TrainConfig, tree, str(path), "")


def _override(tree: dict[str, Any], dotted: str, text: str) -> None:
    *parents, key = dotted.split(".")
    for parent in parents:
        tree = tree.setdefault(parent, {})
    try:
        tree[key] = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        tree[key] = text


def _build(kind: type[Any], tree: Mapping[str, Any], source: str, prefix: str) -> Any:
    known = {item.name: item for item in dataclasses.fields(kind)}
    values = {}
    for key, value in tree.items():
        if key not in known:
            hint = did_you_mean(key, list(known))
            raise ConfigError(f"{source}: unknown key {prefix}{key}{hint}")
        default = _default(known[key])
        if dataclasses.is_dataclass(default):
            values[key] = _build(type(default), value, source, f"{prefix}{key}.")
        else:
            values[key] = _checked(value, default, f"{source}: {prefix}{key}")
    try:
        return kind(**values)
    except TypeError as error:
        raise ConfigError(f"{source}: {error}") from None


def _default(item: "dataclasses.Field[Any]") -> Any:
    if item.default_factory is not dataclasses.MISSING:
        return item.default_factory()
    return "" if item.default is dataclasses.MISSING else item.default


def _checked(value: Any, default: Any, where: str) -> Any:
    if isinstance(default, float) and type(value) is int:
        return float(value)
    wanted = type(default)
    if not isinstance(value, wanted) or (wanted is int and isinstance(value, bool)):
        raise ConfigError(
            f"{where} is {value!r}, a {type(value).__name__}; expected a {wanted.__name__}"
        )
    if wanted in (int, float) and (value != value or value < 0 or value > 1e12):
        raise ConfigError(f"{where} is {value!r}; expected a finite number >= 0")
    return value
