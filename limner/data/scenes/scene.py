"""Emoji scenes: a deterministic world of captioned pictures.

`scene(split, index, ...)` is a pure function: the same arguments give the same picture and words in
every process. One tenth of the object-colour pairs, (object, count) pairs and relation triples is
held out for ever by hash and never drawn outside the split "held_out": those measure composition,
not memory. The pictures hold one kind of drawing (Noto Color Emoji): a model of them memorises
sprites and learns to compose them; it knows nothing of photographs.
"""

import hashlib
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from limner.data.scenes.backgrounds import BACKGROUNDS, PLACES, background
from limner.data.scenes.nouns import Noun, noun_index, nouns
from limner.data.scenes.sprites import COLOURS, STYLES, find_font, sprite
from limner.errors import UsageError

Pixels = npt.NDArray[np.uint8]
Choice = TypeVar("Choice")

SPLITS = ("train", "validation", "held_out")
RELATIONS = ("left", "above")
COUNTS = (2, 3, 4, 5)
SIZES = ("small", "normal", "big")
COLOURLESS = ("silhouette", "line art")
UNIT = 64  # layouts are written for a picture 64 wide and scaled

# The colours that objects are lost in, by place; a background of a tint hides that colour.
NEAR_COLOURS = {
    "meadow": {"green"},
    "night": {"black"},
    "beach": {"blue"},
    "snow": {"white", "gray"},
    "desert": {"orange", "yellow"},
    "sea": {"blue"},
    "sunset": {"orange"},
}

# (left, top, side) of each place; all but the fifth of five lie on a grid of 8 pixels
SINGLE = {"small": (16, 16, 32), "normal": (8, 8, 48), "big": (0, 0, 64)}
GROUP = {
    2: ((0, 16, 32), (32, 16, 32)),
    3: ((16, 0, 32), (0, 32, 32), (32, 32, 32)),
    4: ((0, 0, 32), (32, 0, 32), (0, 32, 32), (32, 32, 32)),
    5: ((0, 0, 24), (40, 0, 24), (20, 20, 24), (0, 40, 24), (40, 40, 24)),
}
PAIR = {"left": ((0, 16, 32), (32, 16, 32)), "above": ((16, 0, 32), (16, 32, 32))}


@dataclass(frozen=True)
class Thing:
    """One kind of object in a scene; `colour` None is its natural colour."""

    noun: str
    colour: str | None = None
    size: str = "normal"
    count: int = 1

    @property
    def entry(self) -> Noun:
        """The noun's row of the table."""
        return nouns()[noun_index()[self.noun]]


@dataclass(frozen=True)
class Graph:
    """What a scene shows: things, how they stand to each other, ground and drawing style.

    `relation` says how the first thing stands to the second: "left" or "above", None for one thing.
    """

    things: tuple[Thing, ...]
    background: str
    relation: str | None = None
    style: str = "plain"

    @property
    def kind(self) -> str:
        """Return "single", "count" or "pair"."""
        if len(self.things) == 2:
            return "pair"
        return "count" if self.things[0].count > 1 else "single"

    def to_json(self) -> dict[str, Any]:
        """Return the graph as plain JSON values."""
        return asdict(self)


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


@dataclass(frozen=True)
class Mix:
    """How often each kind of scene is drawn; the rest are single objects."""

    counts: float = 0.0
    pairs: float = 0.0
    styles: float = 0.0
    coloured: float = 0.5
    resized: float = 0.12


LEVELS = {
    1: Mix(),
    2: Mix(counts=0.3),
    3: Mix(counts=0.22, pairs=0.25),
    4: Mix(counts=0.18, pairs=0.22, styles=0.06),
    5: Mix(counts=0.15, pairs=0.55, styles=0.06),
}


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
    pairs, drawing styles) or 5 (the same, mostly pairs). Raises UsageError for a wrong argument,
    DataError without the font.
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


def scene_rng(split: str, index: int, seed: int = 0, level: int = 4) -> random.Random:
    """Return the source of every choice made for one scene."""
    if split not in SPLITS:
        raise UsageError(f"unknown split {split!r}; choose one of {', '.join(SPLITS)}")
    if level not in LEVELS:
        raise UsageError(f"level {level} is not one of 1 to 5; give --level 1, 2, 3, 4 or 5")
    return random.Random(_digest(f"{split}/{seed}/{level}/{index}"))


def sample_graph(split: str, rng: random.Random, level: int = 4) -> Graph:
    """Draw a scene graph; "held_out" graphs have a new combination, the others have none."""
    wanted = split == "held_out"
    while True:
        graph = _propose(rng, LEVELS[level], wanted)
        if bool(new_combinations(graph)) == wanted:
            return graph


