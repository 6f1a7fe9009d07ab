"""Batches of pictures and captions: a pure function of the step, languages in turn."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from limner.data.batches.batches import graph_at
from limner.data.batches.pairs import PairBatches, PairSettings
from limner.data.scenes.graph import Graph
from limner.data.scenes.scene import render
from limner.text.tokenizer import Tokenizer
from tests.tiny_model import SENTENCES

TOKENIZER = Tokenizer.train(SENTENCES, 400)


@pytest.fixture(autouse=True)
def font_found(emoji_font: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIMNER_FONT", str(emoji_font))


def batches(**changes: float) -> PairBatches:
    settings = PairSettings(16, 40, **changes)  # type: ignore[arg-type]
    return PairBatches(6, TOKENIZER, settings)


def test_a_batch_is_a_pure_function_of_its_step() -> None:
    first, again, other = batches()[3], batches()[3], batches()[4]
    assert all(torch.equal(a, b) for a, b in zip(first[:2], again[:2], strict=True))
    assert not torch.equal(first[0], other[0])
    pictures, captions, graphs = first
    assert graphs == [
        replace(graph_at("train", index), background=each.background)
        for index, each in enumerate(graphs, 18)
    ]
    assert pictures.shape == (6, 16, 16, 3) and pictures.dtype == torch.uint8
    assert captions.shape[:2] == (2, 6) and captions.shape[2] <= 40
    assert bool((captions[..., 0] != 0).any()), "cut to the longest caption"


@pytest.mark.parametrize("count", [0, 1, 3])
def test_negatives_stand_behind_the_true_captions(count: int) -> None:
    captions = batches(hard_negatives=count)[0][1]
    plain = batches(hard_negatives=0)[0][1]
    assert len(captions) == 1 + count
    longest = plain.shape[-1]
    assert torch.equal(captions[0, :, -longest:][:1], plain[0][:1])
    assert not any(torch.equal(captions[0], wrong) for wrong in captions[1:])


def test_languages_come_in_turn() -> None:
    texts = [TOKENIZER.decode(row.tolist()) for row in batches()[0][1][0]]
    chinese = [any("\u4e00" <= character <= "\u9fff" for character in text) for text in texts]
    assert chinese == [False, True] * 3


@pytest.mark.parametrize(
    ("backgrounds", "alike"), [(1, [6]), (2, [3, 3]), (4, [2, 2, 2]), (0, [1] * 6)]
)
def test_a_batch_stands_on_so_many_backgrounds(
    backgrounds: int, alike: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[str] = []

    def watch(graph: Graph, size: int, font: str) -> object:
        drawn.append(graph.background)
        return render(graph, size, font=font)

    monkeypatch.setattr("limner.data.batches.pairs.render", watch)
    batches(backgrounds=backgrounds)[0]
    groups, first = [], 0
    for size in alike:
        groups.append(set(drawn[first : first + size]))
        first += size
    assert first == len(drawn) and all(len(group) == 1 for group in groups)
    assert len(set.union(*groups)) > 1 or backgrounds == 1


def test_a_hard_negative_is_told_in_the_words_of_its_caption() -> None:
    settings = PairSettings(16, 200, level=5)
    captions = PairBatches(60, TOKENIZER, settings)[0].captions
    right, wrong = ([TOKENIZER.decode(row.tolist()) for row in rows] for rows in captions)
    exchanged = [sorted(a) == sorted(b) for a, b in zip(right, wrong, strict=True)]
    assert all(a != b for a, b in zip(right, wrong, strict=True))
    assert sum(exchanged) >= 8, "things or colours have changed places, and nothing else"


def test_with_twins_every_second_scene_is_the_one_before_with_one_thing_changed() -> None:
    found = PairBatches(6, TOKENIZER, PairSettings(16, 200, hard_negatives=0, twins=True))[3]
    texts = [TOKENIZER.decode(row.tolist()) for row in found.captions[0]]
    for first in range(0, 6, 2):
        one, other = found.graphs[first : first + 2]
        assert one != other and one.background == other.background
        assert not torch.equal(found.pictures[first], found.pictures[first + 1])
        chinese = [any("\u4e00" <= letter <= "\u9fff" for letter in t) for t in texts[first:][:2]]
        assert texts[first] != texts[first + 1] and chinese[0] == chinese[1]
