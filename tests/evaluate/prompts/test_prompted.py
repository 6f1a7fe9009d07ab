"""Pictures by prompts, measured: seeds, the best of several, figures and their names."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from limner.errors import UsageError
from limner.evaluate.drawing import seeds_of
from limner.evaluate.metrics.networks import clip_network
from limner.evaluate.prompts.prompt_files import PromptItem
from limner.evaluate.prompts.prompted import Measurement, draw_prompts, measure
from tests.tiny_clip import tiny_clip

ASKED = [
    PromptItem("a red apple", "fruit"),
    PromptItem("night sky", "sky"),
    PromptItem("three apples", "fruit"),
]


def draw(prompts: Sequence[str], seeds: Sequence[int]) -> Tensor:
    """Draw noise that a seed alone decides."""
    return torch.stack(
        [torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(each)) * 2 - 1
         for each in seeds]
    )  # fmt: skip


def test_no_two_pictures_share_a_seed() -> None:
    seeds = [each for seed in (0, 1) for row in seeds_of(5, seed, 3) for each in row]
    assert len(set(seeds)) == 30


def test_the_best_of_several_is_kept() -> None:
    clip = tiny_clip()
    one = draw_prompts(draw, ASKED * 13, best_of=1, clip=clip)
    best = draw_prompts(draw, ASKED * 13, best_of=3, clip=clip)
    assert [each.asked for each in best] == ASKED * 13
    for first, chosen, seeds in zip(one, best, seeds_of(39, 0, 3), strict=True):
        assert first.score is not None and chosen.score is not None
        assert chosen.score >= first.score and chosen.seed in seeds and first.seed == seeds[0]
    assert any(each.seed % 1000 for each in best)


def test_without_a_clip_there_is_no_score() -> None:
    shown = draw_prompts(draw, ASKED)
    assert [each.score for each in shown] == [None] * 3
    assert measure(shown) == ([], {})
    assert Measurement(shown, [], {}).by_score() == []


def test_figures_are_named_by_their_network_and_hold_their_value() -> None:
    clip = tiny_clip()
    network = clip_network(clip, "limner-clip")
    asked = [PromptItem(f"{place} red apples", "fruit") for place in range(12)]
    shown = draw_prompts(draw, asked, clip=clip)
    real = network.features([each.image for each in draw_prompts(draw, asked, seed=1)])
    texts = clip.encode_texts([each.text for each in asked])
    figures, kinds = measure(shown, network=network, clip=network, texts=texts, reference=real)
    names = [each.name.partition("(")[0] for each in figures]
    assert names == ["CLIP score", "R-precision", "Vendi score", "FID", "KID", "precision",
                     "recall", "coverage", "density"]  # fmt: skip
    for each in figures:
        assert each.name.endswith(f"(limner-clip {network.sha256[:8]})")
        estimate = each.estimate
        assert estimate.low <= estimate.value <= estimate.high and estimate.n == 12
    shares = {each.name.partition("(")[0]: each.estimate for each in figures[5:8] + figures[1:2]}
    for share in shares.values():  # of 12 pictures nothing is certain
        assert share.low >= 0 and share.high <= 1 and share.high - share.low > 0.2
    mean = sum(max(0, each.score or 0) for each in shown) / 12
    assert figures[0].estimate.value == pytest.approx(mean, rel=1e-5)
    assert kinds["fruit"].value == pytest.approx(mean, rel=1e-5)
    assert set(figures[3].to_json()) == {"name", "value", "low", "high", "n", "better"}


def test_sentences_that_are_all_found_are_not_certain() -> None:
    network = clip_network(tiny_clip())
    shown = draw_prompts(draw, [PromptItem(f"{place} red apples") for place in range(20)])
    texts = network.features([each.image for each in shown])  # as if a CLIP never erred
    found = {each.name.partition("(")[0]: each.estimate
             for each in measure(shown, clip=network, texts=texts)[0]}  # fmt: skip
    right = found["R-precision"]
    assert (right.value, right.high) == (1, 1)
    assert right.low == pytest.approx(0.8389, abs=5e-5)


def test_two_prompts_are_too_few() -> None:
    network = clip_network(tiny_clip())
    shown = draw_prompts(draw, ASKED[:2])
    with pytest.raises(UsageError, match="2 are too few prompts or pictures"):
        measure(shown, network=network)


def test_a_kernel_distance_of_few_has_no_interval() -> None:
    network = clip_network(tiny_clip())
    shown = draw_prompts(draw, ASKED)
    real = network.features([each.image for each in draw_prompts(draw, ASKED, seed=1)])
    found = {each.name.partition("(")[0]: each.estimate
             for each in measure(shown, network=network, reference=real)[0]}  # fmt: skip
    assert found["KID"].interval() == "no interval: 3 is too few"
    assert found["FID"].low < found["FID"].value < found["FID"].high


def test_pictures_like_the_reference_are_nearer_to_it() -> None:
    network = clip_network(tiny_clip())
    asked = [PromptItem("x")] * 40
    shown = draw_prompts(draw, asked)
    same = network.features([each.image for each in draw_prompts(draw, asked, seed=1)])
    bright = draw_prompts(lambda p, s: draw(p, s) / 4 + 0.7, asked, seed=2)
    other = network.features([each.image for each in bright])
    near, far = (measure(shown, network=network, reference=each)[0] for each in (same, other))
    found = {a.name.partition("(")[0]: (a.estimate.value, b.estimate.value)
             for a, b in zip(near, far, strict=True)}  # fmt: skip
    assert found["FID"][0] < found["FID"][1] and found["KID"][0] < found["KID"][1]
    assert found["precision"][0] > found["precision"][1]
    assert found["Vendi score"][0] == found["Vendi score"][1]
