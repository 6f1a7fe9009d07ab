"""What the scorer reads of true pictures: all of them, of either world."""

from pathlib import Path

import pytest
import torch

from benchmarks.ceiling import copies, read, report, scenes, things_alone
from limner.data.scenes.graph import Graph, Thing, hides
from limner.data.scenes.nouns import nouns
from limner.evaluate.scenes.detection import SceneDetector
from tests.tiny_model import tiny_pipeline


@pytest.fixture(autouse=True)
def font_found(emoji_font: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIMNER_FONT", str(emoji_font))


def test_true_pictures_of_the_first_world_are_read_rightly() -> None:
    graphs = scenes(3, 12, seed=1)
    found = report(graphs, read(graphs, SceneDetector(), 64))
    assert found["scenes"] == 12 and found["misread"] == []
    assert all(row["all"]["value"] == 1 for row in found["kinds"].values())


def test_mistakes_are_listed_with_what_was_seen() -> None:
    graphs = [Graph((Thing("cat"),), "snow"), Graph((Thing("cat", "blue"),), "snow")]
    others = [Graph((Thing("dog"),), "snow")] * 2
    shown = read(others, SceneDetector(), 64)
    assert report(graphs, shown)["misread"] == [["cat", "dog", 2]]
    assert set(report(graphs, shown)["kinds"]) == {"natural", "coloured"}


def test_every_thing_stands_alone_where_it_can_be_seen() -> None:
    graphs = things_alone(7, 2, seed=0)
    table = nouns(wide=True)
    assert len(graphs) == 2 * len(table) + 2 * sum(noun.painted for noun in table)
    assert not any(hides(graph) for graph in graphs)
    assert graphs == things_alone(7, 2, seed=0) != things_alone(7, 2, seed=1)


def test_copies_are_what_a_codec_gives_back() -> None:
    codec = tiny_pipeline().codec
    pictures = torch.rand(2, 3, 16, 16) * 2 - 1
    assert torch.equal(copies(codec, small=False)(pictures), codec.decode(codec.encode(pictures)))
