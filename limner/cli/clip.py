"""`limner rank` and `limner clip`: what a CLIP finds of pictures."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from limner.cli.models import table
from limner.cli.shared import options
from limner.cli.shared.command import Command, Group
from limner.cli.shared.files import open_picture
from limner.cli.shared.progress import loading, note
from limner.text.notes import Note
from limner.types import Request, check_device

app = typer.Typer(cls=Group, no_args_is_help=True, help="Ask a CLIP what pictures show.")

Prompt = Annotated[str, typer.Option("--prompt", help="What the pictures should show.")]


def rank(
    images: options.Images,
    prompt: Prompt,
    clip: options.ClipOfPictures = "clip",
    device: options.Device = "cpu",
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """Put IMAGES in order by how well they fit a prompt (100 x cosine), the best first."""
    request = Request(prompt)
    check(clip, device)
    opened = [open_picture(path) for path in images]
    with loading(clip):
        from limner.finish.rank import rank as rank_images
        from limner.registry import load_clip

        loaded = load_clip(clip, device=device)
    began = time.perf_counter()
    reading = loaded.reading_of(request)
    ranked = rank_images(loaded, reading.text, opened)
    report(
        {
            "prompt": request.prompt,
            "revised_prompt": reading.text,
            "model": loaded.info.name,
            "model_hash": loaded.info.sha256,
        }
        | {"seconds": round(time.perf_counter() - began, 3)}
        | {"pictures": [{"path": str(images[at]), "score": round(s, 4)} for at, s in ranked]},
        "pictures",
        reading.notes,
        as_json,
        quiet,
    )


@app.command("classify", cls=Command)
def classify(
    image: options.Image,
    labels: options.Labels,
    clip: options.ClipOfPictures = "clip",
    device: options.Device = "cpu",
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """Say which of some labels fits IMAGE, without having been trained for them (zero-shot)."""
    check(clip, device)

    names = [name for part in re.split("[,，]", labels) if (name := " ".join(part.split()))]
    opened = open_picture(image)
    with loading(clip):
        from limner.registry import load_clip

        loaded = load_clip(clip, device=device)
    shares = loaded.classify([opened], names)[0].tolist()
    order = sorted(zip(names, shares, strict=True), key=lambda entry: -entry[1])
    typed = [Request(name, verbatim=True) for name in names]
    notes = [each for request in typed for each in loaded.reading_of(request).notes]
    report(
        {"path": str(image), "model": loaded.info.name, "model_hash": loaded.info.sha256}
        | {"labels": [{"label": name, "probability": round(s, 4)} for name, s in order]},
        "labels",
        notes,
        as_json,
        quiet,
    )


def check(clip: str, device: str) -> None:
    """Raise what is wrong with the names of a CLIP and a device, before torch is imported."""
    from limner import registry

    registry.check(clip, draws=False)
    check_device(device)


def report(
    answer: dict[str, Any], rows: str, notes: Sequence[Note], as_json: bool, quiet: bool
) -> None:
    """Print an answer as JSON, or its `rows` as a table on stdout and its notes on stderr."""
    if as_json:
        typer.echo(
            json.dumps(answer | {"notes": [note.to_json() for note in notes]}, ensure_ascii=False)
        )
        return
    typer.echo(table([tuple(map(str, row.values())) for row in answer[rows]]))
    for each in notes:
        note(str(each))
