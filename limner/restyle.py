"""A picture in another drawing style: limner/pipelines/restyling.py is the story."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from limner.draw import image_hash, open_model
from limner.finish.filtering import filtered
from limner.images import as_image, to_images
from limner.metadata import TASK
from limner.pipelines.edits import open_canvas, profile_notes
from limner.pipelines.restyling import repaint
from limner.pipelines.things import names_of
from limner.text.notes import Note
from limner.text.styles import read_style
from limner.types import Drawable, Picture, PictureLike, Request

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch
    from PIL.Image import Image

    from limner.nn.things import Thing

RESTYLE = "restyle"


def restyle(
    image: PictureLike,
    style: str,
    *,
    model: str | Path | Drawable = "default",
    device: str | torch.device | None = None,
) -> Picture:
    """Return `image` in another drawing style: its things are painted anew, the rest stays.

    The image has any size from 16 pixels a side to 16,777,216 in all, and keeps it. The style is
    plain, sticker, pixel art, silhouette or line art, in English or Chinese words ("as line art").
    Pixels that the model paints nothing on are equal, bit for bit. Where it knows nothing in the
    image, as in a photograph, a filter makes all of it line art or pixel art, and a sticker or a
    silhouette is cut out of a plain background. The picture's `settings["restyle"]` and its notes
    say which: `way` is "repainted", "filtered" or "unchanged", `things` those that were repainted.
    Nothing in it is chance, so it has no seed to choose. The model must read things in pictures, as
    "default" does. Raises LimnerError, for a subject that is not found too. It does not know
    whether a thing is what the model takes it for.
    """
    wanted = read_style(style)  # a mistake is told before anything is loaded
    loading = {} if device is None else {"device": device}
    request = Request("", seed=0, image=as_image(image))
    return restyle_request(open_model(model, loading), request, wanted)


def restyle_request(pipeline: Drawable, request: Request, style: str) -> Picture:
    """Return the image of a request in a style, one of `limner.text.styles.styles()`."""
    image = request.image
    assert image is not None, "there is a picture to restyle"
    canvas, _ = open_canvas(request)
    found = repaint(pipeline, canvas, style)
    if found.things:
        way, notes = "repainted", [_note("repainted", pipeline, found.things, style)]
        (made,) = to_images(found.picture)
    elif found.already:
        way, notes, made = "unchanged", [], image.copy()
    else:
        way, made = "filtered", filtered(image, style)
        kind = "filtered" if style in ("line art", "pixel art") else "cut_out"
        notes = [Note(kind, (style,))]
    if found.already:
        notes.append(_note("in_style", pipeline, found.already, style))
    told = {"style": style, "way": way, "things": _listed(pipeline, found.things, image)}
    settings = {
        TASK: RESTYLE,
        RESTYLE: told,
        "family": pipeline.info.family,
        "model_hash": pipeline.info.sha256,
        "device": pipeline.device.type,
        "image_sha256": image_hash(image),
    }
    notes += profile_notes(image)
    return Picture(made, "", request.seed, pipeline.info.name, settings, tuple(notes))


def _note(code: str, pipeline: Drawable, things: Sequence[Thing], style: str) -> Note:
    in_order = sorted(things, key=lambda each: each.square)  # from left to right
    names = tuple(dict.fromkeys(names_of(pipeline.words, in_order)))
    return Note(code, names, (style,))


def _listed(pipeline: Drawable, things: Sequence[Thing], image: Image) -> list[dict[str, Any]]:
    """Return the names of things and their squares in pixels, from left to right."""
    rows = []
    for name, thing in zip(names_of(pipeline.words, things), things, strict=True):
        left, top, side, *_ = thing.pixels(image.width, image.height)
        rows.append({"name": name, "left": left, "top": top, "side": side})
    return sorted(rows, key=lambda each: (each["left"], each["top"]))
