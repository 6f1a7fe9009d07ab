"""The trainable parts by name: each is one folder, and one entry here.

What an entry names is imported when a run asks for it. A part of another package is a `Task` too:
it has the name of its entry point in the group `limner.tasks`, or is `module:TASK`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from typing import Any

from limner.errors import ConfigError, quote
from limner.parts import find_object


@dataclass(frozen=True)
class Task:
    """What a run of a trainable part takes, and what trains it; text is `module:name`.

    `step` makes a `limner.train.steps.Step` of a config and the opened pictures, or None. `tables`
    are those of the run's file beside the shared ones, by key: a dataclass of settings, or "" for
    the plain values of a part that has a `name`. `check` raises ConfigError for a config that
    cannot be trained.

    It may learn from pictures of one's own (`source`), also as codes (`codes`), of which one is
    enough where it is `few`. It may run on several `ranks`, and in slices (`fsdp`); it `compiles`
    where its step calls `limner.train.steps.compiled`. `cost` tells what a step costs, for a plan.
    `watches` is the number of a step that is a discriminator's hinge loss, to be told when it errs
    no more.
    """

    step: str | Callable[..., Any]
    tables: Mapping[str, str | type[Any]] = field(default_factory=dict)
    check: str | Callable[[Any], None] = ""  # of a whole config, once its tables are sound
    source: bool = False
    codes: bool = False
    few: bool = False
    ranks: bool = False
    fsdp: bool = False
    compiles: bool = False
    cost: str = ""
    watches: str = ""


def _ours(
    part: str, step: str, tables: Mapping[str, str], check: str = "check", **more: Any
) -> Task:
    """Return the task of a folder here, whose files have the names that all of them have."""
    folder = f"limner.train.{part}"
    # "" stays as it is: the plain values of a part.
    settings = {key: name and f"{folder}.settings:{name}" for key, name in tables.items()}
    return Task(f"{folder}.step:{step}", settings, f"{folder}.settings:{check}", **more)


_UNCLIP = {
    "unclip_training": "UnClipTraining", "decoder": "", "embedding_prior": "", "upsampler": ""
}  # fmt: skip

TASKS: dict[str, Task] = {
    "codec": _ours(
        "codec", "CodecStep", {"codec": "", "codec_training": "CodecTraining"},
        source=True, ranks=True, compiles=True, cost="limner.train.codec.cost:cost",
        watches="discriminator",
    ),
    "things": Task(
        "limner.train.codec.things:ThingsStep",
        {
            "codec": "",
            "codec_training": "limner.train.codec.settings:CodecTraining",
            "things_training": "limner.train.codec.things_settings:ThingsTraining",
        },
        "limner.train.codec.things_settings:check",
    ),
    "features": Task("limner.train.features.step:FeaturesStep", ranks=True),
    "prior": _ours(
        "prior", "PriorStep",
        {"codec": "", "prior": "", "prior_training": "PriorTraining"},
        source=True, codes=True, ranks=True, fsdp=True, compiles=True,
        cost="limner.train.prior.cost:cost",
    ),
    "clip": _ours(
        "clip", "ClipStep",
        {"clip": "", "clip_training": "ClipTraining", "vision": "VisionConfig"}, ranks=True,
    ),
    "adapt": _ours(
        "adapter", "AdaptStep", {"adapt": "AdaptTraining"}, source=True, codes=True, few=True
    ),
    "decoder": _ours("unclip", "DecoderStep", _UNCLIP, "check_decoder", compiles=True),
    "embedding_prior": _ours("unclip", "EmbeddingPriorStep", _UNCLIP, "check_embedding_prior"),
    "upsampler": _ours("unclip", "UpsamplerStep", _UNCLIP, "check_upsampler"),
    "upscale": _ours(
        "upscale", "UpscaleStep",
        {"upscaler": "UpscalerTable", "upscale_training": "UpscaleTraining"},
        source=True, ranks=True,
    ),
    "gan": _ours(
        "gan", "GanStep", {"generator": "", "discriminator": "", "gan_training": "GanTraining"},
        source=True, compiles=True,
    ),
}  # fmt: skip


def find_task(name: object) -> Task:
    """Return the task of a name; ConfigError where there is none, or what has it is no `Task`."""
    try:
        found = find_object("task", TASKS, name)
    except ConfigError as error:
        raise ConfigError(str(error), param="task") from None
    if not isinstance(found, Task):
        raise ConfigError(
            f"task {quote(name)} is no limner.train.tasks.Task; make one, and name that",
            param="task",
        )
    return found


def tables_of(task: Task) -> dict[str, Any]:
    """Return by key the settings of a task's tables as they are by default, {} for a part's."""
    return {key: _resolved(kind)() if kind else {} for key, kind in task.tables.items()}


# Reading a config asks for these at every key; the modules are small and need no torch step.
@cache
def known_tables() -> Mapping[str, Any]:
    """Return what `tables_of` does of all tasks of limner together."""
    return {key: value for task in TASKS.values() for key, value in tables_of(task).items()}


def tasks_with(table: str) -> list[str]:
    """Return the names of the tasks that take a table."""
    return [name for name, task in TASKS.items() if table in task.tables]


def call(what: str | Callable[..., Any], *values: Any) -> Any:
    """Call what an entry of a task names, "" for nothing, and return what it returns."""
    return _resolved(what)(*values) if what else None


def _resolved(what: str | Callable[..., Any]) -> Any:
    if not isinstance(what, str):
        return what
    module, _, name = what.partition(":")
    return getattr(import_module(module), name)
