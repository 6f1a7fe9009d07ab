"""What words say to a decoder that names things, family by family."""

from typing import Any

import pytest
import torch
from torch import Tensor

from limner.data.scenes.words import scene_words
from limner.nn.told import NOTHING, Told
from limner.pipelines.things import looked_for, reader_of, told_by
from limner.registry import load
from limner.types import Request
from tests.tiny_model import tiny_pipeline
from tests.tiny_things import tiny_things


def test_words_say_which_things_in_which_colours() -> None:
    pipeline = tiny_things()
    pipeline.words = words = scene_words(4, count=3000)
    things = list(words.grammar.named("thing", "en")) if words.grammar else []
    colours = list(words.grammar.named("colour", "en")) if words.grammar else []
    decoder = pipeline.codec.decoder
    decoder.namer.answers = (1 + len(things), 1 + len(colours), 5)
    decoder.painter.natural = torch.arange(1 + len(things)) % 7
    cat, dog, red = things.index("cat") + 1, things.index("dog") + 1, colours.index("red") + 1
    asked = ["a cat left of a red dog", "三只红色的猫", "", "a zeppelin", "a red"]
    wanted = [
        Told(((cat, cat % 7), (dog, red)), counts=(1, 1)),
        Told(((cat, red),), counts=(3,)),
        *[Told()] * 3,
    ]
    assert told_by(pipeline, asked) == wanted
    assert told_by(pipeline, ["dogs"], "line art") == [Told(((dog, dog % 7),), "line art", (2,))]
    (meadow,) = told_by(pipeline, ["a cat in a meadow"])
    assert meadow.place is None  # its decoder paints fewer backdrops than the words have
    backdrops = list(words.grammar.named("place", "en")) if words.grammar else []
    decoder.backdrops.plan = torch.nn.Embedding(len(backdrops), 1)
    (meadow,) = told_by(pipeline, ["a cat in a meadow"])
    assert meadow.place == backdrops.index("meadow")
    # Names that its answers do not reach are of another model.
    decoder.namer.answers, decoder.painter.natural = (cat, 1, 5), torch.zeros(999).long()
    assert told_by(pipeline, ["a cat left of a red dog"]) == [
        Told(tuple((at, 0) for at in (cat, dog) if at < cat), counts=(1,) * (dog < cat))
    ]


def test_without_words_or_a_decoder_of_things_nothing_is_said() -> None:
    assert told_by(tiny_things(), ["a cat", "a dog"], "line art") == [Told(style="line art")] * 2
    assert told_by(tiny_pipeline(), ["a cat"]) == []


def test_a_drawing_is_told_what_was_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = tiny_things()
    pipeline.words = words = scene_words(4, count=3000)
    assert words.grammar is not None
    # Its decoder has answers for three things and two colours.
    one, other = list(words.grammar.named("thing", "en"))[:2]
    colour = next(iter(words.grammar.named("colour", "en")))
    prompts = [f"a {colour} {one}", f"a {other}"]
    said = [Told(((1, 1),), counts=(1,)), Told(((2, 0),), counts=(1,))]
    heard = list[Any]()
    things = pipeline.codec.decoder.things

    def listen(places: Tensor, small: Tensor, grounds: Tensor, told: Any = ()) -> Any:
        heard.extend(told)
        return things(places, small, grounds, told)

    monkeypatch.setattr(pipeline.codec.decoder, "things", listen)
    [*pipeline.stream(Request(prompts[0], seed=1))]
    assert heard == said[:1]
    heard.clear()
    [*pipeline.stream_together([Request(each, seed=1) for each in prompts])]
    assert set(heard) == set(said)


def test_what_is_looked_for_is_likelier_in_any_colour_or_in_one() -> None:
    model = load("default")
    decoder = reader_of(model.codec)
    assert decoder is not None and model.words is not None
    any_colour = looked_for(model.words, decoder, [("cat", None), ("nothing known", "red")])
    assert {noun for noun, _ in any_colour.things} == {2} and len(any_colour.things) > 10
    assert looked_for(model.words, decoder, [("dog", "red")]).things == ((1, 1),)
    assert 1 < any_colour.odds < Told().odds and any_colour.count == 0
    assert looked_for(None, decoder, [("dog", None)]) == NOTHING
