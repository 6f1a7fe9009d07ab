"""What is read in a drawn picture is held against what was asked."""

from typing import Any

import pytest
import torch

import limner
from limner.nn.things import Thing
from limner.nn.told import NOTHING
from limner.pipelines import looking
from limner.pipelines.things import Read
from limner.text.notes import Wanted
from limner.types import Request
from tests.tiny_model import tiny_pipeline

CAT, DOG, RED, BLUE = 2, 1, 1, 5  # answers: dog and cat are the first things, red the first colour


def thing(
    noun: int, colour: int, left: float = 0.0, top: float = 0.0, surety: float = 1.0
) -> Thing:
    return Thing((noun, colour, 1), left, top, 0.3, surety, 1.0)


@pytest.fixture(scope="module")
def words() -> Any:
    return limner.load("default").words


@pytest.fixture
def shown(words: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return what says how much of what is wanted things show that are read in one picture."""

    def judge(wanted: Wanted, *things: Thing) -> float:
        read = Read(list(things), torch.zeros(1, 3, 8, 8), torch.ones(1, 1, 1, 1))
        monkeypatch.setattr(looking, "reader_of", lambda codec: codec)
        monkeypatch.setattr(looking, "looked_for", lambda *_: NOTHING)
        monkeypatch.setattr(looking, "read_things", lambda *_: read)
        found = looking.agreement(object(), words, wanted, torch.zeros(1, 3, 8, 8))
        assert found is not None
        return found[0]

    return judge


def test_all_that_was_asked_is_all(shown: Any) -> None:
    wanted = Wanted((("cat", 1, "red"), ("dog", 1, "blue")), "left")
    right = thing(CAT, RED), thing(DOG, BLUE, left=0.5)
    assert shown(wanted, *right) == pytest.approx(1)
    wrong = {
        "the other way round": (thing(CAT, RED, left=0.6), thing(DOG, BLUE)),
        "another colour": (thing(CAT, BLUE), thing(DOG, BLUE, left=0.5)),
        "one of them": right[:1],
        "one of them twice": (*right, thing(CAT, RED, top=0.5)),
        "another thing besides": (*right, thing(9, RED, top=0.5)),
        "a blot": (thing(CAT, RED, surety=0.4), right[1]),
    }
    scores = {name: shown(wanted, *things) for name, things in wrong.items()}
    assert all(score < 0.95 for score in scores.values()), scores
    assert scores["one of them"] < scores["another colour"]


def test_numbers_are_counted(shown: Any) -> None:
    three = [thing(CAT, RED, left=at) for at in (0, 0.3, 0.6)]
    assert shown(Wanted((("cat", 3, None),)), *three) == pytest.approx(1)
    assert shown(Wanted((("cat", 2, None),)), *three) < 0.9
    assert shown(Wanted((("cat", None, None),)), *three) == pytest.approx(1)  # "cats"
    assert shown(Wanted((("cat", None, None),)), three[0]) < 0.9


def test_of_equals_the_surer_one_is_better(shown: Any) -> None:
    wanted = Wanted((("cat", 1, None),))
    assert shown(wanted, thing(CAT, RED, surety=0.8)) < shown(wanted, thing(CAT, RED))


def test_a_model_that_reads_nothing_says_nothing() -> None:
    model = tiny_pipeline()
    assert model.shows(Request("a red apple", seed=1), torch.zeros(1, 3, 16, 16)) is None


def test_the_default_reads_what_it_has_drawn() -> None:
    model = limner.load("default")
    request = Request("two red cats on the beach", seed=3)
    *_, last = model.stream(request)
    assert last.images is not None
    for prompt, least, most in (
        ("two red cats on the beach", 0.99, 1.01),
        ("three red cats on the beach", 0.5, 0.9),
        ("a blue dog on the beach", 0, 0.1),
    ):
        found = model.shows(Request(prompt, seed=3), last.images)
        assert found is not None and least <= found[0] <= most, prompt
    assert model.shows(Request("two red cats", seed=3, verbatim=True), last.images) is None
