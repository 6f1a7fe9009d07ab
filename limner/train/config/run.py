"""A training run as one TOML file, read strictly: every mistake is told before anything is made.

Values come from the file; `--set` overrules them, and what neither gives has a default.
"""

import dataclasses
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from limner.errors import ConfigError, UsageError, did_you_mean, quote
from limner.parts import Parts, a_type, import_parts, parse_config
from limner.train.clip.check import check_image_encoder_of, check_vision
from limner.train.codec.check import check_codec_training
from limner.train.config.data import AugmentTable, DataConfig
from limner.train.config.fields import Checked, default_of, number, read_text
from limner.train.config.tables import (
    AdaptTraining,
    ClipTraining,
    CodecTraining,
    GanTraining,
    LoopConfig,
    PriorTraining,
    TextConfig,
    UnClipTraining,
    VisionConfig,
)
from limner.train.gan.check import check_gan
from limner.train.unclip.check import UNCLIP_TASKS, check_unclip

__all__ = [
    "AdaptTraining",
    "AugmentTable",
    "ClipTraining",
    "CodecTraining",
    "DataConfig",
    "GanTraining",
    "LoopConfig",
    "PriorTraining",
    "TextConfig",
    "TrainConfig",
    "UnClipTraining",
    "VisionConfig",
    "read_config",
]

FROM_THE_CODEC = ("text_vocabulary", "vocabulary", "grid", "groups", "levels", "maps")
TASKS = ("codec", "features", "prior", "clip", "adapt", *UNCLIP_TASKS, "gan")
CACHED_LEAST = 16  # scenes: the fewest that fill the 16 batches of a group
MEMBER = re.compile(r"""\s*["']?([\w-]+)["']?\s*(?:=|\.)\s*["']?([\w-]+)?""")
HEADER = re.compile(r"\s*\[\s*([\w.\s-]+?)\s*\]")


