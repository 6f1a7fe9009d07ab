"""The paired bootstrap: it finds what is there, and seldom what is not."""

import numpy as np
import pytest

from limner.errors import UsageError
from limner.evaluate.prompts.comparing import (
    LEAST,
    Comparison,
    Floats,
    compare_scores,
    render_comparison,
)
from tests.test_html import check

KINDS = ["single", "pair"]


def scores(seed: int, gain: float = 0.0, count: int = 200) -> tuple[Floats, list[str]]:
    """Return shares of right answers of a stub: prompts differ, and drawings by chance."""
    easy = np.random.default_rng(0).uniform(0.2, 0.9, count)
    rng = np.random.default_rng(seed + 1)
    return rng.binomial(4, np.clip(easy + gain, 0, 1)) / 4, [KINDS[i % 2] for i in range(count)]


def test_two_copies_of_a_model_do_not_differ_in_95_of_100_seeds() -> None:
    wrong = of_kinds = 0
    for seed in range(100):  # chooses drawings and resamples, as that of the command does
        (a, kinds), (b, _) = scores(2 * seed, count=60), scores(2 * seed + 1, count=60)
        assert (a != b).mean() > 0.3
        found = compare_scores(a, b, kinds, "x", seed=seed)
        wrong += found.overall.verdict != "none"
        of_kinds += any(each.verdict != "none" for each in found.kinds)
    assert wrong <= 5 and of_kinds <= 10


def test_other_resamples_say_the_same_of_the_same_pictures() -> None:
    (a, _), (b, _) = scores(1, count=60), scores(2, count=60)
    found = [compare_scores(a, b, ["x"] * 60, "x", seed=seed).overall for seed in range(100)]
    assert sum(each.verdict == "none" for each in found) >= 95
    assert len({each.estimate.low for each in found}) > 1


@pytest.mark.parametrize(("gain", "better"), [(0.15, "B"), (-0.15, "A")])
def test_a_better_model_is_named_with_how_much(gain: float, better: str) -> None:
    (a, kinds), (b, _) = scores(1), scores(2, gain)
    found = compare_scores(a, b, kinds, "x")
    assert found.overall.verdict == better and {each.verdict for each in found.kinds} == {better}
    assert found.overall.estimate.value == pytest.approx((b - a).mean())
    names = ("new", "old") if better == "B" else ("old", "new")
    assert found.sentences("old", "new")[0].startswith(
        f"{names[0]} is better than {names[1]} by 0.1"
    )


def test_a_gain_on_one_kind_is_told_of_that_kind() -> None:
    (a, kinds), (b, _) = scores(1), scores(2)
    b = b + np.where(np.array(kinds) == "pair", 0.3, 0)
    found = compare_scores(a, b, kinds, "x")
    assert [(each.kind, each.verdict) for each in found.kinds] == [
        ("single", "none"),
        ("pair", "B"),
    ]
    said = found.sentences("A", "B")
    assert said[1].startswith("on single: no difference shown") and said[2].startswith(
        "on pair: B is"
    )


def test_pairing_shows_what_two_sets_alone_would_not() -> None:
    a, kinds = scores(1)
    found = compare_scores(a, a + 0.02, kinds, "x")
    assert found.overall.verdict == "B"
    assert found.overall.estimate.low == pytest.approx(0.02)


def test_a_kind_of_few_prompts_has_no_verdict() -> None:
    a, _ = scores(1)
    found = compare_scores(a, a + 1, ["rare"] * (LEAST - 1) + ["common"] * (200 - LEAST + 1), "x")
    assert [each.verdict for each in found.kinds] == ["none", "B"]
    assert "too few prompts, 9" in found.sentences("A", "B")[1]


def test_equal_scores_on_every_prompt_leave_no_interval() -> None:
    a, kinds = scores(1)
    found = compare_scores(a, a, kinds, "x")
    said = found.sentences("A", "B")[0]
    assert said == "the same score on each of 200 prompts, so no interval"
    assert found.overall.verdict == "none"


def test_a_kind_of_one_prompt_has_no_infinite_ends() -> None:
    a, _ = scores(1)
    text = page_of(compare_scores(a, a + 1, ["rare"] + ["common"] * 199, "x"))
    assert "no interval: 1 is too few" in text and "-inf" not in text


def page_of(found: Comparison) -> str:
    rows = [("model", "<m>"), ("hardware", "h")]
    return render_comparison(found, rows, rows, "A and B")


def test_the_page_says_it_in_words() -> None:
    (a, kinds), (b, _) = scores(1), scores(2)
    text = page_of(compare_scores(a, b, kinds, "share right"))
    check(text)
    assert "no difference shown" in text and "&lt;m&gt;" in text and "share right" in text
    one = compare_scores(a, b, ["all"] * 200, "x")
    assert one.kinds == [] and set(one.overall.to_json()) == {
        "kind",
        "a",
        "b",
        "difference",
        "better",
    }
    check(page_of(one))


def test_scores_of_other_prompts_are_refused() -> None:
    with pytest.raises(UsageError, match="for the same prompts"):
        compare_scores([1.0] * 20, [1.0] * 19, ["x"] * 20, "x")
    with pytest.raises(UsageError, match="at least 10"):
        compare_scores([1.0], [1.0], ["x"], "x")