def new_combinations(graph: Graph) -> tuple[str, ...]:
    """Return the held-out combinations that a graph contains: "colour", "count", "relation"."""
    found = []
    if any(is_held_out_colour(thing.noun, thing.colour) for thing in graph.things):
        found.append("colour")
    if any(is_held_out_count(thing.noun, thing.count) for thing in graph.things):
        found.append("count")
    if graph.relation and is_held_out_relation(
        graph.things[0].noun, graph.relation, graph.things[1].noun
    ):
        found.append("relation")
    return tuple(found)


@cache
def is_held_out_colour(noun: str, colour: str | None) -> bool:
    """Say whether this object never appears in this colour in training; natural ones do."""
    if colour is None or nouns()[noun_index()[noun]].colour == colour:
        return False
    return _digest(f"colour/{noun}/{colour}") % 10 == 0


@cache
def is_held_out_count(noun: str, count: int) -> bool:
    """Say whether this many of this object never appear in training."""
    return count > 1 and _digest(f"count/{noun}/{count}") % 10 == 0


def is_held_out_relation(first: str, relation: str, second: str) -> bool:
    """Say whether `first` never stands `relation` of `second` in training."""
    return _digest(f"relation/{first}/{relation}/{second}") % 10 == 0


def layout(graph: Graph, size: int) -> tuple[Box, ...]:
    """Return the places of a graph's objects in a picture `size` wide."""
    if not 16 <= size <= 512:
        raise UsageError(f"size {size} is out of range; give 16 to 512 pixels")
    if graph.relation:
        places = [(index, place) for index, place in enumerate(PAIR[graph.relation])]
    elif graph.things[0].count > 1:
        places = [(0, place) for place in GROUP[graph.things[0].count]]
    else:
        places = [(0, SINGLE[graph.things[0].size])]
    return tuple(
        Box(thing, left * size // UNIT, top * size // UNIT, side * size // UNIT)
        for thing, (left, top, side) in places
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


def hides(graph: Graph) -> bool:
    """Say whether an object can hardly be seen, because its background has its colour.

    Captions always tell such a background, so that no model learns to choose it by itself.
    """
    pattern, _, tint = graph.background.partition(":")
    grounds = {tint} if tint else NEAR_COLOURS[pattern]
    return any((thing.colour or thing.entry.colour) in grounds for thing in graph.things)


def paint(thing: Thing) -> str | None:
    """Return the colour to repaint a thing with; None where its natural colour is the one asked."""
    return None if thing.colour == thing.entry.colour else thing.colour


def paste(picture: npt.NDArray[np.uint16], drawing: Pixels, left: int, top: int) -> None:
    """Lay a premultiplied RGBA drawing on an RGB picture in place, cut at the picture's edges."""
    height, width = picture.shape[:2]
    x0, y0 = max(left, 0), max(top, 0)
    x1, y1 = min(left + drawing.shape[1], width), min(top + drawing.shape[0], height)
    cut = drawing[y0 - top : y1 - top, x0 - left : x1 - left].astype(np.uint16)
    ground = picture[y0:y1, x0:x1]
    ground[...] = cut[..., :3] + ground * (255 - cut[..., 3:]) // 255


def pick(rng: random.Random, choices: Sequence[Choice]) -> Choice:
    """Choose one with equal chances; uses `random()` alone, which no Python version changes."""
    return choices[int(rng.random() * len(choices))]


def _propose(rng: random.Random, mix: Mix, held_out: bool) -> Graph:
    ground = _sample_background(rng)
    roll = rng.random()
    if roll < mix.pairs:
        first, second = _sample_thing(rng, mix), _sample_thing(rng, mix)
        if first.noun == second.noun:
            return _propose(rng, mix, held_out)
        return Graph((first, second), ground, relation=pick(rng, RELATIONS))
    if roll < mix.pairs + mix.counts:
        thing = _sample_thing(rng, mix)
        return Graph((Thing(thing.noun, thing.colour, count=pick(rng, COUNTS)),), ground)
    thing = _sample_thing(rng, mix)
    if rng.random() < mix.resized:
        thing = Thing(thing.noun, thing.colour, size=pick(rng, ("small", "big")))
    if rng.random() >= mix.styles:
        return Graph((thing,), ground)
    style = pick(rng, STYLES[1:])
    if style in COLOURLESS:
        thing = Thing(thing.noun, None, thing.size)
    return Graph((thing,), ground, style=style)


def _sample_thing(rng: random.Random, mix: Mix) -> Thing:
    noun = pick(rng, nouns())
    colour = pick(rng, tuple(COLOURS)) if rng.random() < mix.coloured else None
    return Thing(noun.singular, colour)


def _sample_background(rng: random.Random) -> str:
    roll = rng.random()
    if roll < 0.45:
        return pick(rng, PLACES)
    if roll < 0.75:
        return pick(rng, _grounds("plain"))
    if roll < 0.87:
        return pick(rng, _grounds("gradient"))
    return pick(rng, _grounds("striped") + _grounds("dotted") + _grounds("checkered"))


@cache
def _grounds(pattern: str) -> tuple[str, ...]:
    return tuple(key for key in BACKGROUNDS if key.startswith(pattern + ":"))


def _digest(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
