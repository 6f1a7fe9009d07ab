"""Naming what a picture shows: all objects, or all colours, as texts, anywhere or at one place.

A caption with two things exchanged differs so little that contrast alone begins to tell them apart
very late; "a cat on the left" among all objects on the left teaches the same binding at once.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from limner.data.scenes.captions import COLOURS_ZH
from limner.data.scenes.graph import COLOURLESS, Graph, Thing
from limner.data.scenes.nouns import noun_index, nouns
from limner.data.scenes.sprites import COLOURS
from limner.pipelines.clip import article_of, label_sentences
from limner.text.tokenizer import Tokenizer, trim_padding

PLACES_EN = ("on the left", "on the right", "at the top", "at the bottom")
PLACES_ZH = ("左边", "右边", "上面", "下面")
# Of things that stand so to each other; 0 is anywhere, None no place that is asked for.
_PLACES: dict[str, tuple[int | None, ...]] = {"left": (1, 2), "above": (3, 4), "beside": (1, 2)}
_PLACES |= {"front": (None, None), "row": (1, None, 2), "between": (1, None, 2)}


class Question(NamedTuple):
    """Texts as ids (K, T), one a label, and where their answers stand in `shown`."""

    place: int
    labels: slice
    ids: Tensor


def shown_in(graphs: Sequence[Graph], *, wide: bool = False) -> Tensor:
    """Return (B, 5, L): which labels hold anywhere, left, right, at the top and at the bottom.

    Labels are all nouns (the first ones, or the whole table), then all colours. A row is a
    distribution over either, or less where a place is empty, or a thing or style has no one colour.
    """
    things = len(nouns(wide=wide))
    colours = {name: things + number for number, name in enumerate(COLOURS)}
    shown = torch.zeros(len(graphs), 1 + len(PLACES_EN), things + len(COLOURS))
    for row, graph in enumerate(graphs):
        for place, thing, share in _placed(graph):
            shown[row, place, noun_index()[thing.noun]] += share  # two of a kind share one label
            colour = colours.get(thing.colour or thing.entry.colour)
            if colour is not None and graph.style not in COLOURLESS:
                shown[row, place, colour] += share
    return shown


def questions(tokenizer: Tokenizer, length: int, *, wide: bool = False) -> list[Question]:
    """Return every question in both languages, nouns in all templates of classification."""
    things = nouns(wide=wide)
    english, chinese = [each.singular for each in things], [each.chinese for each in things]
    objects, colours = slice(0, len(things)), slice(len(things), None)
    asked: list[tuple[int, slice, Sequence[str]]] = []
    for words in (english, chinese):
        asked += [(0, objects, each) for each in zip(*map(label_sentences, words), strict=True)]
    asked.append((0, colours, [f"something {each}" for each in COLOURS]))
    asked.append((0, colours, [f"{COLOURS_ZH[each]}色的东西" for each in COLOURS]))
    for place, (where, there) in enumerate(zip(PLACES_EN, PLACES_ZH, strict=True), 1):
        asked.append((place, objects, [f"{article_of(each)} {each} {where}" for each in english]))
        asked.append((place, objects, [f"{there}是{each}" for each in chinese]))
        asked.append((place, colours, [f"something {each} {where}" for each in COLOURS]))
        asked.append((place, colours, [f"{there}是{COLOURS_ZH[each]}色的东西" for each in COLOURS]))
    return [
        Question(place, labels, trim_padding(tokenizer.batch(texts, length)))
        for place, labels, texts in asked
    ]


def _placed(graph: Graph) -> list[tuple[int, Thing, float]]:
    found = [(0, thing, 1 / len(graph.things)) for thing in graph.things]
    if graph.relation:
        found += [
            (place, thing, 1.0)
            for place, thing in zip(_PLACES[graph.relation], graph.things, strict=True)
            if place is not None
        ]
    return found
