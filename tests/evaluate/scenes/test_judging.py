"""Judgements: what counts as right and wrong."""

import pytest

from limner.data.scenes.graph import Graph, Thing
from limner.evaluate.scenes.detection import Detections
from limner.evaluate.scenes.judging import ASPECTS, DETAILS, chance, judge, tally

RED_CAR = Thing("car", "red")


def shown(*things: Thing, background: str = "snow", relation: str | None = None) -> Detections:
    return Detections(background, things, relation)


@pytest.mark.parametrize(
    ("reading", "found", "painted", "ground"),
    [
        (shown(RED_CAR), True, True, True),
        (shown(Thing("car", "red", size="small")), True, True, True),
        (shown(Thing("car", "blue")), True, False, True),
        (shown(Thing("bus", "red")), False, True, True),
        (shown(Thing("strawberry")), False, True, True),  # naturally red
        (shown(Thing("strawberry", "blue")), False, False, True),
        (shown(Thing("car", "red", count=3), background="beach"), True, True, False),
        (shown(), False, False, True),
        (shown(RED_CAR, Thing("dog"), relation="left"), False, False, True),
    ],
)
def test_single_objects(reading: Detections, found: bool, painted: bool, ground: bool) -> None:
    assert judge(Graph((RED_CAR,), "snow"), reading) == {
        "background": (ground,),
        "object": (found,),
        "colour": (painted,),
    }


def test_a_colour_that_was_not_asked_for_is_not_judged() -> None:
    assert "colour" not in judge(Graph((Thing("car"),), "snow"), shown(RED_CAR))


@pytest.mark.parametrize(
    ("reading", "right"),
    [
        (shown(Thing("car", count=3)), True),
        (shown(Thing("dog", count=3)), True),
        (shown(Thing("car", count=2)), False),
        (shown(Thing("car")), False),
        (shown(), False),
    ],
)
def test_counts(reading: Detections, right: bool) -> None:
    judgements = judge(Graph((Thing("car", count=3),), "snow"), reading)
    assert set(judgements) == {"background", "object_in_counts", "count"}
    assert judgements["count"] == (right,)


@pytest.mark.parametrize(
    ("reading", "objects", "painted", "right"),
    [
        (shown(RED_CAR, Thing("dog"), relation="left"), (True, True), True, True),
        (shown(Thing("car"), Thing("dog"), relation="left"), (True, True), True, True),
        (shown(Thing("car", "blue"), Thing("dog"), relation="left"), (True, True), False, True),
        (shown(Thing("dog"), RED_CAR, relation="left"), (True, True), True, False),
        (shown(RED_CAR, Thing("dog"), relation="above"), (True, True), True, False),
        (shown(RED_CAR, Thing("cat"), relation="left"), (True, False), True, False),
        (shown(Thing("dog")), (False, True), False, False),
        (shown(), (False, False), False, False),
    ],
)
def test_pairs(reading: Detections, objects: tuple[bool, bool], painted: bool, right: bool) -> None:
    if reading.things and reading.things[0] == Thing("car"):
        assert Thing("car").entry.colour == "red", "the noun table says what a natural car shows"
    assert judge(Graph((RED_CAR, Thing("dog")), "snow", relation="left"), reading) == {
        "background": (True,),
        "object_in_pairs": objects,
        "colour_in_pairs": (painted,),
        "relation": (right,),
    }


def test_a_tally_counts_judgements() -> None:
    pair = Graph((RED_CAR, Thing("dog")), "snow", relation="left")
    scores = tally([judge(pair, shown(Thing("dog"))), judge(Graph((RED_CAR,), "snow"), shown())])
    assert (scores["object_in_pairs"].value, scores["object_in_pairs"].n) == (0.5, 2)
    assert (scores["object"].value, scores["object"].n) == (0.0, 1)
    assert (scores["count"].value, scores["count"].n) == (None, 0)
    assert set(scores) == {*ASPECTS, *DETAILS}


def test_chance_is_small_and_complete() -> None:
    scores = chance()
    assert set(scores) == {*ASPECTS, *DETAILS}
    assert scores["count"].value == 0.25
    assert all(0 < (score.value or 0) <= 0.25 for score in scores.values())


CAT, DOG, FOX = Thing("cat"), Thing("dog"), Thing("fox")


@pytest.mark.parametrize(
    ("relation", "things", "reading", "right"),
    [
        # "a cat and a dog": on either side, but side by side
        ("beside", (CAT, DOG), shown(CAT, DOG, relation="left"), True),
        ("beside", (CAT, DOG), shown(DOG, CAT, relation="left"), True),
        ("beside", (CAT, DOG), shown(CAT, DOG, relation="above"), False),
        ("beside", (CAT, DOG), shown(CAT, FOX, relation="left"), False),
        ("front", (CAT, DOG), shown(CAT, DOG, relation="front"), True),
        ("front", (CAT, DOG), shown(DOG, CAT, relation="front"), False),
        ("front", (CAT, DOG), shown(CAT, DOG, relation="left"), False),
        ("row", (CAT, DOG, FOX), shown(FOX, CAT, DOG, relation="row"), True),
        ("row", (CAT, DOG, FOX), shown(CAT, DOG), False),
        ("between", (CAT, DOG, FOX), shown(FOX, DOG, CAT, relation="row"), True),
        ("between", (CAT, DOG, FOX), shown(DOG, CAT, FOX, relation="row"), False),
    ],
)
def test_how_things_stand_in_the_wide_world(
    relation: str, things: tuple[Thing, ...], reading: Detections, right: bool
) -> None:
    judgements = judge(Graph(things, "snow", relation=relation), reading)
    assert judgements["relation"] == (right,)
    assert len(judgements["object_in_pairs"]) == len(things)


def test_an_empty_place_shows_nothing() -> None:
    empty = Graph((), "beach at night")
    assert judge(empty, shown(background="beach at night")) == {
        "background": (True,), "object": (True,),
    }  # fmt: skip
    assert judge(empty, shown(CAT)) == {"background": (False,), "object": (False,)}


def test_chance_of_the_wide_world_is_smaller() -> None:
    wide, first = chance(wide=True), chance()
    assert wide["count"].value == 1 / 8
    assert all((wide[each].value or 0) <= (first[each].value or 0) for each in wide)
