"""The scene score, end to end, with painters whose skill is known."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from limner.data.batches.batches import true_pictures
from limner.data.scenes.graph import Graph
from limner.data.scenes.nouns import are_wide, nouns
from limner.errors import UsageError
from limner.evaluate.metrics.distributions import frechet_distance
from limner.evaluate.metrics.likelihood import MeasuredPrior
from limner.evaluate.metrics.networks import Network
from limner.evaluate.resampling import Score
from limner.evaluate.scenes.judging import ASPECTS, DETAILS
from limner.evaluate.scenes.prompts import SETS, ScorePlan, collect_prompts
from limner.evaluate.scenes.score import SceneScores, score_scenes
from limner.images import to_tensor

PLAN = ScorePlan(count=60, seed=1)


class Painter:
    """Draws what every prompt of a plan asks for, and remembers the seeds."""

    def __init__(self, plan: ScorePlan) -> None:
        self.graphs: dict[str, Graph] = {}
        self.seeds: list[int] = []
        for split in ("validation", "held_out"):
            for prompt in collect_prompts(split, plan.count, plan.seed, wide=plan.wide):
                self.graphs[prompt.english] = self.graphs[prompt.chinese] = prompt.graph

    def draw(self, prompts: Sequence[str], seeds: Sequence[int]) -> Tensor:
        self.seeds += seeds
        return true_pictures([self.graphs[prompt] for prompt in prompts], 64)

    def draw_shuffled(self, prompts: Sequence[str], seeds: Sequence[int]) -> Tensor:
        """Draw each prompt's successor in its batch."""
        return self.draw([*prompts[1:], prompts[0]], seeds)


