"""The prompts of the score: a fixed mixture, backgrounds told, held-out combinations."""

import random
from collections import Counter
from dataclasses import replace

import pytest

from limner.data.scenes.captions import caption
from limner.data.scenes.graph import new_combinations
from limner.errors import UsageError
from limner.evaluate.scenes.prompts import collect_prompts, kind_of, shuffle


def test_the_mixture_is_fixed() -> None:
    prompts = collect_prompts("validation", 100)
    assert Counter(each.graph.kind for each in prompts) == {"single": 60, "count": 20, "pair": 20}
    singles = [each.graph.things[0] for each in prompts if each.graph.kind == "single"]
    assert sum(thing.colour is not None for thing in singles) == 30
    assert all(each.graph.style == "plain" for each in prompts)


def test_prompts_follow_from_their_seed() -> None:
    assert collect_prompts("validation", 20, 3) == collect_prompts("validation", 20, 3)
    assert collect_prompts("validation", 20, 3) != collect_prompts("validation", 20, 4)


def test_seen_prompts_hold_no_new_combination() -> None:
    assert not any(new_combinations(each.graph) for each in collect_prompts("validation", 100))


def test_held_out_prompts_hold_the_one_that_is_judged() -> None:
    wanted = {"single": "colour", "count": "count", "pair": "relation"}
    for prompt in collect_prompts("held_out", 60):
        assert wanted[prompt.graph.kind] in new_combinations(prompt.graph)


def test_captions_tell_the_background() -> None:
    """A caption that tells it can't also be a caption of the scene on another background."""
    prompts = collect_prompts("validation", 30)
    for prompt in prompts:
        other = "night" if prompt.graph.background != "night" else "plain:red"
        moved = replace(prompt.graph, background=other)
        for language, text in (("en", prompt.english), ("zh", prompt.chinese)):
            captions = {caption(moved, language, random.Random(seed)) for seed in range(200)}
            assert text not in captions


def test_shuffling_keeps_kinds_and_moves_every_prompt() -> None:
    prompts = collect_prompts("validation", 50)
    moved = shuffle(prompts)
    assert sorted(map(repr, moved)) == sorted(map(repr, prompts))
    for before, after in zip(prompts, moved, strict=True):
        assert after is not before
        assert after.graph.kind == before.graph.kind


@pytest.mark.parametrize("count", [-1, 0, 9, 10_001])
def test_a_count_out_of_range_is_refused(count: int) -> None:
    with pytest.raises(UsageError, match="10 to 10000"):
        collect_prompts("validation", count)


def test_the_mixture_of_the_wide_world_has_its_kinds() -> None:
    wanted = {"natural": 24, "coloured": 24, "count": 10, "many": 10, "pair": 8, "beside": 8}
    wanted |= {"front": 6, "three": 6, "empty": 4}
    seen = collect_prompts("validation", 100, wide=True)
    assert Counter(kind_of(each.graph) for each in seen) == wanted
    assert not any(new_combinations(each.graph) for each in seen)
    held_out = collect_prompts("held_out", 50, wide=True)
    kinds = Counter(kind_of(each.graph) for each in held_out)
    assert "empty" not in kinds and min(kinds["many"], kinds["front"], kinds["three"]) >= 3
    new = {"coloured": "colour", "count": "count", "many": "count"}
    for prompt in held_out:
        assert new.get(kind_of(prompt.graph), "relation") in new_combinations(prompt.graph)
