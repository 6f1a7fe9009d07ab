"""Hard negatives: a scene graph with one thing wrong, whose caption nearly fits the picture.

Contrastive training needs them (arXiv 2210.01936), and so does the test of whether a model binds
colours to objects. One for training never has a combination that is held out: the model would meet
it as a wrong answer alone.
"""

import random
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from limner.data.scenes.backgrounds import backgrounds
from limner.data.scenes.graph import (
    COLOURLESS,
    COUNTS,
    MANY,
    Graph,
    Thing,
    new_combinations,
    pick,
)
from limner.data.scenes.nouns import nouns
from limner.data.scenes.sprites import COLOURS

Way = Callable[[Graph, random.Random], Graph | None]


def hard_negative(graph: Graph, rng: random.Random, *, wide: bool = False) -> Graph:
    """Return the graph with one change that shows: another object, colour, count or place.

    The other object is one of the first nouns, or of the whole table. An empty place is another.
    """
    if graph.kind == "empty":
        others = [each for each in backgrounds(wide=wide) if each != graph.background]
        return replace(graph, background=pick(rng, others))
    ways: list[Way] = [partial(_rename, wide=wide)]
    # In eight of ten cases a pair exchanges its colours or places: other captions of a batch have
    # another object or colour anyway, and only these teach what belongs to what.
    pair: list[Way] = [_exchange_colours, _exchange_places] * 4
    # What is said to be beside another may stand on either side.
    pair = [_exchange_colours] * 8 if graph.relation == "beside" else pair
    ways += pair if graph.kind == "pair" else []
    ways += [_move_between] * 4 if graph.relation == "between" else []
    ways += [] if graph.style in COLOURLESS else [_recolour]
    ways += [partial(_recount, wide=wide)] if graph.kind == "count" else []
    while True:
        found = pick(rng, ways)(graph, rng)
        if found is not None and not new_combinations(found):
            return found


def swap_colours(graph: Graph) -> Graph | None:
    """Return a pair with its colours exchanged; None where one is natural, or both are the same."""
    if graph.kind != "pair" or None in (colours := [each.colour for each in graph.things]):
        return None
    return None if colours[0] == colours[1] else _with_colours(graph, colours[::-1])


def _exchange_colours(graph: Graph, rng: random.Random) -> Graph | None:
    first, second = graph.things
    if any(
        each.colour and not other.entry.painted
        for each, other in zip(graph.things, graph.things[::-1], strict=True)
    ):
        return None
    # Beside a natural colour the exchange shows only where neither has the other's already.
    if first.colour == second.colour or second.colour == _shown(first):
        return None
    return (
        None
        if first.colour == _shown(second)
        else _with_colours(graph, [second.colour, first.colour])
    )


def _with_colours(graph: Graph, colours: list[str | None]) -> Graph:
    both = zip(graph.things, colours, strict=True)
    return replace(graph, things=tuple(replace(each, colour=colour) for each, colour in both))


def _exchange_places(graph: Graph, rng: random.Random) -> Graph:
    return replace(graph, things=graph.things[::-1])


def _move_between(graph: Graph, rng: random.Random) -> Graph:
    first, second, third = graph.things
    return replace(graph, things=(second, first, third))


def _recolour(graph: Graph, rng: random.Random) -> Graph | None:
    number = pick(rng, range(len(graph.things)))
    thing = graph.things[number]
    if not thing.entry.painted:
        return None
    colour = pick(rng, [each for each in COLOURS if each != _shown(thing)])
    return _with(graph, number, replace(thing, colour=colour))


def _recount(graph: Graph, rng: random.Random, *, wide: bool) -> Graph:
    thing, counts = graph.things[0], (*COUNTS, *MANY) if wide else COUNTS
    return _with(graph, 0, replace(thing, count=pick(rng, [n for n in counts if n != thing.count])))


def _rename(graph: Graph, rng: random.Random, *, wide: bool) -> Graph:
    number = pick(rng, range(len(graph.things)))
    taken, coloured = {thing.noun for thing in graph.things}, graph.things[number].colour
    others = [each for each in nouns(wide=wide) if each.painted or not coloured]
    noun = pick(rng, [each.singular for each in others if each.singular not in taken])
    return _with(graph, number, replace(graph.things[number], noun=noun))


def _shown(thing: Thing) -> str:
    return thing.colour or thing.entry.colour


def _with(graph: Graph, number: int, thing: Thing) -> Graph:
    things = list(graph.things)
    things[number] = thing
    return replace(graph, things=tuple(things))
