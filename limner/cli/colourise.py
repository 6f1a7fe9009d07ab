"""`limner colourise`: a grey picture in, pictures in colour out."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from limner.cli.draw import Metadata, Preview
from limner.cli.shared import drawing, files, options, sampling
from limner.cli.shared.output import Manner, Written, command_line, deliver
from limner.cli.shared.progress import with_progress
from limner.cli.vary import UNCLIP
from limner.types import Request

Prompt = Annotated[
    str | None,
    typer.Argument(metavar="PROMPT", help="What it shows, and in which colours; may be left out."),
]


@options.grouped
def colourise(  # noqa: PLR0913  # typer reads the options off the signature
    sampled: sampling.SampledFromNoise,
    marking: options.Marking,
    guarding: options.Guarding,
    image: options.Image,
    prompt: Prompt = None,
    model: options.OtherModel = UNCLIP,
    count: options.Count = 1,
    seed: options.FirstSeed = None,
    out: options.Out = None,
    device: options.Device = "cpu",
    preview: Preview = True,
    metadata: Metadata = True,
    allow_nonfinite: options.AllowNonfinite = False,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """Colour a grey IMAGE to fit PROMPT; its lightness and size stay.

    Without a PROMPT the colours are a guess. MODEL is of the family unclip.
    """
    sampled.request()  # a mistake in the options is told before a file is opened
    guarding.check(prompt or "")
    manner = Manner(preview, metadata, as_json, quiet, marking.saving(metadata))
    place = files.Place.parse(out, count, as_json=as_json)
    place.prepare()
    options.Loading(device=device).check(model)
    request = sampled.request(prompt or "", n=count, seed=seed, image=files.open_picture(image))
    pipeline = drawing.Drawer(model, allow_nonfinite=allow_nonfinite, device=device).load()
    from limner.colourise import colourise_request

    name = "" if str(image) == files.STANDARD else image.stem
    drawn = colourise_request(
        pipeline, request, watch=lambda steps: with_progress(steps, request.prompt or name)
    )
    stem = f"{files.slug(f'{name} {request.prompt}')}-coloured"
    added = [*marking.spelt(), *guarding.spelt()]
    repeat = partial(repeat_command, image, request, model, out, added)
    deliver(request, drawn, place, manner, guarding.watcher(), repeat, stem)


def repeat_command(
    image: Path,
    request: Request,
    model: str,
    out: Path | None,
    added: Sequence[str],
    written: Written,
) -> str:
    """Return the command line that colours the picture in the same way again."""
    options = {
        "--seed": written.seed,
        "-n": request.n if request.n > 1 else None,
        "--model": None if model == UNCLIP else model,
        "--out": out,
        **sampling.spelt(request),
        "--device": written.unusual("device", "cpu"),
    }
    words = [str(image), request.prompt] if request.prompt else [str(image)]
    verbatim = ["--verbatim"] if request.verbatim else []
    return command_line("colourise", options, [*verbatim, *added], words)
