"""Scenes are a pure function, and what is held out stays held out."""

import dataclasses
import hashlib
import random
import subprocess
import sys
from collections import Counter
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limner.data.scenes.backgrounds import PLACES_LATER, background
from limner.data.scenes.captions import caption
from limner.data.scenes.graph import (
    COLOURLESS,
    COUNTS,
    RELATIONS,
    RELATIONS_OF_THREE,
    SPLITS,
    Graph,
    Thing,
    hides,
    is_held_out_colour,
    is_held_out_count,
    is_held_out_relation,
    is_wide,
    new_combinations,
    sample_graph,
    scene_rng,
)
from limner.data.scenes.nouns import are_wide, nouns
from limner.data.scenes.scene import layout, paint, paste, render, scene
from limner.data.scenes.sprites import COLOURS
from limner.errors import UsageError
from limner.evaluate.scenes.prompts import kind_of

ROOT = Path(__file__).resolve().parents[3]
INDICES = st.integers(min_value=0, max_value=10**9)
DIGEST = """
import hashlib
from limner.data.scenes.scene import scene
digest = hashlib.sha256()
for index in range(12):
    made = scene("train", index, seed=3, font=FONT)
    told = repr((made.english, made.chinese, made.graph, made.boxes))
    digest.update(made.image.tobytes() + told.encode())
"""


def graphs(split: str, count: int, level: int = 4) -> list[Graph]:
    return [sample_graph(split, scene_rng(split, i, 0, level), level) for i in range(count)]


