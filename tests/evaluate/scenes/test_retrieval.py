"""Trials of a CLIP: who knows everything gets all of them, who knows nothing gets chance."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from limner.data.scenes.graph import is_held_out_colour, new_combinations
from limner.data.scenes.hard_negatives import swap_colours
from limner.data.scenes.nouns import nouns
from limner.evaluate.scenes import retrieval
from limner.evaluate.scenes.retrieval import Trials, clip_accuracy
from tests.tiny_clip import tiny_clip


@pytest.fixture(autouse=True)
def font_found(emoji_font: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIMNER_FONT", str(emoji_font))


def test_trials_are_different_scenes_of_held_out_combinations() -> None:
    trials = Trials.make(210, seed=3)
    assert [len(group) for group in trials.retrieval] == [100, 100]
    every = [graph for group in trials.retrieval for graph in group]
    assert len(set(every)) == 200
    assert all(map(new_combinations, every))
    assert len(trials.pairs) == len(trials.objects) == 210
    for pair in trials.pairs:
        assert swap_colours(pair)
        assert any(is_held_out_colour(thing.noun, thing.colour) for thing in pair.things)
    assert all(graph.kind == "single" for graph in trials.objects)
    assert trials == Trials.make(210, seed=3) != Trials.make(210, seed=4)


class Oracle:
    """Knows the picture of every caption and the noun of every picture of its trials."""

    size = 16

    def __init__(self, trials: Trials, helpful: bool = True) -> None:
        self.helpful, self.known = helpful, dict[str, Tensor]()
        self.labels = [noun.singular for noun in nouns()], [noun.chinese for noun in nouns()]
        generator = torch.Generator().manual_seed(0)
        self.basis = F.normalize(torch.randn(2000, 256, generator=generator), dim=-1)
        self.pictures: dict[bytes, Tensor] = {}
        number = 0
        for graphs in (*trials.retrieval, trials.pairs):
            seen = retrieval._see(self.blind(), graphs)
            for place, picture in enumerate(seen):
                vector = self.basis[number]
                number += 1
                self.pictures[picture.numpy().tobytes()] = vector
                for language in ("en", "zh"):
                    self.known[retrieval._captions(graphs, language)[place]] = vector
        for graph, picture in zip(
            trials.objects, retrieval._see(self.blind(), trials.objects), strict=True
        ):
            at = self.labels[0].index(graph.things[0].noun)
            self.pictures[picture.numpy().tobytes()] = self.basis[1000 + at]

    def blind(self) -> Any:
        class Pixels:
            size = 16

            def encode_images(self, images: Tensor) -> Tensor:
                return images.flatten(1)

        return Pixels()

    def encode_images(self, images: Tensor) -> Tensor:
        sign = 1 if self.helpful else -1
        return torch.stack(
            [sign * self.pictures[each.numpy().tobytes()] for each in images.flatten(1)]
        )

    def encode_texts(self, texts: list[str]) -> Tensor:
        return torch.stack([self.known.get(text, self.basis[1999]) for text in texts])

    def label_vectors(self, labels: list[str]) -> Tensor:
        table = self.labels[0] if labels[0] in self.labels[0] else self.labels[1]
        return torch.stack([self.basis[1000 + table.index(label)] for label in labels])


def test_who_knows_everything_is_always_right_and_who_says_the_reverse_never() -> None:
    trials = Trials.make(6, seed=1)
    right, wrong = (
        clip_accuracy(Oracle(trials), trials),
        clip_accuracy(Oracle(trials, helpful=False), trials),
    )
    assert set(right) == {
        f"{kind}_{language}"
        for kind in ("retrieval", "twins", "objects")
        for language in ("english", "chinese")
    }
    assert set(right.values()) == {1.0}
    assert set(wrong.values()) == {0.0}


def test_a_random_clip_guesses() -> None:
    found = clip_accuracy(tiny_clip(), Trials.make(40))
    assert 0.2 < found["twins_english"] < 0.8
    assert found["objects_chinese"] < 0.2 and found["retrieval_english"] < 0.3