@dataclass(frozen=True)
class TrainConfig(Checked):
    """A whole run: what to train, where to, on what and how.

    `licence` goes with the model; empty, it is "unknown" for pictures of one's own.
    """

    task: str = field(metadata={"choices": TASKS})
    out: str
    start_from: str = ""
    codec_from: str = ""
    clip_from: str = ""
    text_length: int = number(32, least=4, most=1024)
    licence: str = ""
    data: DataConfig = field(default_factory=DataConfig)
    augment: AugmentTable = field(default_factory=AugmentTable)
    loop: LoopConfig = field(default_factory=LoopConfig)
    codec_training: CodecTraining = field(default_factory=CodecTraining)
    prior_training: PriorTraining = field(default_factory=PriorTraining)
    clip_training: ClipTraining = field(default_factory=ClipTraining)
    adapt: AdaptTraining = field(default_factory=AdaptTraining)
    unclip_training: UnClipTraining = field(default_factory=UnClipTraining)
    gan_training: GanTraining = field(default_factory=GanTraining)
    text: TextConfig = field(default_factory=TextConfig)
    vision: VisionConfig = field(default_factory=VisionConfig)
    codec: Mapping[str, Any] = field(default_factory=dict)
    prior: Mapping[str, Any] = field(default_factory=dict)
    clip: Mapping[str, Any] = field(default_factory=dict)
    decoder: Mapping[str, Any] = field(default_factory=dict)
    embedding_prior: Mapping[str, Any] = field(default_factory=dict)
    upsampler: Mapping[str, Any] = field(default_factory=dict)
    generator: Mapping[str, Any] = field(default_factory=dict)
    discriminator: Mapping[str, Any] = field(default_factory=dict)
    sampling: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.out or "\0" in self.out:
            raise ConfigError(f"out is {quote(self.out)}; expected a folder", param="out")
        if self.task == "prior" and not (self.codec_from or self.start_from):
            raise ConfigError(
                "a prior needs a trained codec: give codec_from, the codec's run, or start_from, a "
                "whole model to go on from, or both",
                param="codec_from",
            )
        if self.task == "prior" and not self.data.source and self.data.cached < CACHED_LEAST:
            raise ConfigError(
                f"data.cached is {self.data.cached}; a prior needs at least {CACHED_LEAST} scenes, "
                "or pictures of your own in data.source",
                param="data.cached",
            )
        if self.task == "prior" and not self.data.source and self.data.cached < self.loop.batch:
            raise ConfigError(
                f"data.cached is {self.data.cached} scenes, fewer than one batch, {self.loop.batch}"
                "; cache more scenes, or make smaller batches",
                param="data.cached",
            )
        check_codec_training(self.codec_training, self.start_from, self.data.source)
        self._check_adapt()
        if self.loop.parallel == "fsdp" and self.task != "prior":
            raise ConfigError(
                f"loop.parallel is 'fsdp', and a {self.task} is small enough for 'ddp', the only "
                "way it is trained on several ranks; leave parallel out",
                param="loop.parallel",
            )
        self._check_data()
        self._check_text()
        check_vision(self)

    def _check_adapt(self) -> None:
        if self.task == "adapt":
            for key, what in (("start_from", "the model"), ("data.source", "the pictures")):
                if not (self.start_from if key == "start_from" else self.data.source):
                    raise ConfigError(f"{key} is empty; to adapt, give {what}", param=key)
        elif self.adapt != AdaptTraining():
            raise ConfigError(
                f"[adapt] and task {self.task!r} are both given, and it is of the task 'adapt'; "
                "leave one of them out",
                param="adapt",
            )

    def _check_data(self) -> None:
        data = self.data
        if data.source and self.task in ("features", "clip", *UNCLIP_TASKS):
            raise ConfigError(
                f"data.source and task {self.task!r} are both given, and that is learnt from "
                "emoji scenes; leave data.source out",
                param="data.source",
            )
        if self.task not in ("prior", "adapt") and data.crops != 1:
            raise ConfigError(
                "data.crops is of a prior, which reads codes; a codec sees a new crop at every "
                "step: leave data.crops out",
                param="data.crops",
            )
        if self.augment == AugmentTable():
            return
        if not data.source:
            raise ConfigError(
                "[augment] alters pictures of one's own, but data.source is not given; leave one "
                "of them out",
                param="augment",
            )
        if self.task in ("prior", "adapt") and data.crops == 1:
            raise ConfigError(
                "[augment] is given, but data.crops is 1, and the first crop is the picture as it "
                "is; give more crops, or leave [augment] out",
                param="augment",
            )

    def _check_text(self) -> None:
        text = self.text
        if self.start_from and (text.encoder or text.keywords):
            key = "encoder" if text.encoder else "keywords"
            raise ConfigError(
                f"text.{key} and start_from are both given, and the model decides how it reads "
                f"text; leave text.{key} out",
                param=f"text.{key}",
            )
        if text.trainable and not text.encoder and not self.start_from:
            raise ConfigError(
                "text.trainable is true, but text.encoder names no encoder; give both or neither",
                param="text.trainable",
            )

    @property
    def model_licence(self) -> str:
        """The licence that a trained model states, as SPDX names it, or "unknown"."""
        return self.licence or ("unknown" if self.data.source else "Apache-2.0")

    def to_json(self) -> dict[str, Any]:
        """Return the config as plain JSON values."""
        return dataclasses.asdict(self)

    def check_parts(self) -> None:
        """Raise ConfigError when the tables of codec, prior, clip or sampling cannot be used."""
        from limner.codecs import autoencoders
        from limner.priors import PRIORS
        from limner.types import Request, Sampling

        import_parts(self.to_json())
        if self.task == "codec" and (self.codec or not self.start_from):
            _check_part("codec", autoencoders(), self.codec)
        if self.task == "clip":
            self._check_clip()
        if self.task in UNCLIP_TASKS:
            check_unclip(self)
        if self.task == "gan":
            check_gan(self)
        if self.task != "prior":
            return
        for key in FROM_THE_CODEC:
            if key in self.prior:
                raise ConfigError(
                    f"prior.{key} and codec_from are both given, and the codec and the tokenizer "
                    f"decide {key}; leave prior.{key} out",
                    param=f"prior.{key}",
                )
        self._check_encoder("prior", self.prior)
        _check_part("prior", PRIORS, {**self.prior, "text_vocabulary": 1, "vocabulary": 2})
        known = [item.name for item in dataclasses.fields(Sampling)]
        values = dict(self.sampling)
        guidance = values.pop("guidance", None)
        for key in values:
            if key not in known:
                hint = did_you_mean(key, [*known, "guidance"])
                raise ConfigError(f"unknown key sampling.{key}{hint}", param=f"sampling.{key}")
        try:
            Request("any", guidance=guidance, sampling=Sampling(**values))
        except UsageError as error:
            raise ConfigError(f"sampling.{error}", param=f"sampling.{error.param}") from None

    def _check_clip(self) -> None:
        from limner.clip.model import CLIPS

        if self.start_from and self.clip:
            raise ConfigError(
                "[clip] and start_from are both given, and the model decides its sizes; leave "
                "[clip] out",
                param="clip",
            )
        if "text_vocabulary" in self.clip:
            raise ConfigError(
                "clip.text_vocabulary is the tokenizer's own; leave it out",
                param="clip.text_vocabulary",
            )
        if bool(self.codec_from) != bool(self.clip_training.softened):
            raise ConfigError(
                f"codec_from is {quote(self.codec_from)} and clip_training.softened is "
                f"{self.clip_training.softened:g}, but a codec softens; give both or neither",
                param="clip_training.softened",
            )
        self._check_encoder("clip", self.clip)
        check_image_encoder_of(self)
        _check_part("clip", CLIPS, {"name": "clip", **self.clip, "text_vocabulary": 1})

    def _check_encoder(self, table: str, values: Mapping[str, Any]) -> None:
        held = values.get("text_encoder", {})
        named = held.get("name", "own") if isinstance(held, dict) else "own"
        if held and (self.text.encoder or self.start_from or named != "own"):
            raise ConfigError(
                f"{table}.text_encoder describes an encoder of our own for a new model; leave it "
                "out, and name a pretrained one by text.encoder",
                param=f"{table}.text_encoder",
            )