class CoarseCodec:
    """A real codec of known loss: keeps 3 bits of every channel at every pixel."""

    maps = ((64, 64),)
    grid = layout = (64, 64)
    groups = 1
    levels = ()
    vocabulary = 512
    encodes = True
    continuous: ClassVar[bool] = False
    likelihood: ClassVar[str] = "pixels"
    config: Any = None

    def encode(self, images: Tensor) -> Tensor:
        levels = images.add(1).mul(3.5).round().long()
        return (levels * torch.tensor([1, 8, 64])[:, None, None]).sum(1)

    def decode(self, codes: Tensor) -> Tensor:
        levels = torch.stack([codes % 8, codes // 8 % 8, codes // 64], dim=1)
        return levels / 3.5 - 1

    def embed(self, codes: Tensor) -> Tensor:
        return self.decode(codes)


COARSE: Any = CoarseCodec()


@pytest.fixture(scope="module")
def skilled(emoji_font: Path) -> SceneScores:
    painter = Painter(PLAN)
    result = score_scenes(painter.draw, PLAN, codec=COARSE, font=str(emoji_font))
    expected = [PLAN.seed * 10_000 + index for index in range(60)]
    assert painter.seeds == expected * 3
    return result


def values(scores: dict[str, Score]) -> dict[str, float]:
    return {aspect: score.value for aspect, score in scores.items() if score.value is not None}


@pytest.mark.parametrize("name", ["seen", "held_out", "chinese", "ceiling", "codec"])
def test_a_skilled_painter_scores_full_marks(skilled: SceneScores, name: str) -> None:
    assert min(values(skilled.scores[name]).values()) >= 0.98


def test_the_floor_is_near_chance(skilled: SceneScores) -> None:
    floor, chance = skilled.scores["shuffled"], skilled.scores["chance"]
    for aspect in ASPECTS:
        assert floor[aspect].low <= chance[aspect].high + 0.05, aspect
        assert (floor[aspect].value or 0) <= 0.5, aspect


def test_a_painter_of_other_prompts_is_near_chance(emoji_font: Path) -> None:
    plan = ScorePlan(count=60, seed=1, sets=("seen",))
    result = score_scenes(Painter(plan).draw_shuffled, plan, font=str(emoji_font))
    assert list(result.scores) == ["seen", "chance"]
    scores = values(result.scores["seen"])
    assert scores["object"] <= 0.05
    assert scores["relation"] <= 0.05
    assert max(scores[aspect] for aspect in ("background", "colour", "count")) <= 0.35


def test_true_pictures_of_the_wide_world_are_read_rightly(emoji_font: Path) -> None:
    plan = ScorePlan(count=20, seed=2, sets=("seen", "ceiling"), wide=True)
    painter = Painter(plan)
    things = [thing.noun for graph in painter.graphs.values() for thing in graph.things]
    assert are_wide(things)
    result = score_scenes(painter.draw, plan, font=str(emoji_font))
    for name in ("seen", "ceiling"):
        scores = values(result.scores[name])
        assert min(scores[aspect] for aspect in ASPECTS) >= 0.75, scores
        assert sum(scores[aspect] for aspect in ASPECTS) >= 4.7, scores
    assert values(result.scores["chance"])["object"] == pytest.approx(1 / len(nouns(wide=True)))


def test_the_answer_as_json(skilled: SceneScores) -> None:
    answer = skilled.to_json()
    assert list(answer) == [name for name in SETS if name != "varied"]
    for row in answer.values():
        assert list(row) == [*ASPECTS, *DETAILS]
        assert all(list(score) == ["value", "low", "high", "n"] for score in row.values())
    counts = {aspect: answer["seen"][aspect]["n"] for aspect in ASPECTS}
    assert counts == {"object": 36, "colour": 18, "background": 60, "count": 12, "relation": 12}
    assert answer["held_out"]["colour"]["n"] == 36
    assert answer["seen"]["object_in_pairs"]["n"] == 24


def test_the_codec_is_measured(skilled: SceneScores) -> None:
    assert skilled.codec is not None
    step = 1 / 7  # of channels in [0, 1]: errors are at most half of it
    assert 20 < -20 * torch.log10(torch.tensor(step / 2)) <= skilled.codec["psnr"] < 60
    assert 0.5 < skilled.codec["ssim"] < 1


def test_the_prior_is_asked_for_the_true_pictures_of_what_is_drawn(emoji_font: Path) -> None:
    plan = ScorePlan(count=10, seed=1, sets=("held_out", "chinese", "shuffled"))
    asked: list[tuple[str, Tensor]] = []

    def nll(prompts: Sequence[str], images: Tensor) -> Tensor:
        asked.extend(zip(prompts, images, strict=True))
        return torch.arange(float(len(prompts)))

    painter = Painter(plan)
    prior = MeasuredPrior(nll, 64, 512, "known")
    result = score_scenes(painter.draw, plan, prior=prior, font=str(emoji_font))
    assert result.likelihoods is not None and result.rfid is None and result.codec is None
    assert list(result.likelihoods.nll) == ["held_out", "chinese"]
    assert {each.value for each in result.likelihoods.nll.values()} == {4.5}
    texts = [each.english for each in collect_prompts("held_out", 10, 1)]
    texts += [each.chinese for each in collect_prompts("validation", 10, 1)]
    assert [prompt for prompt, _ in asked] == texts
    truth = true_pictures([painter.graphs[text] for text in texts], 64, str(emoji_font))
    assert torch.equal(torch.stack([image for _, image in asked]), truth)


def test_the_codec_is_measured_by_features(emoji_font: Path) -> None:
    plan = ScorePlan(count=10, seed=1, sets=("codec",))
    network = Network("stub", "ab" * 32, lambda pictures: to_tensor(pictures).mean((2, 3)))
    result = score_scenes(
        Painter(plan).draw, plan, codec=COARSE, network=network, font=str(emoji_font)
    )
    assert result.rfid is not None and result.rfid.name == "rFID(stub abababab)"
    graphs = [each.graph for each in collect_prompts("validation", 10, 1)]
    truth = true_pictures(graphs, 64, str(emoji_font))
    copies = CoarseCodec().decode(CoarseCodec().encode(truth))
    wanted = frechet_distance(copies.mean((2, 3)), truth.mean((2, 3)))
    assert result.rfid.estimate.value == pytest.approx(wanted, abs=1e-4) and wanted > 1e-4
    assert result.likelihoods is None


def test_wrong_plans_are_refused() -> None:
    with pytest.raises(UsageError, match="did you mean 'seen'"):
        ScorePlan(sets=("sen",))
    with pytest.raises(UsageError, match="seed is -1"):
        ScorePlan(seed=-1)
    with pytest.raises(UsageError, match="10 to 10000"):
        score_scenes(Painter(PLAN).draw, ScorePlan(count=3))
