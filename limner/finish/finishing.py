"""What is done to a drawn picture: the steps of `Finish`, each a pure function of pictures."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from limner.errors import UsageError
from limner.finish.cutout import cut_out, sticker
from limner.finish.palette import to_palette
from limner.options import Finish
from limner.text.notes import Note
from limner.types import Picture

if TYPE_CHECKING:
    from PIL.Image import Image

NOTHING = Finish()
UNCUT = Note("not_cut_out")


def finish_picture(picture: Picture, finish: Finish) -> Picture:
    """Return the picture after the steps of `finish`, which its settings name; as `finish_image`.

    A note says where it could not be cut out.
    """
    if finish == NOTHING:
        return picture
    image, notes = finish_image(picture.image, finish)
    settings = {**picture.settings, "finish": told(finish)}
    return replace(picture, image=image, settings=settings, notes=(*picture.notes, *notes))


def finish_image(image: Image, finish: Finish) -> tuple[Image, tuple[Note, ...]]:
    """Return an RGB picture after the steps of `finish`, RGBA where it is cut out, and notes.

    A picture without a plain background is not cut out, and the note says so. Raises UsageError
    where it would be too large, CheckpointError for weights that cannot be read.
    """
    notes: tuple[Note, ...] = ()
    if finish.upscale:
        # Imported here: it needs torch, which the other steps do not.
        from limner.finish.upscale import upscale_image

        image = upscale_image(image, finish.upscale, finish.upscale_weights)
    if finish.cut_out or finish.sticker:
        try:
            image = cut_out(image)
        except UsageError:
            notes = (UNCUT,)
    if finish.palette:
        image = to_palette(image, finish.palette, dither=finish.dither)
    if finish.sticker and not notes:
        image = sticker(image)
    return image, notes


def told(finish: Finish) -> dict[str, Any]:
    """Return the steps as plain JSON values, without those that are left out."""
    usual = asdict(NOTHING)
    values = {name: value for name, value in asdict(finish).items() if value != usual[name]}
    return {
        name: list(value) if isinstance(value, tuple) else value for name, value in values.items()
    }