def _check_part(table: str, parts: Parts, values: Mapping[str, Any]) -> None:
    try:
        parse_config(table, parts, values)
    except ConfigError as error:
        param = table if error.param is None else f"{table}.{error.param}"
        raise ConfigError(str(error), param=param) from None


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
    config: TrainConfig = _build(TrainConfig, tree, source, "")
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
        tree[key] = text


def _build(kind: type[Any], tree: Mapping[str, Any], source: Source, prefix: str) -> Any:
    known = {item.name: item for item in dataclasses.fields(kind)}
    values = {}
    for key, value in tree.items():
        dotted = f"{prefix}{key}"
        if key not in known:
            hint = did_you_mean(key, list(known))
            raise ConfigError(f"{source.at(dotted)}: unknown key {dotted}{hint}")
        values[key] = value
        default = default_of(known[key])
        if dataclasses.is_dataclass(default):
            if not isinstance(value, dict):
                raise ConfigError(
                    f"{source.at(dotted)}: {dotted} is {quote(value)}, {a_type(type(value))}; "
                    f"expected a table, as [{dotted}]"
                )
            values[key] = _build(type(default), value, source, f"{dotted}.")
    try:
        return kind(**values)
    except TypeError:
        missing = [name for name, item in known.items() if _is_required(item)]
        lacking = ", ".join(name for name in missing if name not in values)
        raise ConfigError(f"{source.path} lacks {lacking}") from None
    except ConfigError as error:
        dotted = f"{prefix}{error.param}"
        raise ConfigError(f"{source.at(dotted)}: {prefix}{error}") from None


def _is_required(item: "dataclasses.Field[Any]") -> bool:
    return item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING
