"""`limner data`: folders of pictures to train on."""

from __future__ import annotations

import json
import time
from contextlib import closing
from typing import Annotated

import typer

from limner.cli.shared import complete, options
from limner.cli.shared.command import Command, Group
from limner.cli.shared.progress import loading, showing

app = typer.Typer(cls=Group, no_args_is_help=True, help="Make, check and clean data to train on.")
make = typer.Typer(cls=Group, no_args_is_help=True, help="Make pictures with captions.")
app.add_typer(make, name="make")

Split = Annotated[
    str,
    typer.Option(
        "--split", help="train, validation or held_out.", autocompletion=complete.splits
    ),
]  # fmt: skip
Count = Annotated[int, typer.Option("-n", "--count", help="How many scenes.")]
Size = Annotated[int, typer.Option("--size", help="Side of the pictures in pixels, 16 to 512.")]
Level = Annotated[
    int,
    typer.Option(
        "--level", help="1 singles, 2 and counts, 3 and pairs, 4 and styles, 5 mostly pairs."
    ),
]
Language = Annotated[
    str,
    typer.Option(
        "--language",
        help="Language of the captions: en, zh or both.",
        autocompletion=complete.languages,
    ),
]


@make.command("scenes", cls=Command)
def make_scenes(  # noqa: PLR0913  # typer reads the options off the signature
    out: options.NewFolder,
    split: Split = "train",
    count: Count = 1000,
    size: Size = 64,
    level: Level = 4,
    seed: options.Seed = 0,
    font: options.Font = None,
    language: Language = "both",
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """Make emoji scenes: PNG files and metadata.jsonl with captions, graphs and boxes."""
    with loading("scenes", tells=False):
        from limner.data.scenes.make import SceneFolder, make_scenes

    settings = SceneFolder(split, count, size, level, seed, language, str(font) if font else None)
    began = time.perf_counter()
    with closing(make_scenes(settings, out)) as steps, showing() as show:
        for done in steps:
            show("scenes", done, count)
    answer = {
        "out": str(out),
        "split": split,
        "count": count,
        "size": size,
        "level": level,
        "seed": seed,
        "language": language,
        "seconds": round(time.perf_counter() - began, 3),
    }
    typer.echo(json.dumps(answer, ensure_ascii=False) if as_json else str(out))
