"""Scene graphs: what stands in a scene and how, drawn at random; no pixels."""

import hashlib
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from itertools import pairwise
from typing import Any, TypeVar

from limner.data.scenes.backgrounds import (
    BACKGROUNDS,
    NEAR_COLOURS,
    PLACES,
    PLACES_LATER,
)
from limner.data.scenes.nouns import Noun, noun_of, nouns
from limner.data.scenes.sprites import COLOURS, STYLES
from limner.errors import UsageError

Option = TypeVar("Option")


SPLITS = ("train", "validation", "held_out")
RELATIONS = ("left", "above")
COUNTS = (2, 3, 4, 5)
# Of the wide world: more of a thing, and things that stand side by side whatever their order
# ("beside"), one in front of another ("front"), or three in a row, told in their order or as one
# "between" the others.
MANY = (6, 7, 8, 9)
RELATIONS_OF_TWO = (*RELATIONS, "beside", "front")
RELATIONS_OF_THREE = ("row", "between")
ASIDE = ("beside", *RELATIONS_OF_THREE)  # each left of the next
SIZES = ("small", "normal", "big")
COLOURLESS = ("silhouette", "line art")


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
        return noun_of(self.noun)


@dataclass(frozen=True)
class Graph:
    """What a scene shows: things, how they stand to each other, background and drawing style.

    `relation` is of RELATIONS_OF_TWO, of the first thing to the second, or of RELATIONS_OF_THREE,
    of things from left to right; None for one thing, and for an empty place.
    """

    things: tuple[Thing, ...]
    background: str
    relation: str | None = None
    style: str = "plain"

    @property
    def kind(self) -> str:
        """Return "single", "count" or "pair"; in the wide world "three" and "empty" too."""
        if len(self.things) != 1:
            return {0: "empty", 2: "pair"}.get(len(self.things), "three")
        return "count" if self.things[0].count > 1 else "single"

    def to_json(self) -> dict[str, Any]:
        """Return the graph as plain JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class Mix:
    """How often each kind of scene is drawn; the rest are single objects.

    `wide` scenes have things of the whole noun table, each of them in its own colours where it is
    not painted, and few that are hidden by a background of their colour. In these alone are
    `many` of the counts, which have six to nine things, `fronts`, `threes` and empty places.
    """

    counts: float = 0.0
    pairs: float = 0.0
    many: float = 0.0  # of the counts
    loose: float = 0.0  # of the pairs: side by side, whatever their order
    fronts: float = 0.0
    threes: float = 0.0
    empties: float = 0.0
    styles: float = 0.0
    coloured: float = 0.5
    resized: float = 0.12
    wide: bool = False


LEVELS = {
    1: Mix(),
    2: Mix(counts=0.3),
    3: Mix(counts=0.22, pairs=0.25),
    4: Mix(counts=0.18, pairs=0.22, styles=0.06),
    5: Mix(counts=0.15, pairs=0.55, styles=0.06),
}
_WIDE = Mix(many=0.5, loose=0.4, fronts=0.06, threes=0.06, empties=0.05, wide=True)
LEVELS |= {
    6: replace(_WIDE, counts=0.2, pairs=0.2),
    7: replace(_WIDE, counts=0.2, pairs=0.2, styles=0.06),
    8: replace(_WIDE, counts=0.15, pairs=0.4, fronts=0.1, threes=0.1, empties=0.03, styles=0.06),
}
HIDDEN = 0.1  # of the wide scenes that hide a thing are kept: people ask for a black cat on black


def scene_rng(split: str, index: int, seed: int = 0, level: int = 4) -> random.Random:
    """Return the source of every choice made for one scene."""
    if split not in SPLITS:
        raise UsageError(f"unknown split {split!r}; choose one of {', '.join(SPLITS)}")
    if level not in LEVELS:
        raise UsageError(f"level {level} is not one of 1 to 8; give --level 4, or 7 for all things")
    return random.Random(_digest(f"{split}/{seed}/{level}/{index}"))


def sample_graph(split: str, rng: random.Random, level: int = 4) -> Graph:
    """Draw a scene graph; "held_out" graphs have a new combination, the others have none."""
    wanted = split == "held_out"
    mix = LEVELS[level]
    # One tenth of what is drawn is of the other splits: drawn again.
    while True:
        graph = (_propose_wide if mix.wide else _propose)(rng, mix, wanted)
        if mix.wide and hides(graph) and rng.random() >= HIDDEN:
            continue
        if bool(new_combinations(graph)) == wanted:
            return graph


def is_wide(level: int) -> bool:
    """Say whether scenes of a level have things of the whole noun table."""
    return LEVELS[level].wide


def new_combinations(graph: Graph) -> tuple[str, ...]:
    """Return the held-out combinations that a graph contains: "colour", "count", "relation"."""
    found = []
    if any(is_held_out_colour(thing.noun, thing.colour) for thing in graph.things):
        found.append("colour")
    if any(is_held_out_count(thing.noun, thing.count) for thing in graph.things):
        found.append("count")
    nouns_here = [thing.noun for thing in graph.things]
    # However it is said, a thing stands left of the next.
    relation = "left" if graph.relation in ASIDE else graph.relation
    if relation and any(
        is_held_out_relation(one, relation, other) for one, other in pairwise(nouns_here)
    ):
        found.append("relation")
    return tuple(found)


@cache
def is_held_out_colour(noun: str, colour: str | None) -> bool:
    """Say whether this object never appears in this colour in training; natural ones do."""
    if colour is None or noun_of(noun).colour == colour:
        return False
    return _digest(f"colour/{noun}/{colour}") % 10 == 0


@cache
def is_held_out_count(noun: str, count: int) -> bool:
    """Say whether this many of this object never appear in training."""
    return count > 1 and _digest(f"count/{noun}/{count}") % 10 == 0


def is_held_out_relation(first: str, relation: str, second: str) -> bool:
    """Say whether `first` never stands `relation` of `second` in training."""
    return _digest(f"relation/{first}/{relation}/{second}") % 10 == 0


def pick(rng: random.Random, choices: Sequence[Option]) -> Option:
    """Choose one with equal chances; uses `random()` alone, which no Python version changes."""
    return choices[int(rng.random() * len(choices))]


def _propose(rng: random.Random, mix: Mix, held_out: bool) -> Graph:
    background = _sample_background(rng)
    roll = rng.random()
    if roll < mix.pairs:
        first, second = _sample_thing(rng, mix), _sample_thing(rng, mix)
        # Two of one thing would be a count.
        if first.noun == second.noun:
            return _propose(rng, mix, held_out)
        return Graph((first, second), background, relation=pick(rng, RELATIONS))
    if roll < mix.pairs + mix.counts:
        thing = _sample_thing(rng, mix)
        return Graph((Thing(thing.noun, thing.colour, count=pick(rng, COUNTS)),), background)
    return _propose_single(rng, mix, background)


def _propose_wide(rng: random.Random, mix: Mix, held_out: bool) -> Graph:
    background = _sample_background(rng, wide=True)
    roll = rng.random()
    for share, relations in (
        (mix.pairs * mix.loose, ("beside",)),
        (mix.pairs * (1 - mix.loose), RELATIONS),
        (mix.fronts, ("front",)),
        (mix.threes, RELATIONS_OF_THREE),
    ):
        if roll < share:
            number = 3 if relations == RELATIONS_OF_THREE else 2
            things = tuple(_sample_thing(rng, mix) for _ in range(number))
            if len({each.noun for each in things}) < number:
                return _propose_wide(rng, mix, held_out)
            return Graph(things, background, relation=pick(rng, relations))
        roll -= share
    if roll < mix.counts:
        thing, counts = _sample_thing(rng, mix), MANY if rng.random() < mix.many else COUNTS
        return Graph((replace(thing, count=pick(rng, counts)),), background)
    if roll < mix.counts + mix.empties:
        return Graph((), background)
    return _propose_single(rng, mix, background)


def _propose_single(rng: random.Random, mix: Mix, background: str) -> Graph:
    thing = _sample_thing(rng, mix)
    if rng.random() < mix.resized:
        thing = Thing(thing.noun, thing.colour, size=pick(rng, ("small", "big")))
    if rng.random() >= mix.styles:
        return Graph((thing,), background)
    style = pick(rng, STYLES[1:])
    # A silhouette or a line drawing shows no colour, so none is asked for.
    if style in COLOURLESS:
        thing = Thing(thing.noun, None, thing.size)
        # Of all flags, signs and faces there are three silhouettes.
        style = style if thing.entry.painted else "sticker"
    return Graph((thing,), background, style=style)


def _sample_thing(rng: random.Random, mix: Mix) -> Thing:
    noun = pick(rng, nouns(wide=mix.wide))
    coloured = rng.random() < mix.coloured and noun.painted
    return Thing(noun.singular, pick(rng, tuple(COLOURS)) if coloured else None)


def _sample_background(rng: random.Random, *, wide: bool = False) -> str:
    roll = rng.random()
    if roll < 0.45:
        return pick(rng, (*PLACES, *PLACES_LATER) if wide else PLACES)
    if roll < 0.75:
        return pick(rng, _patterned("plain"))
    if roll < 0.87:
        return pick(rng, _patterned("gradient"))
    return pick(rng, _patterned("striped") + _patterned("dotted") + _patterned("checkered"))


@cache
def _patterned(pattern: str) -> tuple[str, ...]:
    return tuple(key for key in BACKGROUNDS if key.startswith(pattern + ":"))


def _digest(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def hides(graph: Graph) -> bool:
    """Say whether an object can hardly be seen, because its background has its colour."""
    # Captions always name such a background, so that no model learns to choose it by itself.
    pattern, _, tint = graph.background.partition(":")
    hiding = {tint} if tint else NEAR_COLOURS[pattern]
    return any((thing.colour or thing.entry.colour) in hiding for thing in graph.things)
