"""What drawing commands share: how they speak, the files they write, and what they tell of them."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from limner.cli.shared.calling import called_as
from limner.cli.shared.files import STANDARD, Place, slug
from limner.cli.shared.messages import say
from limner.cli.shared.progress import clock, shows_colours
from limner.finish.provenance.saving import Saving, encode, marked_as
from limner.types import Picture, Request

if TYPE_CHECKING:
    from PIL.Image import Image

    from limner.draw import Drawn


@dataclass(frozen=True)
class Manner:
    """How the command speaks: what is printed, and what goes into the files."""

    preview: bool
    metadata: bool
    json: bool
    quiet: bool
    saving: Saving = field(default_factory=Saving)  # but its metadata

    def say(self, text: str) -> None:
        """Tell the person something on stderr, unless --quiet."""
        if not self.quiet:
            say(text)

    def notes(self, texts: Sequence[str]) -> None:
        """Tell the person sentences on what was drawn."""
        for text in texts:
            self.say(f"note: {text}")


@dataclass(frozen=True)
class Written:
    """What was drawn of one prompt, and its files; `seed` is that of the first picture tried."""

    seed: int
    drawn: Drawn
    paths: list[Path]
    grid: Path | None
    sheet: Image

    def to_json(self) -> dict[str, Any]:
        """Return the documented answer of `limner draw --json`."""
        pictures = self.drawn.pictures
        first = pictures[0]
        return {
            "prompt": first.prompt,
            "revised_prompt": first.revised_prompt,
            "model": first.model,
            "model_hash": first.settings["model_hash"],
            "seed": self.seed,
            "seconds": round(self.drawn.seconds, 3),
            "pictures": [
                {"path": str(path), "seed": picture.seed, **_score(picture)}
                for path, picture in zip(self.paths, pictures, strict=True)
            ],
            "dropped": [{"seed": each.seed, **_score(each)} for each in self.drawn.dropped],
            "grid": str(self.grid) if self.grid else None,
            "notes": [note.to_json() for note in first.notes],
        }

    def unusual(self, setting: str, usual: str) -> str | None:
        """Return what pictures were drawn with, where it is not what is usual."""
        found = self.drawn.pictures[0].settings.get(setting, usual)
        return None if found == usual else str(found)


def _score(picture: Picture) -> dict[str, float]:
    score = picture.settings.get("clip_score")
    return {} if score is None else {"score": round(score, 4)}


def deliver(
    request: Request,
    drawn: Drawn,
    place: Place,
    manner: Manner,
    watch: Callable[[Sequence[Picture]], list[str]],
    repeat: Callable[[Written], str],
    stem: str = "",
    more: Mapping[str, Any] | None = None,
) -> None:
    """Judge what was drawn of a request, write its files, and say where they are.

    `watch` may refuse pictures, before a file is written, and returns what it is unsure of;
    `repeat` returns the command line that makes them again. The rest is as in `write_files` and
    `report`.
    """
    unsure = watch(drawn.pictures)
    written = write_files(request, drawn, place, manner, stem)
    report(written, repeat(written), manner, more)
    manner.notes(unsure)


def write_files(
    request: Request, drawn: Drawn, place: Place, manner: Manner, stem: str = ""
) -> Written:
    """Write a file for each picture of a request that is kept, and a grid of several.

    Their names begin with `stem`, or with the prompt.
    """
    from limner.images import grid

    stem, saving = stem or slug(request.prompt), replace(manner.saving, metadata=manner.metadata)
    paths = [
        place.write(f"{stem}-{picture.seed}.png", picture.to_png(**asdict(saving)))
        for picture in drawn.pictures
    ]
    sheet = grid([picture.image for picture in drawn.pictures])
    together = None
    if len(paths) > 1:
        together = place.write(
            f"{stem}-{request.seed}-grid.png",
            encode(sheet, "PNG", marked_as(saving, drawn.pictures[0].settings)),
        )
    return Written(request.seed, drawn, paths, together, sheet)


def report(
    written: Written, again: str, manner: Manner, more: Mapping[str, Any] | None = None
) -> None:
    """Print where the files are: JSON or paths on stdout, everything else on stderr.

    `more` are keys of the JSON besides those of the drawing.
    """
    drawn = written.drawn
    clock().pictures += len(drawn.pictures)
    clock().timed = manner.json
    if manner.json:
        typer.echo(json.dumps(written.to_json() | dict(more or {}), ensure_ascii=False))
        return
    if manner.preview and not manner.quiet and shows_colours():
        from limner.images import terminal_preview

        columns = shutil.get_terminal_size().columns
        typer.echo(terminal_preview(written.sheet, columns=columns))
    for path in [*written.paths, *([written.grid] if written.grid else [])]:
        if str(path) != STANDARD:  # there the picture itself was printed
            typer.echo(str(path))
    first = drawn.pictures[0]
    if first.revised_prompt != first.prompt:
        manner.say(f"drew: {first.revised_prompt}")
    for note in first.notes:
        manner.say(f"note: {note}")
    if drawn.dropped:
        tried = len(drawn.pictures) + len(drawn.dropped)
        cost = f"{tried} were drawn and compared, {drawn.seconds / tried:.2f} s each"
        manner.say(f"note: {cost}")
    manner.say(f"seed {written.seed}, {clock().took()}; the same again: {again}")


def command_line(
    command: str, options: Mapping[str, Any], added: Sequence[str], arguments: Sequence[str]
) -> str:
    """Return a command line to copy, without the options that are None."""
    words = [*called_as(), command]
    for name, value in options.items():
        if value is not None:
            words += [name, str(value)]
    dashes = ["--"] if any(each.startswith("-") for each in arguments) else []
    return shlex.join([*words, *added, *dashes, *arguments])
