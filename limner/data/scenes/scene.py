"""Emoji scenes: a deterministic world of captioned pictures.

`scene(split, index, ...)` is a pure function: the same arguments give the same picture and words in
every process. One tenth of the object-colour pairs, (object, count) pairs and relation triples is
held out for ever by hash and never drawn outside the split "held_out": those measure composition,
not memory. The pictures hold one kind of drawing (Noto Color Emoji): a model of them memorises
sprites and learns to compose them; it knows nothing of photographs.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from limner.data.scenes.backgrounds import background
from limner.data.scenes.graph import Graph, Thing, sample_graph, scene_rng
from limner.data.scenes.sprites import find_font, sprite
from limner.errors import UsageError

Pixels = npt.NDArray[np.uint8]

UNIT = 64  # layouts are written for a picture 64 wide and scaled


# (left, top, side) of each place; all but the fifth of five lie on a grid of 8 pixels
SINGLE = {"small": (16, 16, 32), "normal": (8, 8, 48), "big": (0, 0, 64)}
GROUP = {
    2: ((0, 16, 32), (32, 16, 32)),
    3: ((16, 0, 32), (0, 32, 32), (32, 32, 32)),
    4: ((0, 0, 32), (32, 0, 32), (0, 32, 32), (32, 32, 32)),
    5: ((0, 0, 24), (40, 0, 24), (20, 20, 24), (0, 40, 24), (40, 40, 24)),
}
PAIR = {"left": ((0, 16, 32), (32, 16, 32)), "above": ((16, 0, 32), (16, 32, 32))}
# Of the wide world: rows as people lay six to nine things, crowded as five are, so that they are no
# smaller; three from left to right, of which the middle one is nearer; and one thing that covers a
# corner of another.
_ACROSS = {2: (10, 30), 3: (0, 20, 40)}
_DOWN = {2: (8, 32), 3: (0, 20, 40)}
MANY_GROUP = {
    sum(rows): tuple(
        (left, top, 24)
        for top, number in zip(_DOWN[len(rows)], rows, strict=True)
        for left in _ACROSS[number]
    )
    for rows in ((3, 3), (2, 3, 2), (3, 2, 3), (3, 3, 3))
}
ROW = ((0, 0, 32), (16, 32, 32), (32, 0, 32))
FRONT = ((8, 26, 36), (20, 4, 36))  # what is in front, and what is behind
_STANDING = {**PAIR, "beside": PAIR["left"], "front": FRONT, "row": ROW, "between": ROW}


@dataclass(frozen=True)
class Box:
    """Where one object stands, in pixels."""

    thing: int
    left: int
    top: int
    side: int


@dataclass(frozen=True)
class Scene:
    """A picture (side, side, 3) uint8, its captions, its graph and the boxes of its objects."""

    image: Pixels
    english: str
    chinese: str
    graph: Graph
    boxes: tuple[Box, ...]


def scene(
    split: str,
    index: int,
    *,
    seed: int = 0,
    size: int = 64,
    level: int = 4,
    font: str | None = None,
) -> Scene:
    """Return scene number `index` of a split: a pure function of its arguments.

    `size` is the picture's side in pixels (16 to 512), `level` 1 (single objects) to 4 (counts,
    pairs, drawing styles) or 5 (the same, mostly pairs); 6, 7 and 8 are 3, 4 and 5 in the wide
    world: things of the whole noun table, more of them, more places. Raises UsageError for a wrong
    argument, DataError without the font.
    """
    from limner.data.scenes.captions import caption

    rng = scene_rng(split, index, seed, level)
    graph = sample_graph(split, rng, level)
    boxes = layout(graph, size)
    return Scene(
        image=render(graph, size, font=font),
        english=caption(graph, "en", rng),
        chinese=caption(graph, "zh", rng),
        graph=graph,
        boxes=boxes,
    )


def layout(graph: Graph, size: int) -> tuple[Box, ...]:
    """Return the places of a graph's objects in a picture `size` wide, in the order of painting.

    What ends lower is in front.
    """
    if not 16 <= size <= 512:
        raise UsageError(f"size {size} is out of range; give 16 to 512 pixels")
    if graph.relation:
        places = list(enumerate(_STANDING[graph.relation]))
    elif not graph.things:
        places = []
    elif graph.things[0].count > 1:
        places = [(0, place) for place in {**GROUP, **MANY_GROUP}[graph.things[0].count]]
    else:
        places = [(0, SINGLE[graph.things[0].size])]
    return tuple(
        Box(thing, left * size // UNIT, top * size // UNIT, side * size // UNIT)
        for thing, (left, top, side) in sorted(places, key=lambda each: each[1][1] + each[1][2])
    )


def render(
    graph: Graph, size: int, *, font: str | None = None, shift: tuple[int, int] = (0, 0)
) -> Pixels:
    """Paint a graph as RGB pixels (size, size, 3); `shift` moves every object by (x, y) pixels."""
    face = find_font(font)
    picture = background(graph.background, size).astype(np.uint16)
    for box in layout(graph, size):
        thing = graph.things[box.thing]
        drawing = sprite(face, thing.entry.emoji, paint(thing), graph.style, box.side)
        paste(picture, drawing, box.left + shift[0], box.top + shift[1])
    return picture.astype(np.uint8)


def paint(thing: Thing) -> str | None:
    """Return the colour to repaint a thing with; None where its natural colour is the one asked."""
    return None if thing.colour == thing.entry.colour else thing.colour


def paste(picture: npt.NDArray[np.uint16], drawing: Pixels, left: int, top: int) -> None:
    """Lay a premultiplied RGBA drawing on an RGB picture in place, cut at the picture's edges."""
    height, width = picture.shape[:2]
    x0, y0 = max(left, 0), max(top, 0)
    x1, y1 = min(left + drawing.shape[1], width), min(top + drawing.shape[0], height)
    cut = drawing[y0 - top : y1 - top, x0 - left : x1 - left].astype(np.uint16)
    under = picture[y0:y1, x0:x1]
    under[...] = cut[..., :3] + under * (255 - cut[..., 3:]) // 255
