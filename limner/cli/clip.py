"""`limner rank` and `limner clip`: what a CLIP finds of pictures."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from limner.cli.shared import answers, files, options
from limner.cli.shared.command import Command, Group
from limner.cli.shared.progress import loading, note
from limner.text.notes import Note
from limner.types import Request, check_device

if TYPE_CHECKING:
    from PIL.Image import Image

app = typer.Typer(cls=Group, no_args_is_help=True, help="Classify pictures with a CLIP.")

Prompt = Annotated[str, options.option("--prompt", "The prompt to compare the pictures with.")]


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
    opened, loaded = open_both(images, clip, device)
    from limner.finish.rank import rank as rank_images

    began = time.perf_counter()
    reading = loaded.reading_of(request)
    ranked = rank_images(loaded, reading.text, opened)
    found: dict[str, Any] = {"prompt": request.prompt, "revised_prompt": reading.text}
    found |= {"model": loaded.info.name, "model_hash": loaded.info.sha256}
    found["seconds"] = round(time.perf_counter() - began, 3)
    found["pictures"] = [{"path": str(images[at]), "score": round(s, 4)} for at, s in ranked]
    report(found, "pictures", reading.notes, as_json)


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
    names = [name for part in re.split("[,，]", labels) if (name := " ".join(part.split()))]
    opened, loaded = open_both([image], clip, device)

    shares = loaded.classify(opened, names)[0].tolist()
    order = sorted(zip(names, shares, strict=True), key=lambda entry: -entry[1])
    typed = [Request(name, verbatim=True) for name in names]  # names are not sentences to be read
    notes = [each for request in typed for each in loaded.reading_of(request).notes]
    found = {"path": str(image), "model": loaded.info.name, "model_hash": loaded.info.sha256}
    labelled = [{"label": name, "probability": round(share, 4)} for name, share in order]
    report(found | {"labels": labelled}, "labels", notes, as_json)


def open_both(paths: Sequence[Path], clip: str, device: str) -> tuple[list[Image], Any]:
    """Return pictures and the CLIP; what is wrong is refused before torch is imported."""
    from limner import registry

    registry.check(clip, draws=False)
    check_device(device)
    opened = [files.open_picture(path) for path in paths]
    with loading(clip):
        return opened, registry.load_clip(clip, device=device)


def report(found: dict[str, Any], rows: str, notes: Sequence[Note], as_json: bool) -> None:
    """Print an answer as JSON, or its `rows` as a table on stdout and its notes on stderr."""
    whole = found | {"notes": [note.to_json() for note in notes]}
    shown = answers.table([tuple(map(str, row.values())) for row in found[rows]])
    answers.answer(whole, shown, as_json)
    for each in () if as_json else notes:
        note(str(each))
