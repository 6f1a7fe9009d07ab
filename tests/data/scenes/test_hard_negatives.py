"""Twins: one thing is wrong and its caption says so; none has a held-out combination."""

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limner.data.batches.batches import graph_at
from limner.data.scenes.captions import LANGUAGES, caption
from limner.data.scenes.graph import COLOURLESS, Graph, Thing, new_combinations
from limner.data.scenes.hard_negatives import hard_negative, swap_colours
from limner.data.scenes.nouns import nouns

PAIR = Graph((Thing("cat", "red"), Thing("dog", "blue")), "snow", "left")


def change(before: Graph, after: Graph) -> str:
    """Say what is different, and check that nothing else is."""
    assert (before.background, before.style, before.relation) == (
        after.background, after.style, after.relation,
    )  # fmt: skip
    assert len(before.things) == len(after.things)
    if after.things == before.things[::-1]:
        return "places"
    if (
        len(before.things) == 2
        and [each.noun for each in before.things] == [each.noun for each in after.things]
        and (
            [each.colour for each in before.things] == [each.colour for each in after.things[::-1]]
        )
    ):
        for old, new in zip(before.things, after.things, strict=True):
            assert new.colour != (old.colour or old.entry.colour)
        return "colours"
    changed = [(a, b) for a, b in zip(before.things, after.things, strict=True) if a != b]
    ((old, new),) = changed
    (key,) = [name for name in ("noun", "colour", "count") if vars(old)[name] != vars(new)[name]]
    assert old.size == new.size
    return key


@given(index=st.integers(0, 10**6), level=st.integers(1, 5), seed=st.integers(0, 10**6))
@settings(max_examples=200, deadline=None)
def test_a_hard_negative_differs_in_one_thing_that_shows(index: int, level: int, seed: int) -> None:
    graph = graph_at("train", index, level=level)
    other = hard_negative(graph, random.Random(seed))
    assert other == hard_negative(graph, random.Random(seed))
    kind = change(graph, other)
    assert new_combinations(other) == ()
    if kind == "colour":
        assert graph.style not in COLOURLESS
        old, new = next((a, b) for a, b in zip(graph.things, other.things, strict=True) if a != b)
        assert new.colour != (old.colour or old.entry.colour)
    for language in LANGUAGES:
        told = (caption(each, language, random.Random(seed)) for each in (graph, other))
        assert len(set(told)) == 2


def test_every_kind_of_hard_negative_comes_up() -> None:
    graphs = [graph_at("train", index, level=5) for index in range(400)]
    kinds = Counter(
        change(graph, hard_negative(graph, random.Random(number)))
        for number, graph in enumerate(graphs)
    )
    assert set(kinds) == {"places", "colours", "noun", "colour", "count"}
    assert min(kinds.values()) >= 10


def test_colours_are_exchanged_only_where_both_are_told_and_differ() -> None:
    swapped = swap_colours(PAIR)
    assert swapped == Graph((Thing("cat", "blue"), Thing("dog", "red")), "snow", "left")
    assert swap_colours(swapped) == PAIR
    for first, second in (("red", "red"), ("red", None), (None, "red")):
        pair = Graph((Thing("cat", first), Thing("dog", second)), "snow", "left")
        assert swap_colours(pair) is None
    assert swap_colours(Graph((Thing("cat", "red"),), "snow")) is None


@pytest.mark.parametrize("style", COLOURLESS)
def test_where_no_colour_shows_another_object_stands(style: str) -> None:
    graph = Graph((Thing("cat"),), "snow", style=style)
    names = {hard_negative(graph, random.Random(seed)).things[0].noun for seed in range(5)}
    assert "cat" not in names and names <= {noun.singular for noun in nouns()}


def test_what_is_wrong_in_the_wide_world_shows() -> None:
    places = Graph((), "beach at night")
    other = hard_negative(places, random.Random(0), wide=True)
    assert other.kind == "empty" and other.background != places.background
    beside = Graph((Thing("cat"), Thing("dog")), "snow", "beside")
    row = Graph((Thing("cat"), Thing("dog"), Thing("fox")), "snow", "row")
    between = Graph(row.things, "snow", "between")
    nine = Graph((Thing("cat", count=9),), "snow")
    counts, middles = set(), set()
    for seed in range(60):
        random_, found = random.Random(seed), [beside, row, between, nine]
        wrong = [hard_negative(each, random_, wide=True) for each in found]
        # The order of what is side by side is not asked for, so another order is not wrong.
        for before, after in zip((beside, row), wrong, strict=False):
            assert set(before.things) != set(after.things)
        middles |= {wrong[2].things[1].noun}
        counts |= {wrong[3].things[0].count}
        assert not any(map(new_combinations, wrong))
    assert "cat" in middles and counts > {2, 6, 9}
