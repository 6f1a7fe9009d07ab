"""The options that commands share: one name, one help text and one variable for one thing.

A command takes an option by naming its type here, and a whole group of them by a parameter of the
type `Loading`, `Sampled`, `Marking` or `Guarding` and the decorator `grouped`.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from limner.cli.shared import complete
from limner.cli.shared.drawing import Drawer
from limner.cli.shared.finishing import Finished as Finished
from limner.cli.shared.origin import Guarding as Guarding
from limner.cli.shared.origin import Marking as Marking
from limner.cli.shared.sampling import Sampled as Sampled
from limner.cli.shared.sampling import SampledFromNoise
from limner.types import check_device, check_precision

# Spellings of earlier versions, each with the one that took its place where both are declared: they
# work, and help does not show them.
OLD = {
    "--number": "--count",
    "--samples": "--count",
    "--html": "--out",
    "--folder": "--out",
    "--prompts": "--captions",
    "--train": "--on",
    "--reference": "--shares",
    "--model": "--clip",
}
# By command, what reads standard input or writes standard output where "-" is given.
STREAMS: Mapping[str, frozenset[str]] = {
    "draw": frozenset({"prompt", "prompts", "out"}),
    "vary": frozenset({"image", "out"}),
    "edit": frozenset({"image", "out"}),
    "outpaint": frozenset({"image", "out"}),
    "colourise": frozenset({"image", "out"}),
    "restyle": frozenset({"image", "out"}),
    "morph": frozenset({"out"}),
    "upscale": frozenset({"image", "out"}),
    "again": frozenset({"out"}),
    "explain": frozenset({"out"}),
    "rank": frozenset({"images"}),
    "classify": frozenset({"image"}),
    "train": frozenset({"config"}),
    "eval": frozenset({"on"}),
    "compare": frozenset({"on"}),
    "arena": frozenset({"prompts"}),
    "bias": frozenset({"prompts"}),
}

MODEL = "A model's name, its folder or run, or hf:owner/name."
_CLIP = "The CLIP that compares pictures with words: a name, its folder or run, or hf:owner/name."
DEVICE = "cpu, cuda, cuda:N, or auto: a GPU if one is there."
_FILES = "A PNG, JPEG or WebP file; - is standard input."
SEED = "Random seed."
SOURCE = "A folder, a .jsonl, .csv or .tar, a pattern of shards, or KIND:PLACE."

Offers = Callable[..., complete.Candidates]


def option(
    names: str,
    about: str,
    offers: Offers | None = None,
    *,
    variable: str | None = None,
    default: bool | str = True,
    metavar: str | None = None,
) -> Any:
    """Return an option of typer's; `names` have spaces between, the long one that is shown first.

    `about` is its help, `offers` completes its value, `variable` names one that gives it too, and
    `default` says in words what holds without it.
    """
    return typer.Option(
        *names.split(), help=about, autocompletion=offers, envvar=variable, show_default=default,
        metavar=metavar,
    )  # fmt: skip


def argument(
    metavar: str, about: str, offers: Offers | None = None, *, variable: str | None = None
) -> Any:
    """Return an argument of typer's, with the meanings of `option`."""
    return typer.Argument(metavar=metavar, help=about, autocompletion=offers, envvar=variable)


Model = Annotated[str, option("--model", MODEL, complete.drawing, variable="LIMNER_MODEL")]
ModelArgument = Annotated[str, argument("MODEL", MODEL, complete.models)]
UsualModelArgument = Annotated[
    str, argument("MODEL", MODEL, complete.drawing, variable="LIMNER_MODEL")
]
Clip = Annotated[str, option("--clip", _CLIP, complete.clips, variable="LIMNER_CLIP")]
ClipOfPictures = Annotated[
    str, option("--clip --model", _CLIP, complete.clips, variable="LIMNER_CLIP")
]
OtherModel = Annotated[str, option("--model", MODEL, complete.varying)]

