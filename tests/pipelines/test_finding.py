"""A word's thing is where the model reads it; a model that reads none says so."""

import numpy as np
import pytest
from PIL import Image

from limner.draw import edit_settings
from limner.errors import UsageError
from limner.masks import things_of
from limner.pipelines import finding
from limner.pipelines.finding import find_named
from limner.pipelines.things import Scene, read_scene
from limner.text.words import Grammar, Phrase, Words
from limner.types import Request
from tests.tiny_model import tiny_pipeline
from tests.tiny_things import tiny_things

GREY = Image.new("RGB", (64, 64), (128, 128, 128))
SAID = [
    *(("thing", name, "en", name) for name in ("apple", "car", "cat")),
    ("many", "car", "en", "cars"),
    ("thing", "car", "zh", "汽车"),
    ("colour", "red", "en", "red"),
    ("colour", "blue", "en", "blue"),
]
WORDS = Words(
    1, {}, Grammar(tuple(Phrase(*each, 1) for each in SAID), {}, frozenset(), frozenset())
)


@pytest.mark.parametrize("word", ["car", "a car", "the cars", "汽车", "a red car", "a blue car"])
def test_what_a_word_names_is_masked_whole(word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_things()
    model.words = WORDS

    def first(*given: object) -> Scene:
        scene = read_scene(*given)  # type: ignore[arg-type]
        (alone,) = (each for each in scene.things if each.square[:2] == (0.1875, 0.1875))
        return Scene([alone], scene.ground, scene.known)

    monkeypatch.setattr(finding, "read_scene", first)
    mask = find_named(model, GREY, word)
    assert mask is not None and (mask.size, mask.mode) == ((64, 64), "L")
    masked = np.asarray(mask) > 0
    assert masked[12:36, 12:36].all() and masked.sum() <= 27**2


def test_several_things_of_a_name_are_all_masked() -> None:
    model = tiny_things()
    model.words = WORDS
    mask = find_named(model, GREY, "cars")
    assert mask is not None and (np.asarray(mask) > 0).mean() > 0.9
    request = Request("a red car", seed=0, image=GREY, mask=mask)
    assert things_of(request.mask) > 1  # a request opens its mask, and knows it still
    assert edit_settings(request)["things"] == things_of(mask)  # and tells it
    assert things_of(Image.new("L", (8, 8))) == things_of(None) == 1


@pytest.mark.parametrize("word", ["cat", "zebra", "red", "a car and a cat"])
def test_what_is_not_read_is_not_found(word: str) -> None:
    model = tiny_things()
    model.words = WORDS
    assert find_named(model, GREY, word) is None


def test_a_model_that_reads_no_things_or_has_no_words_finds_none() -> None:
    plain, wordless = tiny_pipeline(), tiny_things()
    plain.words = WORDS
    assert find_named(plain, GREY, "car") is find_named(wordless, GREY, "car") is None
    with pytest.raises(UsageError, match="the prompt is empty"):
        find_named(plain, GREY, " ")
