"""Judging: a reading against the scene that was asked for, right or wrong on each aspect."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from limner.data.scenes.backgrounds import backgrounds
from limner.data.scenes.graph import ASIDE, COUNTS, MANY, RELATIONS, Graph, Thing
from limner.data.scenes.nouns import nouns
from limner.data.scenes.sprites import COLOURS
from limner.evaluate.resampling import Score
from limner.evaluate.scenes.detection import Detections

ASPECTS = ("object", "colour", "background", "count", "relation")
DETAILS = ("object_in_counts", "colour_in_counts", "object_in_pairs", "colour_in_pairs")

Judgements = Mapping[str, tuple[bool, ...]]


def judge(asked: Graph, shown: Detections) -> Judgements:
    """Return the judgements of one picture by aspect; an aspect the scene does not have is absent.

    - `background`: the background shown is the one asked, of all scenes.
    - `object`: of single objects: one kind of thing is shown and it is the noun asked, whatever
      its number and size. In counts it is called `object_in_counts`.
    - `colour`: of single objects asked for in a colour (`colour_in_counts` in counts): one kind of
      thing is shown, be it the right noun or not, and it has the colour asked. A natural drawing
      has the colour of the noun table.
    - `count`: of counts: one kind of thing is shown, be it the right noun or not, and the number
      of its places that are filled is the number asked.
    - `object_in_pairs`: two judgements a pair: the noun is one of the things shown.
    - `colour_in_pairs`: one judgement a coloured thing of a pair: its noun is shown in its colour.
    - `relation`: of pairs: both nouns are shown and stand as asked. Colours do not matter. What is
      asked for beside another may stand on either side, and three in a row in any order, except
      that the one between the others is.

    Three things are judged as pairs are. Of an empty place `object` is that nothing is shown.

    Sizes are read but not judged: the captions of normal ones do not tell them.
    """
    found: dict[str, tuple[bool, ...]] = {"background": (shown.background == asked.background,)}
    if asked.kind in ("pair", "three"):
        return found | _judge_several(asked, shown)
    if asked.kind == "empty":
        return found | {"object": (not shown.things,)}
    thing = asked.things[0]
    alone = shown.things[0] if len(shown.things) == 1 else None
    suffix = "_in_counts" if asked.kind == "count" else ""
    found[f"object{suffix}"] = (alone is not None and alone.noun == thing.noun,)
    if thing.colour is not None:
        found[f"colour{suffix}"] = (alone is not None and colour_of(alone) == thing.colour,)
    if asked.kind == "count":
        found["count"] = (alone is not None and alone.count == thing.count,)
    return found


def colour_of(thing: Thing) -> str:
    """Return the colour a thing shows: its paint, or that of its natural drawing."""
    return thing.colour or thing.entry.colour


def tally(judgements: Iterable[Judgements]) -> dict[str, Score]:
    """Return the score of every aspect over many pictures."""
    right = dict.fromkeys((*ASPECTS, *DETAILS), 0)
    total = dict(right)
    for each in judgements:
        for aspect, answers in each.items():
            right[aspect] += sum(answers)
            total[aspect] += len(answers)
    return {aspect: Score.measured(right[aspect], total[aspect]) for aspect in right}


def chance(*, wide: bool = False) -> dict[str, Score]:
    """Return the accuracy of a random guess among all nouns, colours, backgrounds, and so on."""
    things = len(nouns(wide=wide))
    noun, colour = 1 / things, 1 / len(COLOURS)
    pair = 2 * noun
    shares = {
        "object": noun,
        "colour": colour,
        "background": 1 / len(backgrounds(wide=wide)),
        "count": 1 / len((*COUNTS, *MANY) if wide else COUNTS),
        "relation": noun / (things - 1) / len(RELATIONS),
        "object_in_counts": noun,
        "colour_in_counts": colour,
        "object_in_pairs": pair,
        "colour_in_pairs": pair * colour,
    }
    return {aspect: Score.computed(share) for aspect, share in shares.items()}


def _judge_several(asked: Graph, shown: Detections) -> dict[str, tuple[bool, ...]]:
    seen = {thing.noun: thing for thing in shown.things}
    found = {"object_in_pairs": tuple(thing.noun in seen for thing in asked.things)}
    coloured = [thing for thing in asked.things if thing.colour is not None]
    if coloured:
        found["colour_in_pairs"] = tuple(
            each.noun in seen and colour_of(seen[each.noun]) == each.colour for each in coloured
        )
    found["relation"] = (_stands(asked, shown),)
    return found


def _stands(asked: Graph, shown: Detections) -> bool:
    wanted, order = ([thing.noun for thing in each.things] for each in (asked, shown))
    if asked.relation not in ASIDE:
        return order == wanted and shown.relation == asked.relation
    if shown.relation not in ("left", "row") or sorted(order) != sorted(wanted):
        return False
    return asked.relation != "between" or order[1] == wanted[1]
