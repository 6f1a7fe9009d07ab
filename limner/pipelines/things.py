"""What a model whose decoder knows things reads in a picture, and the words of these things.

Shapes: H and W pixels, h and w cells of a codec's grid, N things, C pixels of a canvas's side;
pictures are (1, 3, H, W) in [-1, 1], masks in [0, 1], drawings (N, 4, C, C), RGB times alpha, and
alpha.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from limner.nn.styles import CANVAS, sized
from limner.nn.things import Thing, ThingsDecoder, lay, overlap
from limner.nn.told import NOTHING, Told
from limner.pipelines.blending import resize, windows
from limner.text.notes import Wanted
from limner.text.reading import read
from limner.text.words import Grammar, Words

_SAME = 0.4  # shared area from which on two squares show one thing
_UNLIKE = 0.3  # mean difference of a painting to what is seen, in [-1, 1]: from here on it is wrong
_LOOK = 4  # pixels that are taken together when they are compared
_LOOKED_FOR = 0.75  # how much words weigh in reading a picture, where 1 is in painting it
_HAZE = 0.1  # alpha up to which a pixel is clear; so much below 1 it is solid


@dataclass(frozen=True)
class Read:
    """The things in a picture, the surest place first, and its ground (1, 3, H, W) without them.

    `known` (1, 1, h, w) is how likely it is that the ground of a cell is one that the model knows.
    """

    things: list[Thing]
    ground: Tensor
    known: Tensor


@dataclass(frozen=True)
class Scene:
    """What all windows say of a picture: its things, and its ground (1, 3, H, W).

    `known` (1, 1, H, W) is how likely it is that the ground is one that the model knows.
    """

    things: list[Thing]
    ground: Tensor
    known: Tensor


def reader_of(codec: Any) -> ThingsDecoder | None:
    """Return the decoder of a codec that reads things in pictures, None for any other."""
    decoder = getattr(codec, "decoder", None)
    return decoder if isinstance(decoder, ThingsDecoder) and codec.encodes else None


def read_things(codec: Any, decoder: ThingsDecoder, picture: Tensor, told: Told = NOTHING) -> Read:
    """Return what is read of a picture (1, 3, H, W) in [-1, 1] by the decoder of a codec."""
    cells = decoder.cells(codec.embed(codec.encode(picture)))
    _, names, places = decoder.reader(cells)
    small = decoder.small(cells)
    ground = decoder.grounds(names, small)
    (found,) = decoder.things(places, small, ground, [told])
    return Read(found, ground, places[:, 1:2].sigmoid())


def names_of(words: Words | None, things: Sequence[Thing]) -> list[str]:
    """Return the English word of each thing, "thing" where a model's words do not say it.

    Answers of a decoder are counted as the things of the captions that it was trained beside.
    """
    grammar = words.grammar if words is not None else None
    known = list(grammar.named("thing", "en")) if grammar is not None else []
    numbers = [each.names[0] - 1 for each in things]  # answer 0 is that nothing is there
    return [known[at] if 0 <= at < len(known) else "thing" for at in numbers]


def told_by(pipeline: Any, texts: Sequence[str], style: str = "") -> list[Told]:
    """Return what texts say of a picture each to the decoder of a model's codec.

    Nothing for a codec whose decoder names no things, which hears none of it.
    """
    words, decoder = pipeline.words, getattr(pipeline.reads_by, "decoder", None)
    if not isinstance(decoder, ThingsDecoder):
        return []
    if words is None or words.grammar is None:
        return [Told(style=style)] * len(texts)
    things, colours = _answers(words.grammar, decoder)
    by_nature = decoder.painter.natural.tolist()  # of what no colour is said
    places = list(words.grammar.named("place", "en"))
    if len(places) > decoder.backdrops.plan.num_embeddings:
        places = []  # of captions that tell of backgrounds which nobody painted: no numbers
    found = list[Told]()
    for text in texts:
        asked = read(text, words).wanted if text else Wanted()
        wanted = [each for each in asked.things if each[0] in things]
        pairs = tuple(
            (things[name], colours.get(colour, 0) if colour else by_nature[things[name]])
            for name, _, colour in wanted
        )
        counts = tuple(number or 2 for _, number, _ in wanted)  # a plural is two at least
        place = places.index(asked.place) if asked.place in places else None
        found.append(Told(pairs, style, counts, place=place))
    return found


def looked_for(
    words: Words | None, decoder: ThingsDecoder, things: Sequence[tuple[str, str | None]]
) -> Told:
    """Return what helps to read a picture in which `things` are looked for, by name and colour.

    That they are there is likely, not sure: of two names that look alike it decides. None is any
    colour.
    """
    if words is None or words.grammar is None:
        return NOTHING
    known, colours = _answers(words.grammar, decoder)
    pairs = [
        (known[name], each)
        for name, colour in things if name in known
        for each in ([colours[colour]] if colour in colours else colours.values())
    ]  # fmt: skip
    return Told(tuple(pairs), weight=_LOOKED_FOR)


def _answers(grammar: Grammar, decoder: ThingsDecoder) -> tuple[dict[str, int], dict[str, int]]:
    """Return the answers of a decoder that things and colours of captions are; 0 is none."""
    things, colours = (
        {name: number for number, name in enumerate(grammar.named(kind, "en"), start=1)
         if number < known}
        for kind, known in zip(("thing", "colour"), decoder.namer.answers, strict=False)
    )  # fmt: skip
    return things, colours


def read_scene(
    pipeline: Any, decoder: ThingsDecoder, picture: Tensor, told: Told = NOTHING
) -> Scene:
    """Return what a model reads in all of a picture, square by square."""
    width = picture.shape[3]
    ground, known = picture.clone(), torch.zeros_like(picture[:, :1])
    found = list[Thing]()
    for top, left, side in windows(torch.ones_like(known)):
        here = (..., slice(top, top + side), slice(left, left + side))
        window = resize(picture[here], (pipeline.size, pipeline.size))
        read = read_things(pipeline.codec, decoder, window, told)
        ground[here] = resize(read.ground, (side, side)).clamp(-1, 1)
        known[here] = resize(read.known, (side, side))
        for thing in read.things:
            if thing.opacity > 0 and is_like(decoder, thing, read, window):
                found.append(
                    replace(
                        thing,
                        left=(left + thing.left * side) / width,
                        top=(top + thing.top * side) / width,
                        side=thing.side * side / width,
                    )
                )
    # A thing at the edge of one window is whole in another, which is surer of it.
    things = list[Thing]()
    for thing in sorted(found, key=lambda each: -each.surety * each.named):
        if all(overlap(thing.square, other.square) < _SAME for other in things):
            things.append(thing)
    return Scene(things, ground, known)


def is_like(decoder: ThingsDecoder, thing: Thing, read: Read, window: Tensor) -> bool:
    """Say whether the painting of what is read looks like a window (1, 3, s, s) where it stands."""
    painted = read.ground[0].clone()
    lay(painted, [thing], paintings(decoder, [thing], own_style=True))
    *_, rows, columns = thing.pixels(window.shape[3], window.shape[2])
    both = torch.stack((painted, window[0]))[..., rows, columns]
    if min(both.shape[2:]) < _LOOK:
        return False
    painted, seen = F.avg_pool2d(both, _LOOK)
    return float((painted - seen).abs().mean()) < _UNLIKE


def paintings(decoder: ThingsDecoder, things: Sequence[Thing], *, own_style: bool) -> Tensor:
    """Return drawings (N, 4, C, C) of things, plain or in the style that each was read in."""
    looks = torch.stack([each.look for each in things if each.look is not None])
    styles = [each.names[-1] for each in things] if own_style else ()
    return firm(sized(decoder.painter.paint(looks, styles).float(), CANVAS))


def firm(drawings: Tensor) -> Tensor:
    """Return drawings (N, 4, C, C) without the haze around them and what shines through inside.

    A painter that is not sure of a pixel leaves it half clear, which a silhouette shows at once.
    """
    colours, alpha = drawings.split((3, 1), dim=1)
    sure = ((alpha - _HAZE) / (1 - 2 * _HAZE)).clamp(0, 1)
    return torch.cat((colours / alpha.clamp_min(1e-3) * sure, sure), dim=1)


def spread(things: Sequence[Thing], masks: Tensor, picture: Tensor) -> Tensor:
    """Return masks (N, 1, C, C) of things where these stand: (1, 1, H, W), the greatest of all."""
    height, width = picture.shape[2:]
    whole = picture.new_zeros(1, 1, height, width)
    for thing, mask in zip(things, masks, strict=True):
        left, top, side, rows, columns = thing.pixels(width, height)
        if rows.start >= rows.stop or columns.start >= columns.stop:
            continue
        large = F.interpolate(mask[None], (side, side), mode="bilinear", align_corners=False)
        part = large[
            ..., rows.start - top : rows.stop - top, columns.start - left : columns.stop - left
        ]
        whole[..., rows, columns] = torch.maximum(whole[..., rows, columns], part)
    return whole
