"""What pictures are asked, and the answers that their scenes give."""

import pytest
import torch

from limner.data.scenes.graph import Graph, Thing
from limner.data.scenes.nouns import nouns
from limner.data.scenes.sprites import COLOURS
from limner.text.tokenizer import Tokenizer
from limner.train.clip.naming import questions, shown_in
from tests.tiny_model import SENTENCES

LEFT = Graph((Thing("cat", "red"), Thing("dog", "blue")), "snow", "left")
PLAIN = next(each for each in nouns() if each.colour in COLOURS)
ABOVE = Graph((Thing("cat", "red"), Thing(PLAIN.singular)), "snow", "above")


def answers(graph: Graph, place: int) -> dict[str, float]:
    labels = [*(each.singular for each in nouns()), *COLOURS]
    shown = shown_in([graph])
    assert shown.shape == (1, 5, len(labels))
    return {labels[at]: float(shown[0, place, at]) for at in shown[0, place].nonzero()[:, 0]}


def test_a_pair_shows_half_of_each_and_one_at_each_place() -> None:
    assert answers(LEFT, 0) == {"cat": 0.5, "dog": 0.5, "red": 0.5, "blue": 0.5}
    assert answers(LEFT, 1) == {"cat": 1, "red": 1}
    assert answers(LEFT, 2) == {"dog": 1, "blue": 1}
    assert answers(LEFT, 3) == answers(LEFT, 4) == {}
    assert answers(ABOVE, 3) == {"cat": 1, "red": 1}
    assert answers(ABOVE, 4) == {PLAIN.singular: 1, PLAIN.colour: 1}


def test_a_style_without_colours_answers_no_question_of_colour() -> None:
    assert answers(Graph((Thing("cat"),), "snow", style="silhouette"), 0) == {"cat": 1}


def test_each_question_has_a_text_for_every_label_in_its_order() -> None:
    tokenizer = Tokenizer.train([*SENTENCES, "on the left, at the bottom"], 400)
    asked = questions(tokenizer, 40)
    assert {each.place for each in asked} == set(range(5)) and len(asked) == 24
    for each in asked:
        labels = [*(noun.singular for noun in nouns()), *COLOURS][each.labels]
        assert len(each.ids) == len(labels) and bool((each.ids != 0).any(0)[0])
    texts = [tokenizer.decode(each.ids[0].tolist()) for each in asked if each.place == 1]
    name, chinese = nouns()[0].singular, nouns()[0].chinese
    expected = (
        f" {name} on the left",
        f"左边是{chinese}",
        "something red on the left",
        "左边是红色的东西",
    )
    for text, end in zip(texts, expected, strict=True):
        assert text.endswith(end)
    assert torch.equal(asked[0].ids, questions(tokenizer, 40)[0].ids)


@pytest.mark.parametrize("place", range(5))
def test_rows_are_distributions_or_empty(place: int) -> None:
    shown = shown_in([LEFT, ABOVE])[:, place]
    for labels in (slice(0, len(nouns())), slice(len(nouns()), None)):
        sums = shown[:, labels].sum(1)
        assert bool(((sums == 1) | (sums == 0)).all())