def test_two_processes_make_the_same_scenes(emoji_font: Path) -> None:
    code = f"FONT = {str(emoji_font)!r}\n{DIGEST}\nprint(digest.hexdigest())"
    answers = {
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(answers) == 1


def test_fifty_scenes_are_what_they_always_were(emoji_font: Path) -> None:
    """Models were trained on these very words and pixels; another font paints others."""
    words, pixels = hashlib.sha256(), hashlib.sha256()
    for index in range(50):
        split, size = SPLITS[index % 3], (64, 128, 32)[index % 3]
        made = scene(
            split, index, seed=index % 7, level=1 + index % 5, size=size,
            font=str(emoji_font),
        )  # fmt: skip
        said = (made.english, made.chinese, made.graph.to_json(), made.boxes)
        words.update(repr(said).encode())
        pixels.update(made.image.tobytes())
    assert words.hexdigest()[:16] == "013a2712f2a91af7"
    font = hashlib.sha256(emoji_font.read_bytes()).hexdigest()
    assert font[:16] != "e5899ed38b8ed83e" or pixels.hexdigest()[:16] == "4721e1e323f1fe88"


def test_the_order_of_calls_changes_nothing(emoji_font: Path) -> None:
    font = str(emoji_font)
    first = scene("train", 5, font=font)
    scene("held_out", 6, font=font)
    again = scene("train", 5, font=font)
    assert (first.english, first.chinese, first.graph) == (
        again.english,
        again.chinese,
        again.graph,
    )
    assert np.array_equal(first.image, again.image)


@settings(max_examples=60, deadline=None)
@given(INDICES, st.sampled_from(("train", "validation")), st.integers(1, 4), st.integers(0, 99))
def test_training_never_shows_a_new_combination(
    index: int, split: str, level: int, seed: int
) -> None:
    graph = sample_graph(split, scene_rng(split, index, seed, level), level)
    assert new_combinations(graph) == ()


@settings(max_examples=60, deadline=None)
@given(INDICES, st.integers(1, 4))
def test_held_out_always_shows_one(index: int, level: int) -> None:
    graph = sample_graph("held_out", scene_rng("held_out", index, 0, level), level)
    found = new_combinations(graph)
    assert found
    assert ("colour" in found) == any(is_held_out_colour(t.noun, t.colour) for t in graph.things)


def test_held_out_has_every_kind_of_new_combination() -> None:
    found = {name for graph in graphs("held_out", 400) for name in new_combinations(graph)}
    assert found == {"colour", "count", "relation"}


def test_the_splits_are_different_scenes() -> None:
    train, validation = graphs("train", 50), graphs("validation", 50)
    assert sum(a == b for a, b in zip(train, validation, strict=True)) < 5


def test_one_tenth_is_held_out() -> None:
    names = [noun.singular for noun in nouns()]
    natural = {noun.singular: noun.colour for noun in nouns()}
    colours = [
        is_held_out_colour(name, colour)
        for name in names
        for colour in COLOURS
        if natural[name] != colour
    ]
    counts = [is_held_out_count(name, count) for name in names for count in COUNTS]
    relations = [
        is_held_out_relation(a, r, b) for a in names[:60] for r in RELATIONS for b in names[:60]
    ]
    for held in (colours, counts, relations):
        assert 0.08 < np.mean(held) < 0.12


def test_what_is_natural_or_single_is_never_held_out() -> None:
    for noun in nouns():
        assert not is_held_out_colour(noun.singular, None)
        assert not is_held_out_colour(noun.singular, noun.colour)
        assert not is_held_out_count(noun.singular, 1)


def test_what_is_held_out_never_changes() -> None:
    """A new hash would show a trained model what was held out from it."""
    pairs = [
        f"{noun.singular}/{colour}"
        for noun in nouns()[:40]
        for colour in COLOURS
        if is_held_out_colour(noun.singular, colour)
    ]
    digest = hashlib.sha256("\n".join(pairs).encode()).hexdigest()
    assert (len(pairs), digest[:16]) == (44, "65daac1f6d206d6c")


@pytest.mark.parametrize("level", [6, 7, 8])
def test_levels_above_five_are_of_the_wide_world(level: int) -> None:
    assert is_wide(level) and not is_wide(level - 3)
    drawn, before = graphs("train", 800, level), graphs("train", 800, level - 3)
    things, known = ([thing for each in some for thing in each.things] for some in (drawn, before))
    assert are_wide(thing.noun for thing in things) and not are_wide(thing.noun for thing in known)
    assert {each.kind for each in before} == {"single", "count", "pair"}
    assert not {each.background for each in before} & set(PLACES_LATER)
    # 1. Every kind is met often enough to be learnt, and every new place.
    kinds = Counter(kind_of(each) for each in drawn)
    wanted = {"natural", "coloured", "count", "many", "pair", "beside", "front", "three", "empty"}
    assert set(kinds) == wanted and min(kinds.values()) >= 15
    assert {each.relation for each in drawn if each.kind == "three"} == set(RELATIONS_OF_THREE)
    assert {each.background for each in drawn} >= set(PLACES_LATER)
    styled = [[each.style for each in some if each.style != "plain"] for some in (drawn, before)]
    assert bool(styled[0]) == bool(styled[1]) == (level > 6)
    # 2. Flags, signs and faces keep their colours, and their silhouettes are all alike.
    own = [each for each in drawn if not all(thing.entry.painted for thing in each.things)]
    assert own and all(each.style not in COLOURLESS for each in own)
    assert all(thing.entry.painted or thing.colour is None for thing in things)
    # 3. Few things are hidden by a background of their colour, and then it is told.
    hidden = [each for each in drawn if hides(each)]
    assert 0 < len(hidden) < 0.2 * sum(map(hides, before))
    for graph in hidden:
        elsewhere = dataclasses.replace(graph, background="striped:purple")
        for language in ("en", "zh"):
            told, other = (caption(e, language, random.Random(3)) for e in (graph, elsewhere))
            assert told != other


def test_what_is_held_out_of_the_wide_world_is_never_shown() -> None:
    for graph in [each for level in (6, 7, 8) for each in graphs("train", 300, level)]:
        thing, *others = graph.things or [Thing("cat")]
        assert not is_held_out_count(thing.noun, thing.count)
        # However it is told, the first is drawn left of the second.
        told = "left" if graph.relation in ("beside", "row", "between") else graph.relation
        if told and others:
            assert not is_held_out_relation(thing.noun, told, others[0].noun)
    found = [new_combinations(each) for each in graphs("held_out", 300, 7)]
    assert all(found) and {name for each in found for name in each} == {
        "colour", "count", "relation",
    }  # fmt: skip


def test_more_of_a_thing_lie_in_rows() -> None:
    for count, rows in ((6, [3, 3]), (7, [2, 3, 2]), (8, [3, 2, 3]), (9, [3, 3, 3])):
        boxes = layout(Graph((Thing("cat", count=count),), "snow"), 64)
        assert list(Counter(box.top for box in boxes).values()) == rows
        assert all(box.side == 24 and max(box.left, box.top) + 24 <= 64 for box in boxes)
        for one, other in combinations(boxes, 2):  # edges of the squares alone are shared
            assert abs(one.left - other.left) >= 20 or abs(one.top - other.top) >= 20


@pytest.mark.parametrize("relation", RELATIONS_OF_THREE)
def test_three_things_stand_from_left_to_right(relation: str) -> None:
    graph = Graph((Thing("cat"), Thing("dog"), Thing("fox")), "snow", relation=relation)
    boxes = {box.thing: box for box in layout(graph, 64)}
    lefts = [boxes[number].left for number in range(3)]
    assert lefts == sorted(set(lefts))
    for one, other in combinations(boxes.values(), 2):
        assert abs(one.left - other.left) >= 32 or abs(one.top - other.top) >= 32


def test_what_is_in_front_ends_lower_and_is_painted_last(emoji_font: Path) -> None:
    pair = Graph((Thing("cat"), Thing("dog")), "snow", relation="front")
    behind, front = layout(pair, 64)
    assert (behind.thing, front.thing) == (1, 0)
    assert front.top + front.side > behind.top + behind.side
    assert front.left < behind.left + behind.side and front.top < behind.top + behind.side
    picture, alone = (
        render(each, 64, font=str(emoji_font))
        for each in (pair, Graph((Thing("cat"), Thing("cat")), "snow", relation="front"))
    )
    solid = slice(front.top + 14, front.top + 30), slice(front.left + 10, front.left + 26)
    assert np.array_equal(picture[solid], alone[solid])


def test_an_empty_place_is_the_place(emoji_font: Path) -> None:
    empty = Graph((), "beach at night")
    assert empty.kind == "empty" and layout(empty, 64) == () and not new_combinations(empty)
    picture = render(empty, 64, font=str(emoji_font))
    assert np.array_equal(picture, background("beach at night", 64))


@pytest.mark.parametrize("level", [1, 2, 3, 4])
def test_levels_add_counts_then_pairs_then_styles(level: int) -> None:
    drawn = graphs("train", 400, level)
    kinds = {graph.kind for graph in drawn}
    assert kinds == {1: {"single"}, 2: {"single", "count"}}.get(level, {"single", "count", "pair"})
    assert any(graph.style != "plain" for graph in drawn) == (level == 4)


@settings(max_examples=40, deadline=None)
@given(INDICES, st.sampled_from((32, 64, 128)), st.sampled_from(SPLITS))
def test_boxes_are_inside_and_tell_every_object(index: int, size: int, split: str) -> None:
    graph = sample_graph(split, scene_rng(split, index))
    boxes = layout(graph, size)
    for number, thing in enumerate(graph.things):
        assert sum(box.thing == number for box in boxes) == thing.count
    for box in boxes:
        assert 0 <= box.left <= box.left + box.side <= size
        assert 0 <= box.top <= box.top + box.side <= size
    for one, other in pairwise(boxes):
        apart = (
            one.left + one.side <= other.left
            or other.left + other.side <= one.left
            or one.top + one.side <= other.top
            or other.top + other.side <= one.top
        )
        assert apart or graph.things[0].count == 5  # five are crowded


@pytest.mark.parametrize("relation", RELATIONS)
def test_relations_stand_as_they_say(relation: str) -> None:
    first, second = layout(Graph((Thing("cat"), Thing("dog")), "snow", relation=relation), 64)
    assert (first.thing, second.thing) == (0, 1)
    if relation == "left":
        assert first.left + first.side <= second.left and first.top == second.top
    else:
        assert first.top + first.side <= second.top and first.left == second.left


@pytest.mark.parametrize("size", [32, 64, 128])
def test_pictures_differ_from_their_ground_in_their_boxes_alone(
    size: int, emoji_font: Path
) -> None:
    for index in range(12):
        made = scene("train", index, size=size, font=str(emoji_font))
        assert made.image.shape == (size, size, 3) and made.image.dtype == np.uint8
        assert made.boxes == layout(made.graph, size)
        assert made.english and made.chinese
        covered = np.zeros((size, size), bool)
        for box in made.boxes:
            rows, columns = slice(box.top, box.top + box.side), slice(box.left, box.left + box.side)
            covered[rows, columns] = True
        other = render(swapped(made.graph), size, font=str(emoji_font))
        changed = (made.image != other).any(-1)
        assert not changed[~covered].any()
        assert changed[covered].mean() > 0.1


def swapped(graph: Graph) -> Graph:
    """Return the graph with every object exchanged for another one."""
    other = {"cat": "sun"}
    things = [dataclasses.replace(t, noun=other.get(t.noun, "cat")) for t in graph.things]
    return dataclasses.replace(graph, things=tuple(things))


def test_a_shift_moves_the_objects(emoji_font: Path) -> None:
    graph = Graph((Thing("sun"),), "plain:white")
    still = render(graph, 64, font=str(emoji_font))
    moved = render(graph, 64, font=str(emoji_font), shift=(2, -1))
    assert np.array_equal(np.roll(still, (-1, 2), (0, 1)), moved)


def test_the_natural_colour_is_not_painted_over() -> None:
    natural = next(noun for noun in nouns() if noun.colour in COLOURS)
    assert paint(Thing(natural.singular, natural.colour)) is None
    assert paint(Thing(natural.singular)) is None
    other = next(colour for colour in COLOURS if colour != natural.colour)
    assert paint(Thing(natural.singular, other)) == other


def test_paste_is_cut_at_the_edges_and_blends() -> None:
    picture = np.full((4, 4, 3), 200, np.uint16)
    drawing = np.zeros((3, 3, 4), np.uint8)
    drawing[...] = (50, 0, 0, 127)
    paste(picture, drawing, -1, 2)
    assert (picture[2:, :2] == (50 + 200 * 128 // 255, 200 * 128 // 255, 200 * 128 // 255)).all()
    assert (picture[:2] == 200).all() and (picture[:, 2:] == 200).all()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"split": "test"}, "unknown split 'test'; choose one of train, validation, held_out"),
        ({"level": 0}, "level 0 is not one of 1 to 8"),
        ({"level": 9}, "level 9 is not one of 1 to 8"),
        ({"size": 15}, "size 15 is out of range; give 16 to 512 pixels"),
        ({"size": 513}, "size 513 is out of range"),
    ],
)
def test_wrong_arguments_are_refused(arguments: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        scene(**{"split": "train", "index": 0, **arguments})  # type: ignore[arg-type]
