"""`limner morph`: from one prompt or picture to another, as an animation."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from limner.cli.shared import files, options, progress, sampling
from limner.cli.shared.finishing import spelt_finish
from limner.cli.shared.options import Finished, Guarding, Loading, Sampled, argument, option
from limner.cli.shared.output import Manner, command_line
from limner.finish.animation import ENDINGS, check_animation
from limner.images import PICTURE_ENDINGS
from limner.types import Picture

if TYPE_CHECKING:
    from limner.morph import Morph
    from limner.types import PictureLike, Request

First = Annotated[str, argument("FIRST", "A prompt, or a PNG, JPEG or WebP file.")]
Last = Annotated[str, argument("LAST", "Another prompt or file.")]
Frames = Annotated[int, option("--frames", "Number of frames, both ends included, 2 to 240.")]
Fps = Annotated[float, option("--fps", "Frames per second, at most 50.")]
Back = Annotated[bool, option("--back", "Return to FIRST at the end, so that it loops smoothly.")]
Seed = Annotated[int | None, option("--seed", "Random seed of both ends.", default="by chance")]
Out = Annotated[
    Path | None,
    option(
        "-o --out",
        "A folder, a .gif, .png, .webp or .mp4 file, or - for standard output (GIF); existing "
        "files are never overwritten. MP4 needs ffmpeg.",
        variable="LIMNER_OUT",
        default="the current folder",
    ),
]


@options.grouped
def morph(  # noqa: PLR0913  # typer reads the options off the signature
    loading: Loading,
    sampled: Sampled,
    finished: Finished,
    guarding: Guarding,
    first: First,
    last: Last,
    frames: Frames = 24,
    fps: Fps = 12.0,
    back: Back = False,
    seed: Seed = None,
    model: options.Model = "default",
    out: Out = None,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """Draw an animation that morphs from FIRST to LAST, prompts or pictures."""
    # 1. Mistakes are told before anything is loaded.
    sampled.request(finish=finished.finish)
    place = files.Place.parse(out, 1, as_json=as_json, endings=ENDINGS)
    ending = Path(place.file or "a.gif").suffix.lower()
    check_animation(f"a{ending}", fps)
    place.prepare()
    loading.check(model)
    with progress.loading("torch"):
        from limner.morph import Asked, draw_morph

    ends = [open_end(each) for each in (first, last)]
    for end in ends:
        guarding.check(end if isinstance(end, str) else "")
    request = {"verbatim": sampled.verbatim, "finish": finished.finish}
    asked = Asked.parse(ends[0], ends[1], frames, seed, sampled.guidance, sampled.sampling, request)
    # 2. The drawing, and its file.
    pipeline = loading.drawer(model).load()
    label = f"{name_of(first)} to {name_of(last)}"
    drawn = draw_morph(pipeline, asked, lambda steps: progress.with_progress(steps, label))
    frames_drawn = [Picture(each, "", drawn.seed, drawn.model) for each in drawn.frames]
    unsure = guarding.watcher()(frames_drawn)
    data = drawn.encode(ending, fps=fps, back=back)
    path = place.write(f"{files.slug(label)}-{drawn.seed}{ending}", data)
    told = {"--frames": frames, "--fps": fps, "--back": back, "--out": out, "--model": model}
    again = repeat_command(asked.ends[0], told, (first, last), loading, drawn, guarding.spelt())
    manner = Manner(False, False, as_json, quiet)
    report(drawn, path, again, manner)
    manner.notes(unsure)


def open_end(word: str) -> PictureLike:
    """Return a word of the command line as it is, or the picture of the file that it names.

    What ends as a picture's file does names one, whether it is there or not.
    """
    path = Path(word)
    is_picture = path.suffix.lower() in PICTURE_ENDINGS
    return files.open_picture(path) if is_picture else word


def name_of(word: str) -> str:
    """Return what a file's name begins with for an end: the prompt, or the picture's name."""
    path = Path(word)
    return path.stem if path.suffix.lower() in PICTURE_ENDINGS else word


def repeat_command(
    request: Request,
    told: dict[str, Any],
    words: tuple[str, str],
    loading: Loading,
    drawn: Morph,
    more: Sequence[str] = (),
) -> str:
    """Return the command line that draws the same morph again."""
    usual = {"--frames": 24, "--fps": 12.0, "--model": "default", "--back": False}
    given = {
        "--seed": drawn.seed,
        **{
            name: value
            for name, value in told.items()
            if name != "--back" and value != usual.get(name)
        },
        **sampling.spelt(request),
        "--precision": loading.precision if loading.precision != "fp32" else None,
        "--device": loading.device if loading.device != "cpu" else None,
    }
    added = [word for each in loading.adapter or () for word in ("--adapter", each)]
    added += ["--verbatim"] if request.verbatim else []
    added += ["--back"] if told["--back"] else []
    added += spelt_finish(request.finish)
    return command_line("morph", given, [*added, *more], words)


def report(drawn: Morph, path: Path, again: str, manner: Manner) -> None:
    """Print where the animation is: JSON or its path on stdout, everything else on stderr."""
    clock = progress.clock()
    clock.pictures += len(drawn.frames)
    clock.timed = manner.json
    if manner.json:
        answer = {
            "first": drawn.first,
            "last": drawn.last,
            "model": drawn.model,
            "model_hash": drawn.settings["model_hash"],
            "seed": drawn.seed,
            "seconds": round(drawn.seconds, 3),
            "path": str(path),
            "frames": len(drawn.frames),
            "change": {
                "median": round(statistics.median(drawn.changes), 5),
                "greatest": round(max(drawn.changes), 5),
            },
            "notes": [note.to_json() for note in drawn.notes],
        }
        typer.echo(json.dumps(answer, ensure_ascii=False))
        return
    if str(path) != files.STANDARD:
        typer.echo(str(path))
    for note in drawn.notes:
        manner.say(f"note: {note}")
    manner.say(f"seed {drawn.seed}, {clock.took()}; the same again: {again}")
