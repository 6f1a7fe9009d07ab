"""The best of many: an order by score, what is kept, what is dropped, and what is said of it."""

from pathlib import Path

import pytest
from PIL import Image

import limner
from limner.errors import UsageError
from limner.evaluate.metrics.agreement import clip_scores
from limner.finish.rank import check_best_of, keep_best, rank, with_tries
from limner.text.notes import Note
from limner.types import Picture, Request
from tests.tiny_clip import save_tiny_clip, tiny_clip
from tests.tiny_model import save_tiny_model

PROMPT = "a red apple"
OLD = Note("unseen", ("zebra",))


def pictures() -> list[Picture]:
    shades = [(value, 80, 255 - value) for value in (0, 60, 120, 180, 240)]
    return [
        Picture(Image.new("RGB", (16, 16), shade), PROMPT, 7 + number, "tiny", {"a": 1}, (OLD,))
        for number, shade in enumerate(shades)
    ]


def test_pictures_are_put_in_the_order_of_their_scores() -> None:
    clip, images = tiny_clip(), [picture.image for picture in pictures()]
    cosines = (100 * clip.compare(images, [PROMPT])[:, 0]).tolist()
    ranked = rank(clip, PROMPT, images)
    assert sorted(number for number, _ in ranked) == list(range(5))
    assert [score for _, score in ranked] == pytest.approx(sorted(cosines, reverse=True), abs=1e-4)
    assert all(score == pytest.approx(cosines[number], abs=1e-4) for number, score in ranked)


def test_a_score_is_that_of_an_evaluation() -> None:
    """`limner rank` and `limner eval` say one number of one picture and sentence."""
    clip, images = tiny_clip(), [picture.image for picture in pictures()]
    told = clip_scores(clip.see(images), clip.encode_texts([PROMPT]).expand(5, -1)).tolist()
    assert max(told) > 1
    for number, score in rank(clip, PROMPT, images):
        assert max(score, 0) == pytest.approx(told[number], abs=1e-4)


def test_equal_pictures_stay_in_their_order() -> None:
    images = [Image.new("RGB", (16, 16), "red")] * 3
    assert [number for number, _ in rank(tiny_clip(), PROMPT, images)] == [0, 1, 2]


def test_the_best_are_kept_and_the_others_named() -> None:
    kept, dropped = keep_best(tiny_clip(), pictures(), 2)
    scores = [each.settings["clip_score"] for each in (*kept, *dropped)]
    assert scores == sorted(scores, reverse=True) and len(set(scores)) == 5
    assert {each.seed for each in (*kept, *dropped)} == {7, 8, 9, 10, 11}
    seeds = ", ".join(str(each.seed) for each in dropped)
    assert kept[0].notes == kept[1].notes
    assert kept[0].notes[0] == OLD
    assert str(kept[0].notes[1]) == f"the best 2 of 5 by the CLIP unsaved; dropped seeds {seeds}"
    assert kept[0].settings["a"] == 1 and "clip_score" not in pictures()[0].settings


def test_what_a_model_reads_comes_first_and_the_clip_decides_between_equals() -> None:
    by_clip = [each.seed - 7 for each in keep_best(tiny_clip(), pictures(), 5)[0]]
    shown = [0.5, 1.0, 0.5, 1.0, 0.9]
    kept, _ = keep_best(tiny_clip(), pictures(), 5, shown)
    assert [each.settings["shown"] for each in kept] == [1.0, 1.0, 0.9, 0.5, 0.5]
    order = [each.seed - 7 for each in kept]
    assert order[:2] == [each for each in by_clip if shown[each] == 1.0]
    assert order[3:] == [each for each in by_clip if shown[each] == 0.5]
    assert "by what the model reads in them, then by the CLIP unsaved" in str(
        keep_best(tiny_clip(), pictures(), 2, shown)[0][0].notes[-1]
    )


def test_nothing_need_be_dropped() -> None:
    kept, dropped = keep_best(tiny_clip(), pictures(), 5)
    assert (len(kept), dropped) == (5, []) and str(kept[0].notes[-1]).endswith("none was dropped")


@pytest.mark.parametrize("best_of", [1, 0, -3, 1001, 2.0, True, "4"])
def test_fewer_tries_than_pictures_are_refused(best_of: int) -> None:
    with pytest.raises(UsageError, match="expected how many pictures to try, 2 to 1000"):
        check_best_of(best_of, 2)
    check_best_of(2, 2)


def test_without_a_prompt_none_is_the_best() -> None:
    edit = Request("", image=Image.new("RGB", (32, 32)), seed=1)
    with pytest.raises(UsageError, match="best_of is 4, but there is no prompt"):
        with_tries(edit, 4)


def test_draw_returns_the_best_of_what_it_would_have_drawn(tmp_path: Path) -> None:
    model, clip = save_tiny_model(tmp_path / "model"), save_tiny_clip(tmp_path / "clip")
    best = limner.draw(PROMPT, model=model, n=2, seed=3, best_of=5, clip=clip)
    every = limner.draw(PROMPT, model=model, n=5, seed=3)
    expected, _ = keep_best(limner.load(clip), every, 2)
    assert [each.seed for each in best] == [each.seed for each in expected]
    by_seed = {each.seed: each.image.tobytes() for each in every}
    assert all(each.image.tobytes() == by_seed[each.seed] for each in best)
    assert limner.draw(PROMPT, model=model, n=2, seed=3, best_of=5, clip=limner.load(clip)) == best
    with pytest.raises(UsageError, match="expected a name, a folder, or a CLIP"):
        limner.draw(PROMPT, model=model, best_of=5, clip=limner.load(model))
