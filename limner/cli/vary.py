"""`limner vary`: a picture in, pictures like it out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from limner.cli.draw import Metadata, Preview
from limner.cli.shared import options
from limner.cli.shared.drawing import Drawer, drawings
from limner.cli.shared.files import STANDARD, Place, open_picture, slug
from limner.cli.shared.output import (
    Choice,
    Drawn,
    Manner,
    command_line,
    report,
    unusual,
    write_files,
)
from limner.cli.shared.progress import with_progress
from limner.types import Request, Sampling

Prompt = Annotated[
    str | None, typer.Argument(metavar="PROMPT", help="What else it should show; may be left out.")
]
UNCLIP = "unclip"


def vary(  # noqa: PLR0913  # typer reads the options off the signature
    image: options.Image,
    prompt: Prompt = None,
    model: options.OtherModel = UNCLIP,
    count: options.Count = 1,
    seed: options.FirstSeed = None,
    out: options.Out = None,
    guidance: options.Guidance = None,
    guidance_schedule: options.Schedule = None,
    steps: options.Steps = None,
    sampler: options.Sampler = None,
    device: options.Device = "cpu",
    verbatim: options.Verbatim = False,
    preview: Preview = True,
    metadata: Metadata = True,
    allow_nonfinite: options.AllowNonfinite = False,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """Draw pictures that show what IMAGE shows, and with a PROMPT as it says besides.

    MODEL is of the family unclip.
    """
    sampling = Sampling(guidance_schedule=guidance_schedule, steps=steps, sampler=sampler)
    manner = Manner(preview, metadata, as_json, quiet)
    place = Place.parse(out, count, as_json=as_json)
    place.prepare()
    options.Loading(device=device).check(model)
    request = Request(
        prompt or "",
        n=count,
        seed=seed,  # type: ignore[arg-type]  # None until Request chooses one
        guidance=guidance,
        sampling=sampling,
        image=open_picture(image),
        verbatim=verbatim,
    )
    drawer = Drawer(model, allow_nonfinite=allow_nonfinite, device=device)
    name = "" if str(image) == STANDARD else image.stem
    for pictures, seconds in drawings(drawer, [request], with_progress, ray=""):
        stem = f"{slug(f'{name} {request.prompt}')}-varied"
        drawn = write_files(request, pictures, seconds, place, manner, Choice(count), stem)
        report(drawn, repeat_command(image, request, model, out, drawn), manner)


def repeat_command(
    image: Path, request: Request, model: str, out: Path | None, drawn: Drawn
) -> str:
    """Return the command line that draws the same pictures again."""
    options = {
        "--seed": drawn.seed,
        "-n": request.n if request.n > 1 else None,
        "--model": None if model == UNCLIP else model,
        "--out": out,
        "--guidance": request.guidance,
        "--guidance-schedule": request.sampling.guidance_schedule,
        "--steps": request.sampling.steps,
        "--sampler": request.sampling.sampler,
        "--device": unusual(drawn, "device", "cpu"),
    }
    words = [str(image), request.prompt] if request.prompt else [str(image)]
    added = ["--verbatim"] if request.verbatim else []
    return command_line("vary", options, added, words)
