"""`limner data`: folders of pictures to train on."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from types import FrameType

app = typer.Typer(no_args_is_help=True, help="Make, check and clean data to train on.")
make = typer.Typer(no_args_is_help=True, help="Make pictures with captions.")
app.add_typer(make, name="make")

Out = Annotated[Path, typer.Option(help="The folder to make; it must be new or empty.")]
Split = Annotated[str, typer.Option(help="train, validation or held_out.")]
Count = Annotated[int, typer.Option(help="How many scenes.")]
Size = Annotated[int, typer.Option(help="Side of the pictures in pixels, 16 to 512.")]
Level = Annotated[
    int, typer.Option(help="1 singles, 2 and counts, 3 and pairs, 4 and styles, 5 mostly pairs.")
]
Seed = Annotated[int, typer.Option(help="Another seed gives other scenes.")]
Font = Annotated[Path | None, typer.Option(help="The path of NotoColorEmoji.ttf.")]
Language = Annotated[str, typer.Option(help="Language of the captions: en, zh or both.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@make.command("scenes")
def make_scenes(  # noqa: PLR0913  # typer reads the options off the signature
    out: Out,
    split: Split = "train",
    count: Count = 1000,
    size: Size = 64,
    level: Level = 4,
    seed: Seed = 0,
    font: Font = None,
    language: Language = "both",
    as_json: AsJson = False,
) -> None:
    """Make emoji scenes: PNG files and metadata.jsonl with captions, graphs and boxes."""
    from limner.data.make import SceneFolder, make_scenes

    settings = SceneFolder(split, count, size, level, seed, language, str(font) if font else None)
    began = time.perf_counter()
    with leaving_on_termination(), closing(make_scenes(settings, out)) as done:
        show_progress(done, count)
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


def show_progress(done: Iterator[int], total: int) -> None:
    """Run an iterator of counts to its end, with a bar on stderr where a person can see one."""
    if not sys.stderr.isatty():
        for _ in done:
            pass
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("pictures", total=total)
        for number in done:
            progress.update(task, completed=number)


@contextmanager
def leaving_on_termination() -> Iterator[None]:
    """Let SIGTERM leave as an exception does, so that what was begun is cleared away."""

    def leave(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
