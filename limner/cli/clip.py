"""`limner rank` and `limner clip`: what a CLIP finds of pictures."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from limner.cli.shared import options
from limner.cli.shared.answers import answer, table
from limner.cli.shared.command import Command, Group
from limner.cli.shared.files import open_picture
from limner.cli.shared.options import option
from limner.cli.shared.progress import loading, note
from limner.text.notes import Note
from limner.types import Request, check_device

app = typer.Typer(cls=Group, no_args_is_help=True, help="Classify pictures with a CLIP.")

Prompt = Annotated[str, option("--prompt", "The prompt to compare the pictures with.")]


def rank(
    images: options.Images,
    prompt: Prompt,
    clip: options.ClipOfPictures = "clip",
    device: options.Device = "cpu",
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """Rank IMAGES by CLIP score (100 x cosine similarity) with a prompt, the best first."""
    request = Request(prompt)
    check(clip, device)
    opened = [open_picture(path) for path in images]
    with loading(clip):
        from limner.finish.rank import rank as rank_images
        from limner.pipelines.requests import reading_of
        from limner.registry import load_clip

        loaded = load_clip(clip, device=device)
    began = time.perf_counter()
    reading = reading_of(request, loaded)
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
    """Classify IMAGE into labels of your choice (zero-shot)."""
    check(clip, device)

    names = [name for part in re.split("[,，]", labels) if (name := " ".join(part.split()))]
    opened = open_picture(image)
    with loading(clip):
        from limner.pipelines.requests import reading_of
        from limner.registry import load_clip

        loaded = load_clip(clip, device=device)
    shares = loaded.classify([opened], names)[0].tolist()
    order = sorted(zip(names, shares, strict=True), key=lambda entry: -entry[1])
    typed = [Request(name, verbatim=True) for name in names]
    notes = [each for request in typed for each in reading_of(request, loaded).notes]
    report(
        {"path": str(image), "model": loaded.info.name, "model_hash": loaded.info.sha256}
        | {"labels": [{"label": name, "probability": round(s, 4)} for name, s in order]},
        "labels",
        notes,
        as_json,
    )


def check(clip: str, device: str) -> None:
    """Raise what is wrong with the names of a CLIP and a device, before torch is imported."""
    from limner import registry

    registry.check(clip, draws=False)
    check_device(device)


def report(found: dict[str, Any], rows: str, notes: Sequence[Note], as_json: bool) -> None:
    """Print an answer as JSON, or its `rows` as a table on stdout and its notes on stderr."""
    told = found | {"notes": [note.to_json() for note in notes]}
    answer(told, table([tuple(map(str, row.values())) for row in found[rows]]), as_json)
    for each in () if as_json else notes:
        note(str(each))
