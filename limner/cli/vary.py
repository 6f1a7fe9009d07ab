"""`limner vary`: a picture in, pictures like it out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from limner.cli.draw import (
    AllowNonfinite,
    Device,
    Guidance,
    NoMetadata,
    NoPreview,
    Out,
    Sampler,
    Schedule,
    Seed,
    Steps,
)
from limner.cli.drawing import Drawer, drawings
from limner.cli.files import Place, slug
from limner.cli.progress import Quiet, clock, with_progress
from limner.cli.writing import (
    Choice,
    Drawn,
    Manner,
    command_line,
    report,
    unusual,
    write_files,
)
from limner.types import Request, Sampling

Image = Annotated[
    Path, typer.Argument(metavar="IMAGE", help="A PNG, JPEG or WebP file of any size.")
]
Prompt = Annotated[
    str | None, typer.Argument(metavar="PROMPT", help="What else it should show; may be left out.")
]
Count = Annotated[int, typer.Option("-n", "--number", help="How many pictures.")]
Model = Annotated[
    str, typer.Option(help="A model of the family unclip: a name, its folder, or hf:owner/name.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print a JSON object.")]
UNCLIP = "unclip"


def vary(  # noqa: PLR0913  # typer reads the options off the signature
    image: Image,
    prompt: Prompt = None,
    model: Model = UNCLIP,
    n: Count = 1,
    seed: Seed = None,
    out: Out = None,
    guidance: Guidance = None,
    guidance_schedule: Schedule = None,
    steps: Steps = None,
    sampler: Sampler = None,
    device: Device = "cpu",
    no_preview: NoPreview = False,
    no_metadata: NoMetadata = False,
    allow_nonfinite: AllowNonfinite = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Draw pictures that show what IMAGE shows, and with a PROMPT as it says besides."""
    clock().quiet = quiet
    from limner.images import open_image

    sampling = Sampling(guidance_schedule=guidance_schedule, steps=steps, sampler=sampler)
    request = Request(
        prompt or "",
        n=n,
        seed=seed,  # type: ignore[arg-type]  # None until Request chooses one
        guidance=guidance,
        sampling=sampling,
        image=open_image(image),
    )
    manner = Manner(not no_preview, not no_metadata, as_json, quiet)
    place = Place.parse(out, n)
    place.prepare()
    drawer = Drawer(model, allow_nonfinite=allow_nonfinite, device=device)
    for pictures, seconds in drawings(drawer, [request], with_progress, ray=""):
        stem = f"{slug(f'{image.stem} {request.prompt}')}-varied"
        drawn = write_files(request, pictures, seconds, place, manner, Choice(n), stem)
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
    return command_line("vary", options, [], words)
