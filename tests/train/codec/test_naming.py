"""What stands in each cell: labels from a scene's graph, the head's answers and its loss."""

from pathlib import Path

import pytest
import torch

from limner.data.batches.batches import PictureBatches
from limner.data.scenes.backgrounds import BACKGROUNDS
from limner.data.scenes.graph import Graph, Thing
from limner.data.scenes.nouns import noun_index, nouns
from limner.data.scenes.sprites import STYLES
from limner.train.codec.data import NamedScenes
from limner.train.codec.naming import (
    COLOUR_NAMES,
    UNASKED,
    CellNames,
    answers_of,
    cell_labels,
    named_rightly,
    naming_loss,
)

FIRST, SECOND = nouns()[3], nouns()[7]
ANSWERS = answers_of(4)
STILL = (0.0, 0.0)


def number_of(colour: str) -> int:
    return 1 + COLOUR_NAMES.index(colour)


def test_a_pair_stands_in_its_cells() -> None:
    things = (Thing(FIRST.singular, "red"), Thing(SECOND.singular, "blue"))
    graph = Graph(things, "plain:green", relation="left")
    ((noun, colour, style, ground),) = cell_labels([(graph, STILL)], 8)
    assert (noun[2:6, :4] == 4).all() and (noun[2:6, 4:] == 8).all()
    assert (noun[:2] == 0).all() and (noun[6:] == 0).all()
    assert (colour[2:6, :4] == number_of("red")).all() and (colour[:2] == 0).all()
    assert (colour[2:6, 4:] == number_of("blue")).all()
    assert (style[2:6] == 1).all() and (style[:2] == 0).all()
    assert (ground[2:6] == UNASKED).all()
    assert (ground[:2] == BACKGROUNDS.index("plain:green")).all()


def test_the_last_of_five_covers_the_others() -> None:
    graph = Graph((Thing(FIRST.singular, count=5),), "night")
    noun = cell_labels([(graph, STILL)], 16)[0, 0]
    corner = noun[:5, :5] == 4  # cells of 4 pixels, whose middles are 2, 6, ... of 24
    assert corner.all() and noun[5:11, 5:11].bool().all() and noun[0, 6:10].eq(0).all()


def test_an_object_that_was_moved_stands_elsewhere() -> None:
    graph = Graph((Thing(FIRST.singular, size="small"),), "plain:red")
    still, moved = cell_labels([(graph, STILL), (graph, (0.125, -0.25))], 8)[:, 0]
    assert torch.equal(moved, still.roll((-2, 1), (0, 1)))


def test_a_silhouette_is_not_asked_for_its_colour() -> None:
    graph = Graph((Thing(FIRST.singular),), "plain:red", style="silhouette")
    _, colour, style, _ = cell_labels([(graph, STILL)], 8)[0]
    assert (colour[style > 0] == UNASKED).all()
    assert set(style.unique().tolist()) == {0, 1 + STYLES.index("silhouette")}


def test_the_loss_falls_to_nothing_for_the_right_answers() -> None:
    things = (Thing(FIRST.singular, "red"), Thing(SECOND.singular, "blue"))
    labels = cell_labels([(Graph(things, "night", relation="above"), STILL)], 8)
    logits = [torch.zeros(1, count, 8, 8) for count in ANSWERS]
    wanted = torch.tensor(ANSWERS).float().log().mean()
    torch.testing.assert_close(naming_loss(logits, labels), wanted)
    for number, each in enumerate(logits):
        each.scatter_(1, labels[:, number : number + 1].clamp_min(0), 50.0)
    assert naming_loss(logits, labels) < 1e-6
    assert named_rightly(logits, labels) == [1.0, 1.0, 1.0]
    logits[0][:, 4] = 99.0
    assert named_rightly(logits, labels) == [0.5, 1.0, 1.0]


def test_what_no_cell_asks_does_not_count() -> None:
    graph = Graph((Thing(FIRST.singular, size="big"),), "night", style="silhouette")
    labels = cell_labels([(graph, STILL)], 8)
    logits = [torch.zeros(1, count, 8, 8) for count in ANSWERS]
    wanted = torch.tensor([ANSWERS[0], ANSWERS[2]]).float().log().mean()
    torch.testing.assert_close(naming_loss(logits, labels), wanted)


def test_the_head_names_a_cell_with_its_neighbours() -> None:
    torch.manual_seed(0)
    head, z = CellNames(6, ANSWERS), torch.randn(1, 6, 8, 8)
    logits = head(z)
    assert [tuple(each.shape) for each in logits] == [(1, count, 8, 8) for count in ANSWERS]
    z[..., 0, 0] += 1
    changed = (head(z)[0] - logits[0]).abs().sum(1)[0] > 1e-6
    assert changed.nonzero().tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]


def test_named_scenes_are_those_of_picture_batches(
    emoji_font: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIMNER_FONT", str(emoji_font))
    images, labels = NamedScenes(3, 8, size=32, seed=1, level=4, jitter=2)[2]
    assert torch.equal(images, PictureBatches(3, size=32, seed=1, level=4, jitter=2)[2])
    assert labels.shape == (3, 4, 8, 8) and labels.dtype == torch.int64
    assert (labels[:, 0] > 0).flatten(1).any(1).all()


def test_scenes_of_the_wide_world_are_labelled() -> None:
    front = Graph((Thing("cat"), Thing("dog")), "beach at night", relation="front")
    empty = Graph((), "downtown")
    labels = cell_labels([(front, (0.0, 0.0)), (empty, (0.0, 0.0))], 8)
    cat, dog = (1 + noun_index()[each] for each in ("cat", "dog"))
    assert labels[0, 0, 5, 3] == cat and labels[0, 0, 2, 4] == dog
    assert labels[0, 0, 4, 4] == cat  # where both are, what is in front
    assert labels[1, :3].eq(0).all()
    assert labels[:, 3, 0, 0].tolist() == [answers_of(7)[3] - 9, answers_of(7)[3] - 4]
    assert answers_of(7)[3] == answers_of(4)[3] + 10 == 53
