"""`limner vary`: a picture in, pictures like it out."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from limner.cli.draw import Metadata, Preview
from limner.cli.edit import Strength
from limner.cli.shared import drawing, files, options, sampling
from limner.cli.shared.finishing import spelt_finish
from limner.cli.shared.output import Manner, Written, command_line, deliver
from limner.types import Edit, Request

Prompt = Annotated[
    str | None, typer.Argument(metavar="PROMPT", help="What else it should show; may be left out.")
]
UNCLIP = "unclip"


@options.grouped
def vary(  # noqa: PLR0913  # typer reads the options off the signature
    sampled: sampling.SampledFromNoise,
    finished: options.Finished,
    marking: options.Marking,
    guarding: options.Guarding,
    image: options.Image,
    prompt: Prompt = None,
    strength: Strength = None,
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
    """Draw variations of IMAGE; a PROMPT says what else they show.

    With --strength, IMAGE itself is changed, and MODEL is of the family dalle or unclip; without
    it, of unclip.
    """
    # A mistake in the options is told before a file is opened.
    sampled.request(finish=finished.finish)
    guarding.check(prompt or "")
    manner = Manner(preview, metadata, as_json, quiet, marking.saving(metadata))
    place = files.Place.parse(out, count, as_json=as_json)
    place.prepare()
    options.Loading(device=device).check(model)
    change = None if strength is None else Edit(strength)
    more = {"image": files.open_picture(image), "edit": change, "finish": finished.finish}
    request = sampled.request(prompt or "", n=count, seed=seed, **more)
    drawer = drawing.Drawer(model, allow_nonfinite=allow_nonfinite, device=device)
    added = [*marking.spelt(), *guarding.spelt()]
    name = "" if str(image) == files.STANDARD else image.stem
    stem, watch = f"{files.slug(f'{name} {request.prompt}')}-varied", guarding.watcher()
    for drawn in drawing.drawings(drawer, [request]):
        repeat = partial(repeat_command, image, request, model, out, added)
        deliver(request, drawn, place, manner, watch, repeat, stem)


def repeat_command(
    image: Path,
    request: Request,
    model: str,
    out: Path | None,
    words: Sequence[str],
    written: Written,
) -> str:
    """Return the command line that draws the same pictures again, with `words` besides."""
    options = {
        "--strength": None if request.edit is None else request.edit.strength,
        "--seed": written.seed,
        "-n": request.n if request.n > 1 else None,
        "--model": None if model == UNCLIP else model,
        "--out": out,
        **sampling.spelt(request),
        "--device": written.unusual("device", "cpu"),
    }
    given = [str(image), request.prompt] if request.prompt else [str(image)]
    added = ["--verbatim"] if request.verbatim else []
    added += spelt_finish(request.finish)
    return command_line("vary", options, [*added, *words], given)