Count = Annotated[
    int, option("-n --count --number --samples", "Number of pictures for each prompt.")
]
Prompts = Annotated[int, option("-n --count", "Number of prompts in each set, 10 to 10000.")]
Out = Annotated[
    Path | None,
    option(
        "-o --out",
        "A folder, a .png file, or - for standard output; existing files are never overwritten.",
        variable="LIMNER_OUT",
        default="the current folder",
    ),
]
NewFolder = Annotated[Path, option("-o --out", "Output folder; new or empty.", metavar="DIR")]
Report = Annotated[
    Path | None,
    option(
        "-o --out --html",
        "Folder of the report; none with --json alone; never overwritten.",
        metavar="DIR",
        default="runs/COMMAND-MODEL",
    ),
]
On = Annotated[
    str,
    option(
        "--on",
        "scenes, a folder of captioned pictures, or a file of prompts; - is standard input.",
        complete.on,
    ),
]
Source = Annotated[str, argument("SOURCE", SOURCE)]
OnSource = Annotated[str, option("--on --train", f"Captioned pictures. {SOURCE}", metavar="SOURCE")]
Device = Annotated[str, option("--device", DEVICE, complete.devices, variable="LIMNER_DEVICE")]
Precision = Annotated[
    str,
    option(
        "--precision",
        "Precision of the weights: fp32, bf16 or int8; lower ones draw faster.",
        complete.precisions,
        variable="LIMNER_PRECISION",
    ),
]
Seed = Annotated[int, option("--seed", SEED)]
FirstSeed = Annotated[
    int | None,
    option("--seed", "Seed of the first picture; the next ones count up.", default="by chance"),
]
BestOf = Annotated[
    int | None, option("--best-of", "Draw N, and keep the --count that fit the prompt best.")
]
Font = Annotated[
    Path | None,
    option(
        "--font", "Path of NotoColorEmoji.ttf.", default="$LIMNER_FONT, or where systems have it"
    ),
]
Ray = Annotated[
    str,
    option(
        "--ray",
        "Ray cluster to run on; local starts one here; needs the extra ray.",
        metavar="ADDRESS",
        variable="LIMNER_RAY",
    ),
]
Resume = Annotated[
    bool, option("--resume", "Resume from the last checkpoint in the output folder.")
]
Labels = Annotated[str, option("--labels", "Labels in English or Chinese, such as cat,dog,apple.")]
Image = Annotated[Path, argument("IMAGE", _FILES)]
Images = Annotated[list[Path], argument("IMAGES...", _FILES)]
AsJson = Annotated[bool, option("--json", "Print the result as JSON.")]
Quiet = Annotated[
    bool,
    option(
        "-q --quiet", "Print the result alone: no progress bar, no notes.", variable="LIMNER_QUIET"
    ),
]

Adapters = Annotated[
    list[str] | None,
    option(
        "--adapter",
        "An adapter (LoRA) that limner adapt made; may be repeated.",
        metavar="FILE[:WEIGHT]",
    ),
]
AllowNonfinite = Annotated[
    bool, option("--allow-nonfinite", "Load a model even if weights are NaN or infinite.")
]


@dataclass(frozen=True)
class Loading:
    """How a model that draws is loaded, as options say it."""

    precision: Precision = "fp32"
    device: Device = "cpu"
    adapter: Adapters = None
    allow_nonfinite: AllowNonfinite = False

    def check(self, model: str, clip: str | None = None) -> None:
        """Raise what loading a model, and a CLIP where one is named, would, if cheap to tell."""
        from limner import registry
        from limner.checkpoint.adapters import Choice

        registry.check(model)
        if clip is not None:
            registry.check(clip, draws=False)
        for each in self.adapter or ():  # files that are there, and weights in range
            Choice.parse(each)
        check_device(self.device)
        check_precision(self.precision)

    def drawer(self, model: str) -> Drawer:
        """Return how the model is loaded."""
        adapters = self.adapter or ()
        return Drawer(model, self.precision, adapters, self.allow_nonfinite, self.device)


GROUPS = (Loading, Sampled, SampledFromNoise, Finished, Marking, Guarding)


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of each group that its parameters name.

    They stand before `as_json`, where the options begin that every command has.
    """
    parameters = inspect.signature(command, eval_str=True).parameters.values()
    groups = {each.name: each.annotation for each in parameters if each.annotation in GROUPS}
    own = [each for each in parameters if each.name not in groups]
    common = [each.name for each in own].index("as_json")
    shared = [each for group in groups.values() for each in _options_of(group)]
    # 1. To typer, which reads the signature, the command has every option by itself.
    listed = [
        each.replace(kind=inspect.Parameter.KEYWORD_ONLY)  # so that defaults need no order
        for each in (*own[:common], *shared, *own[common:])
    ]

    # 2. Called by typer, it puts the options of each group together again.
    @functools.wraps(command)
    def called(**values: Any) -> None:
        for name, group in groups.items():
            values[name] = group(
                **{each.name: values.pop(each.name) for each in _options_of(group)}
            )
        command(**values)

    called.__annotations__ = {each.name: each.annotation for each in listed}
    called.__signature__ = inspect.Signature(listed)  # type: ignore[attr-defined]
    return called


def _options_of(group: type[Any]) -> list[inspect.Parameter]:
    """Return name, annotation and default of each option of a group."""
    return list(inspect.signature(group, eval_str=True).parameters.values())
