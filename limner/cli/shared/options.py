"""The options that commands share: one name, one help text and one variable for one thing.

A command takes an option by naming its type here, and a whole group of them by a parameter of the
type `Loading` or `Sampled` and the decorator `grouped`.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from limner.cli.shared import complete
from limner.cli.shared.drawing import Drawer
from limner.cli.shared.sampling import Sampled as Sampled
from limner.cli.shared.sampling import SampledFromNoise
from limner.types import check_device, check_precision

if TYPE_CHECKING:
    from collections.abc import Mapping

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
    "again": frozenset({"out"}),
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
SOURCE = "A folder, a .jsonl, .csv or .tar, a pattern of shards, or KIND:PLACE."

Model = Annotated[
    str,
    typer.Option(
        "--model", envvar="LIMNER_MODEL", help=MODEL, autocompletion=complete.drawing
    ),
]  # fmt: skip
ModelArgument = Annotated[
    str, typer.Argument(metavar="MODEL", help=MODEL, autocompletion=complete.models)
]
UsualModelArgument = Annotated[
    str,
    typer.Argument(
        metavar="MODEL", envvar="LIMNER_MODEL", help=MODEL, autocompletion=complete.drawing
    ),
]
Clip = Annotated[
    str,
    typer.Option(
        "--clip", envvar="LIMNER_CLIP", help=_CLIP, autocompletion=complete.clips
    ),
]  # fmt: skip
ClipOfPictures = Annotated[
    str,
    typer.Option(
        "--clip", "--model", envvar="LIMNER_CLIP", help=_CLIP, autocompletion=complete.clips
    ),
]
OtherModel = Annotated[
    str, typer.Option("--model", help=MODEL, autocompletion=complete.varying)
]  # fmt: skip

Count = Annotated[
    int,
    typer.Option(
        "-n", "--count", "--number", "--samples", help="How many pictures of each prompt."
    ),
]
Prompts = Annotated[
    int, typer.Option("-n", "--count", help="How many prompts of each set, 10 to 10000.")
]
Out = Annotated[
    Path | None,
    typer.Option(
        "-o", "--out", envvar="LIMNER_OUT", show_default="the current folder",
        help="A folder, a file that ends in .png, or - for standard output; "
        "no file is ever lost.",
    ),
]  # fmt: skip
NewFolder = Annotated[
    Path, typer.Option("-o", "--out", metavar="DIR", help="The folder to make; new or empty.")
]
Report = Annotated[
    Path | None,
    typer.Option(
        "-o", "--out", "--html", metavar="DIR", show_default="runs/COMMAND-MODEL",
        help="The report's folder; --json alone writes none, and none is ever lost.",
    ),
]  # fmt: skip
On = Annotated[
    str,
    typer.Option(
        "--on",
        help="scenes, a folder of captioned pictures, or a file of prompts; - is standard input.",
        autocompletion=complete.on,
    ),
]
Source = Annotated[str, typer.Argument(metavar="SOURCE", help=SOURCE)]
OnSource = Annotated[
    str, typer.Option("--on", "--train", metavar="SOURCE", help=f"Captioned pictures. {SOURCE}")
]
Device = Annotated[
    str,
    typer.Option(
        "--device",
        envvar="LIMNER_DEVICE",
        help=DEVICE,
        autocompletion=complete.devices,
    ),
]
Precision = Annotated[
    str,
    typer.Option(
        "--precision", envvar="LIMNER_PRECISION",
        help="fp32, bf16 or int8 weights; the lower ones draw faster.",
        autocompletion=complete.precisions,
    ),
]  # fmt: skip
Seed = Annotated[int, typer.Option("--seed", help="Another seed makes other choices.")]
FirstSeed = Annotated[
    int | None,
    typer.Option(
        "--seed",
        show_default="by chance",
        help="Seed of the first picture; the next ones count up.",
    ),
]
BestOf = Annotated[
    int | None,
    typer.Option("--best-of", help="Draw so many, keep the --count that fit best as --clip finds."),
]
Font = Annotated[
    Path | None,
    typer.Option(
        "--font", show_default="$LIMNER_FONT, or where systems have it",
        help="The path of NotoColorEmoji.ttf.",
    ),
]  # fmt: skip
Ray = Annotated[
    str,
    typer.Option(
        "--ray", metavar="ADDRESS", envvar="LIMNER_RAY",
        help="Work on this Ray cluster; local starts one here; needs the extra ray.",
    ),
]  # fmt: skip
Resume = Annotated[bool, typer.Option("--resume", help="Go on from the state in the out folder.")]
Labels = Annotated[
    str,
    typer.Option("--labels", help="What pictures may show, English or Chinese, as cat,dog,apple."),
]
Image = Annotated[Path, typer.Argument(metavar="IMAGE", help=_FILES)]
Images = Annotated[list[Path], typer.Argument(metavar="IMAGES...", help=_FILES)]
AsJson = Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")]
Quiet = Annotated[
    bool,
    typer.Option(
        "-q",
        "--quiet",
        envvar="LIMNER_QUIET",
        help="Print the answer alone: no progress, no notes.",
    ),
]

Adapters = Annotated[
    list[str] | None,
    typer.Option(
        "--adapter", metavar="FILE[:WEIGHT]", help="Add what limner adapt made; may come again."
    ),
]
AllowNonfinite = Annotated[
    bool, typer.Option("--allow-nonfinite", help="Read a model with NaN weights, for research.")
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
        for each in self.adapter or ():
            Choice.parse(each)
        check_device(self.device)
        check_precision(self.precision)

    def drawer(self, model: str) -> Drawer:
        """Return how the model is loaded."""
        adapters = self.adapter or ()
        return Drawer(model, self.precision, adapters, self.allow_nonfinite, self.device)


GROUPS = (Loading, Sampled, SampledFromNoise)


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of each group that its parameters name.

    They stand before `as_json`, where the options begin that every command has.
    """
    hints = get_type_hints(command, include_extras=True)
    parameters = inspect.signature(command).parameters
    groups = {name: hints[name] for name in parameters if hints[name] in GROUPS}
    own = [
        (name, hints[name], each.default) for name, each in parameters.items() if name not in groups
    ]
    common = [name for name, _, _ in own].index("as_json")
    shared = [each for group in groups.values() for each in _options_of(group)]
    told = [*own[:common], *shared, *own[common:]]

    @functools.wraps(command)
    def called(**values: Any) -> None:
        for name, group in groups.items():
            values[name] = group(**{each: values.pop(each) for each, _, _ in _options_of(group)})
        command(**values)

    called.__annotations__ = {name: hint for name, hint, _ in told}
    called.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter(
                name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hint
            )
            for name, hint, default in told
        ]
    )
    return called


def _options_of(group: type[Any]) -> list[tuple[str, Any, Any]]:
    """Return name, annotation and default of each option of a group."""
    hints = get_type_hints(group, include_extras=True)
    return [(each.name, hints[each.name], each.default) for each in dataclasses.fields(group)]
