"""`limner rank` and `limner clip`: what a CLIP finds of pictures."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from limner.cli.models import table
from limner.cli.progress import Quiet, clock, loading, note
from limner.types import Request

app = typer.Typer(no_args_is_help=True, help="Ask a CLIP what pictures show.")

Images = Annotated[list[Path], typer.Argument(metavar="IMAGES...", help="PNG, JPEG or WebP files.")]
Image = Annotated[Path, typer.Argument(metavar="IMAGE", help="A PNG, JPEG or WebP file.")]
Prompt = Annotated[str, typer.Option(help="What the pictures should show.")]
Labels = Annotated[
    str, typer.Option(help="What it may be, in English or Chinese, as cat,dog,apple.")
]
Model = Annotated[str, typer.Option(help="A CLIP's name, its folder, or hf:owner/name.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def rank(
    images: Images,
    prompt: Prompt,
    model: Model = "clip",
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Put IMAGES in order by how well they fit a prompt, the best first."""
    from limner.finish.rank import rank as rank_images
    from limner.images import open_image

    clock().quiet = quiet
    request = Request(prompt)
    opened = [open_image(path) for path in images]
    with loading(model):
        from limner.draw import notes_on
        from limner.registry import load_clip

        clip = load_clip(model)
    began = time.perf_counter()
    ranked = rank_images(clip, request.prompt, opened)
    notes = list(notes_on(request, clip))
    report(
        {"prompt": request.prompt, "model": clip.info.name, "model_hash": clip.info.sha256}
        | {"seconds": round(time.perf_counter() - began, 3)}
        | {"pictures": [{"path": str(images[at]), "score": round(s, 4)} for at, s in ranked]},
        "pictures",
        notes,
        as_json,
    )


@app.command("classify")
def classify(
    image: Image,
    labels: Labels,
    model: Model = "clip",
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Say which of some labels fits IMAGE, without having been trained for them (zero-shot)."""
    from limner.images import open_image

    clock().quiet = quiet
    names = [name for part in re.split("[,，]", labels) if (name := " ".join(part.split()))]
    opened = open_image(image)
    with loading(model):
        from limner.draw import notes_on
        from limner.registry import load_clip

        clip = load_clip(model)
    shares = clip.classify([opened], names)[0].tolist()
    order = sorted(zip(names, shares, strict=True), key=lambda entry: -entry[1])
    notes = [each for name in names for each in notes_on(Request(name), clip)]
    report(
        {"path": str(image), "model": clip.info.name, "model_hash": clip.info.sha256}
        | {"labels": [{"label": name, "probability": round(s, 4)} for name, s in order]},
        "labels",
        notes,
        as_json,
    )


def report(answer: dict[str, Any], rows: str, notes: list[str], as_json: bool) -> None:
    """Print an answer as JSON, or its `rows` as a table on stdout and its notes on stderr."""
    if as_json:
        typer.echo(json.dumps(answer | {"notes": notes}, ensure_ascii=False))
        return
    typer.echo(table([tuple(map(str, row.values())) for row in answer[rows]]))
    for text in notes:
        note(text)
