"""Where in a picture a thing is that a word names, as a model reads it that knows things."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from limner.images import to_tensor
from limner.masks import mark_things
from limner.pipelines.things import looked_for, names_of, paintings, read_scene, reader_of, spread
from limner.text.items import itemise
from limner.text.normalise import normalise_prompt
from limner.text.reading import phrasebook

if TYPE_CHECKING:
    from PIL.Image import Image

    from limner.nn.things import Thing
    from limner.text.words import Words

_THERE = 0.05  # alpha from which on a pixel belongs to a thing
_ROOM = 0.03  # of a thing's square: around its painting, what may be the rest of it


@torch.inference_mode()
def find_named(pipeline: Any, picture: Image, word: str) -> Image | None:
    """Return the mask of what a word names, 8-bit grey of the picture's size, 255 on the things.

    It is a rectangle around each thing of that name, and of that colour where one is said, and
    `limner.masks.things_of` says how many they are. None where the model reads no such thing, or
    reads no things at all. Raises UsageError for no word.
    """
    from PIL import Image as Images

    text = normalise_prompt(word)
    decoder, words = reader_of(getattr(pipeline, "codec", None)), pipeline.words
    if decoder is None or words is None or words.grammar is None:
        return None
    items = itemise(text, phrasebook(words.grammar))
    wanted = [each.name for each in items if each.kind in ("thing", "many")]
    if len(wanted) != 1:
        return None
    seen = to_tensor([picture]).to(pipeline.device)
    told = looked_for(words, decoder, [(wanted[0], None)])
    read = read_scene(pipeline, decoder, seen, told).things
    things = [
        each for each, name in zip(read, names_of(words, read), strict=True) if name == wanted[0]
    ]
    colours = [each.name for each in items if each.kind == "colour"]
    things = _of_colour(words, things, colours[0]) if colours else things
    if not things:
        return None
    mask = torch.zeros(picture.height, picture.width, dtype=torch.uint8)
    for thing in things:
        alpha = paintings(decoder, [thing], own_style=True)[:, 3:]
        there = spread([thing], alpha, seen)[0, 0].cpu() > _THERE
        rows, columns = (there.any(axis).nonzero()[:, 0].tolist() for axis in (1, 0))
        if rows:
            room = round(_ROOM * thing.side * picture.width)
            down = slice(max(rows[0] - room, 0), rows[-1] + 1 + room)
            mask[down, max(columns[0] - room, 0) : columns[-1] + 1 + room] = 255
    return mark_things(Images.fromarray(mask.numpy()), len(things)) if mask.any() else None


def _of_colour(words: Words, things: list[Thing], colour: str) -> list[Thing]:
    """Return the things of a colour, all where none is read to have it.

    Answers of a decoder are counted as the colours of the captions that it was trained beside.
    """
    known = list(words.grammar.named("colour", "en")) if words.grammar else []
    number = 1 + known.index(colour) if colour in known else 0
    return [each for each in things if each.names[1] == number] or things
