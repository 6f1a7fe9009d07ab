"""The memorisation audit on a planted set, its bound and its cliques."""

import io
from itertools import count as count_up

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance, ImageOps

from limner.data.scenes.graph import sample_graph, scene_rng
from limner.data.scenes.nouns import nouns
from limner.data.scenes.scene import render
from limner.evaluate.audits.memorisation import (
    Album,
    Audit,
    audit_memorisation,
    upper_bound,
)
from limner.evaluate.audits.report import say_bound


def drawing(seed: int) -> Image.Image:
    """Return a smooth random picture, as unlike others as photographs are."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (6, 6, 3)).astype(np.uint8))
    return small.resize((72, 72), Image.Resampling.BICUBIC)


def album(images: list[Image.Image]) -> Album:
    found = Album()
    for place, each in enumerate(images):
        found.add(f"{place}.png", each)
    return found


def jpeg(image: Image.Image) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=60)
    return Image.open(buffer).convert("RGB")


CHANGES = (
    lambda image: image,
    jpeg,
    lambda image: image.resize((48, 48)),
    ImageOps.mirror,
    lambda image: ImageEnhance.Brightness(image).enhance(0.85),
)


@pytest.fixture(scope="module")
def planted() -> tuple[Audit, dict[int, int]]:
    """Audit 500 drawings of which 20 are training pictures, changed a little."""
    train = [drawing(each) for each in range(300)]
    drawn = [drawing(1000 + each) for each in range(500)]
    places = {25 * each + 3: 15 * each for each in range(20)}
    for order, (place, source) in enumerate(places.items()):
        drawn[place] = CHANGES[order % len(CHANGES)](train[source])
    return audit_memorisation(album(drawn), album(train)), places


def test_all_of_20_planted_copies_are_found_and_none_of_480_others(
    planted: tuple[Audit, dict[int, int]],
) -> None:
    found, places = planted
    assert {each.drawn: each.trained for each in found.copies} == places
    assert [each.mirrored for each in found.copies] == [place % 5 == 3 for place in range(20)]
    assert {each.how for each in found.copies[::5]} == {"pixels"}
    assert (found.drawn, found.trained) == (500, 300)
    assert 0.04 < found.bound < 0.06


def test_a_bound_that_rules_out_nothing_is_said_in_words() -> None:
    same = [drawing(7), drawing(8)]
    for drawn, train in ((same, same), (same[:1], same[1:])):
        said = say_bound(audit_memorisation(album(drawn), album(train)))
        assert "rules out no share" in said and "%" not in said
    few = say_bound(
        audit_memorisation(album([drawing(each) for each in range(10, 22)]), album(same))
    )
    assert "at most 22 % of drawings" in few


def test_a_copy_is_found_beside_the_same_form_in_other_colours() -> None:
    grey = drawing(7).convert("L")
    red, green = (ImageOps.colorize(grey, "black", colour) for colour in ("red", "green"))
    found = audit_memorisation(album([jpeg(red)]), album([green, drawing(8), red]))
    assert [(each.drawn, each.trained) for each in found.copies] == [(0, 2)]


def scenes(split: str, things: set[str], count: int) -> list[Image.Image]:
    """Return the first scenes of a split that show none but these nouns."""
    found = []
    for index in count_up():
        graph = sample_graph(split, scene_rng(split, index, 1, 3), 3)
        if things.issuperset(thing.noun for thing in graph.things):
            found.append(Image.fromarray(render(graph, 64)))
        if len(found) == count:
            break
    return found


@pytest.mark.slow  # a thousand scenes: ten seconds
@pytest.mark.usefixtures("emoji_font")
def test_of_scenes_with_other_things_none_is_a_copy_and_planted_ones_are() -> None:
    """The grounds and places are those of the training pictures; the things never are.

    Scenes of the same things would not do: a split may hold the very pixels of another.
    """
    every = [noun.singular for noun in nouns()]
    train = scenes("train", set(every[::2]), 480)
    drawn = scenes("validation", set(every[1::2]), 480)
    places = {25 * each + 3: 20 * each for each in range(20)}
    for order, (place, source) in enumerate(places.items()):
        drawn.insert(place, CHANGES[order % len(CHANGES)](train[source]))
    found = {
        each.drawn: each.trained for each in audit_memorisation(album(drawn), album(train)).copies
    }
    assert found == places


def test_the_nearest_of_a_copy_is_its_source(planted: tuple[Audit, dict[int, int]]) -> None:
    found, places = planted
    plain = [place for order, place in enumerate(places) if order % 5 in (0, 1, 2)]
    assert [int(found.nearest[place]) for place in plain] == [places[place] for place in plain]
    others = np.delete(found.distances, list(places))
    assert float(found.distances[plain].max()) < 0.05 < float(others.min())
    assert found.distances[next(iter(places))] == pytest.approx(0, abs=1e-3)


def test_what_is_close_but_no_copy_is_listed_apart() -> None:
    flat = [Image.new("RGB", (64, 64), (grey, grey, grey)) for grey in (100, 110)]
    found = audit_memorisation(album(flat[:1]), album(flat[1:]))
    assert found.copies == [] and found.close == [0]
    assert float(found.distances[0]) == pytest.approx(10 / 255, abs=1e-3)


def test_samples_of_a_prompt_that_are_all_alike_are_a_clique() -> None:
    same, train = drawing(5), [drawing(0)]
    noise = np.random.default_rng(0)
    near = [
        Image.fromarray(np.clip(np.asarray(same) + noise.normal(0, 4, (72, 72, 3)), 0, 255)
                        .astype(np.uint8))
        for _ in range(12)
    ]  # fmt: skip
    drawn = [drawing(50 + each) for each in range(12)] + near
    pictures, trained = album(drawn), album(train)
    prompts = ["a"] * 12 + ["b"] * 12
    assert audit_memorisation(pictures, trained, prompts).cliques == [list(range(12, 24))]
    assert audit_memorisation(pictures, trained, ["a"] * 15 + ["b"] * 9).cliques == []
    assert audit_memorisation(pictures, trained).cliques == []


def test_the_bound_where_none_was_found_is_three_in_n() -> None:
    for tried in (30, 500, 20_000):
        assert upper_bound(0, tried) == pytest.approx(1 - 0.05 ** (1 / tried), rel=1e-9)
        assert upper_bound(0, tried) == pytest.approx(3 / tried, rel=0.05)
    assert upper_bound(7, 7) == 1
    assert upper_bound(20, 500) == pytest.approx(0.0576, abs=5e-4)  # scipy.stats.beta.ppf


@settings(deadline=None)  # a busy machine takes its time
@given(st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_a_bound_lies_above_the_share(case: tuple[int, int]) -> None:
    found, tried = case
    bound = upper_bound(found, tried)
    assert found / tried <= bound <= 1
    assert found == 0 or upper_bound(found - 1, tried) < bound + 1e-12


@pytest.mark.parametrize(("colour", "copies"), [("red", 1), ("green", 0), ("gray", 0)])
def test_one_form_in_another_colour_is_no_copy(colour: str, copies: int) -> None:
    grey = drawing(3).convert("L")
    shown = [ImageOps.colorize(grey, "black", each) for each in ("red", colour)]
    found = audit_memorisation(album(shown[:1]), album([jpeg(shown[1]), drawing(4)]))
    assert len(found.copies) == copies


def test_a_grey_copy_is_a_copy() -> None:
    found = audit_memorisation(
        album([drawing(3).convert("L").convert("RGB")]), album([drawing(4), drawing(3)])
    )
    assert [(each.drawn, each.trained) for each in found.copies] == [(0, 1)]
