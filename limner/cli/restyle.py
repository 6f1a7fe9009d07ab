"""`limner restyle`: a picture in, the same one in another drawing style out."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import asdict, replace
from typing import Annotated, Any

import typer

from limner.cli.draw import Metadata, Preview
from limner.cli.shared import complete, files, options, progress
from limner.cli.shared.drawing import Drawer
from limner.cli.shared.options import option
from limner.cli.shared.output import Manner
from limner.cli.shared.progress import shows_colours
from limner.types import Picture, Request

Style = Annotated[
    str,
    option(
        "--style",
        "plain, sticker, pixel art, silhouette or line art, in English or Chinese words.",
        complete.styles,
    ),
]


@options.grouped
def restyle(  # noqa: PLR0913  # typer reads the options off the signature
    marking: options.Marking,
    image: options.Image,
    style: Style,
    model: options.Model = "default",
    out: options.Out = None,
    device: options.Device = "cpu",
    preview: Preview = True,
    metadata: Metadata = True,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """Repaint the things in IMAGE in another drawing style; the rest stays bit for bit.

    Where MODEL knows nothing in IMAGE, a filter makes all of it line art or pixel art. Nothing is
    chance, so there is no seed.
    """
    from limner.text.styles import read_style

    wanted = read_style(style)  # a mistake in the options is told before a file is opened
    manner = Manner(preview, metadata, as_json, quiet, marking.saving(metadata))
    place = files.Place.parse(out, 1, as_json=as_json)
    place.prepare()
    options.Loading(device=device).check(model)
    request = Request("", seed=0, image=files.open_picture(image))
    pipeline = Drawer(model, device=device).load()
    from limner.restyle import restyle_request

    began = time.perf_counter()
    made = restyle_request(pipeline, request, wanted)
    seconds = time.perf_counter() - began
    name = "picture" if str(image) == files.STANDARD else image.stem
    saved = made.to_png(**asdict(replace(manner.saving, metadata=metadata)))
    path = place.write(f"{files.slug(f'{name} {wanted}')}.png", saved)
    progress.clock().pictures += 1
    progress.clock().timed = as_json
    if as_json:
        answer = answer_of(made, str(path)) | {"seconds": round(seconds, 3)}
        typer.echo(json.dumps(answer, ensure_ascii=False))
        return
    if preview and not quiet and shows_colours():
        from limner.images import terminal_preview

        typer.echo(terminal_preview(made.image, columns=shutil.get_terminal_size().columns))
    if str(path) != files.STANDARD:
        typer.echo(str(path))
    for note in made.notes:
        manner.say(f"note: {note}")


def answer_of(made: Picture, path: str) -> dict[str, Any]:
    """Return the documented answer of `limner restyle --json`, without its seconds."""
    return {
        "path": path,
        "width": made.image.width,
        "height": made.image.height,
        "model": made.model,
        "model_hash": made.settings["model_hash"],
        **made.settings["restyle"],
        "notes": [note.to_json() for note in made.notes],
    }
