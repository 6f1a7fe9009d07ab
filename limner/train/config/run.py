"""A training run as checked values: what every run has, and the tables of its task."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

from limner.errors import ConfigError, quote
from limner.parts import import_parts
from limner.train.config.fields import Checked, exclude, given, need, number
from limner.train.config.shared import AugmentTable, DataConfig, LoopConfig, TextConfig
from limner.train.tasks import Task, call, find_task, known_tables, tables_of, tasks_with

Settings = TypeVar("Settings")
APART = ("tables", "notes")  # fields that are no keys of a run's file


@dataclass(frozen=True)
class TrainConfig(Checked):
    """A whole run: what to train, where to, on what and how.

    `tables` are those of the task alone, by key: dataclasses of settings, and plain values of
    parts. `licence` goes with the model; empty, it is "unknown" for pictures of one's own. `notes`
    tells what a person should know of how the config was read.
    """

    task: str
    out: str
    start_from: str = ""
    codec_from: str = ""
    clip_from: str = ""
    text_length: int = number(32, least=4, most=1024)
    licence: str = ""
    data: DataConfig = field(default_factory=DataConfig)
    augment: AugmentTable = field(default_factory=AugmentTable)
    loop: LoopConfig = field(default_factory=LoopConfig)
    text: TextConfig = field(default_factory=TextConfig)
    sampling: Mapping[str, Any] = field(default_factory=dict)
    tables: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        import_parts({"task": self.task})  # a config is a person's own, so its module may run
        held = tables_of(self.kind) | dict(self.tables)  # defaults of what was not given
        object.__setattr__(self, "tables", held)
        if not self.out or "\0" in self.out:
            raise ConfigError(f"out is {quote(self.out)}; expected a folder", param="out")
        self._check_tables()
        self._check_data()
        model = "the model decides how it reads text"
        exclude(self, "text.encoder", "start_from", model)
        exclude(self, "text.keywords", "start_from", model)
        if not self.start_from:
            need(self, "text.trainable", "text.encoder", "a pretrained encoder")

    @cached_property
    def kind(self) -> Task:
        """What the task of this name takes and does."""
        return find_task(self.task)

    @property
    def model_licence(self) -> str:
        """The licence that a trained model states, as SPDX names it, or "unknown"."""
        return self.licence or ("unknown" if self.data.source else "Apache-2.0")

    def value(self, key: str) -> Any:
        """Return a field or a table by its key; a table that was not given is as by default."""
        if key in self.tables:
            return self.tables[key]
        return getattr(self, key) if hasattr(self, key) else known_tables().get(key, {})

    def settings(self, kind: type[Settings]) -> Settings:
        """Return the task's settings of a kind."""
        return next((each for each in self.tables.values() if isinstance(each, kind)), kind())

    def part(self, key: str) -> Mapping[str, Any]:
        """Return the values that describe a part, {} where none are given."""
        values: Mapping[str, Any] = self.tables.get(key, {})
        return values

    def changed(self, **values: Any) -> "TrainConfig":
        """Return this config with other fields and tables, each by its key."""
        names = {each.name for each in dataclasses.fields(self)}
        tables = {key: value for key, value in values.items() if key not in names}
        fields = {key: value for key, value in values.items() if key in names}
        return dataclasses.replace(self, **{"tables": {**self.tables, **tables}, **fields})

    def to_json(self) -> dict[str, Any]:
        """Return the config as plain JSON values, under the keys of a run's file."""
        tree = dataclasses.asdict(self)  # tables in tables become plain too
        return {key: tree[key] for key in tree if key not in APART} | tree["tables"]

    def check_parts(self) -> None:
        """Raise ConfigError where the task cannot be trained as the config says."""
        import_parts(self.to_json())
        call(self.kind.check, self)

    def _check_tables(self) -> None:
        for key, value in self.tables.items():
            # The values of another task's part are left alone: a file may describe several.
            if key not in self.kind.tables and dataclasses.is_dataclass(value) and given(self, key):
                raise ConfigError(
                    f"[{key}] and task {self.task!r} are both given, and it is of the task "
                    f"{' or '.join(map(repr, tasks_with(key)))}; leave one of them out",
                    param=key,
                )

    def _check_data(self) -> None:
        kind, data = self.kind, self.data
        if self.loop.parallel == "fsdp" and not kind.fsdp:
            raise ConfigError(
                f"loop.parallel is 'fsdp', and a {self.task} is small enough for 'ddp', the only "
                "way it is trained on several ranks; leave parallel out",
                param="loop.parallel",
            )
        if self.loop.compile and not kind.compiles:
            raise ConfigError(
                f"loop.compile is true, and task {self.task!r} compiles no step; leave compile out",
                param="loop.compile",
            )
        if data.source and not kind.source:
            raise ConfigError(
                f"data.source and task {self.task!r} are both given, and that is learnt from "
                "emoji scenes; leave data.source out",
                param="data.source",
            )
        if not kind.codes and data.crops != 1:
            raise ConfigError(
                "data.crops is of a prior, which reads codes; a codec sees a new crop at every "
                "step: leave data.crops out",
                param="data.crops",
            )
        need(self, "augment", "data.source", "the pictures of one's own that it alters")
        if kind.codes and given(self, "augment") and data.crops == 1:
            raise ConfigError(
                "[augment] is given, but data.crops is 1, and the first crop is the picture as it "
                "is; give more crops, or leave [augment] out",
                param="augment",
            )
