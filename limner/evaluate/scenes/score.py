"""MAIN PATH of the scene score: prompts -> pictures -> detections -> judgements -> scores.

| set      | pictures                                     | judged against          |
|----------|----------------------------------------------|-------------------------|
| seen     | drawn, English, combinations of the training | their own scenes        |
| held_out | drawn, English, combinations never trained   | their own scenes        |
| chinese  | drawn, the scenes of `seen` in Chinese       | their own scenes        |
| ceiling  | the true pictures of `seen`                  | their own scenes        |
| codec    | the same, through the codec and back         | their own scenes        |
| varied   | drawn like the true pictures of `seen`       | their own scenes        |
| shuffled | those of `seen`                              | other scenes, same kind |
| chance   | none: what guessing scores                   |                         |
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from limner.data.batches.batches import to_bytes, true_pictures
from limner.data.scenes.graph import Graph
from limner.evaluate.drawing import BATCH, Draw, Vary, Watch, groups, quiet
from limner.evaluate.metrics.codec import psnr, reconstruct, reconstruction_distance, ssim
from limner.evaluate.metrics.likelihood import (
    Likelihoods,
    MeasuredPrior,
    PromptedPictures,
    measure_prior,
)
from limner.evaluate.metrics.networks import Network
from limner.evaluate.resampling import Metric, Score
from limner.evaluate.scenes.detection import Detections, SceneDetector
from limner.evaluate.scenes.judging import Judgements, chance, judge, tally
from limner.evaluate.scenes.prompts import (
    MOST,
    SETS,
    Prompt,
    ScorePlan,
    collect_prompts,
    kind_of,
    shuffle,
)
from limner.images import to_images
from limner.types import Codec

DRAWN = ("seen", "held_out", "chinese")  # of prompts


@dataclass(frozen=True)
class Answer:
    """One picture, what was asked for, what it shows, and whether that is right."""

    prompt: str
    asked: Graph
    shown: Detections
    judgements: Judgements
    image: Tensor  # (3, H, W) uint8

    @property
    def share(self) -> float:
        """Which share of all judgements of the picture is right."""
        marks = [right for answers in self.judgements.values() for right in answers]
        return sum(marks) / len(marks)


@dataclass(frozen=True)
class SceneScores:
    """Every answer by set, and what was measured beside; None where it was not."""

    answers: dict[str, list[Answer]]
    codec: dict[str, float] | None  # `psnr` in dB and `ssim`
    seed: int
    wide: bool = False
    differs: float | None = None  # of pixels of `varied` from their pictures, mean absolute, 0 to 1
    rfid: Metric | None = None  # how far features are through the codec
    likelihoods: Likelihoods | None = None  # of the true pictures of what was drawn, by the prior

    @property
    def scores(self) -> dict[str, dict[str, Score]]:
        """The scores by set and aspect, `chance` last."""
        measured = {
            name: tally(answer.judgements for answer in answers)
            for name, answers in self.answers.items()
        }
        return measured | {"chance": chance(wide=self.wide)}

    @property
    def kinds(self) -> dict[str, dict[str, dict[str, Score]]]:
        """The scores of each kind of scene (`kind_of`) by set, of the aspects that it has."""
        found: dict[str, dict[str, dict[str, Score]]] = {}
        for name, answers in self.answers.items():
            for kind in dict.fromkeys(kind_of(answer.asked) for answer in answers):
                of_kind = [each.judgements for each in answers if kind_of(each.asked) == kind]
                scores = {key: score for key, score in tally(of_kind).items() if score.n}
                found.setdefault(name, {})[kind] = scores
        return found

    @property
    def kept(self) -> Score | None:
        """In which share of `varied` single objects both object and background are kept."""
        varied = self.answers.get("varied", ())
        single = [each.judgements for each in varied if each.asked.kind == "single"]
        marks = [(*each["object"], *each["background"]) for each in single if each.get("object")]
        return Score.measured(sum(map(all, marks)), len(marks)) if marks else None

    def to_json(self) -> dict[str, Any]:
        """Return the scores as plain JSON values."""
        return {
            name: {aspect: score.to_json() for aspect, score in row.items()}
            for name, row in self.scores.items()
        }


def score_scenes(
    draw: Draw,
    plan: ScorePlan,
    *,
    codec: Codec | None = None,
    vary: Vary | None = None,
    prior: MeasuredPrior | None = None,
    network: Network | None = None,
    font: str | None = None,
    watch: Watch = quiet,
) -> SceneScores:
    """Draw the plan's prompts with `draw`, detect what the pictures show, and score them.

    Without a codec there is no set `codec`, without `vary` no set `varied`, without `prior` no
    likelihood, without `network` no rFID. Raises UsageError, and DataError without the font.
    """
    scenes = _Scenes(plan, font)
    seen = scenes.seen
    scorer = _Scorer(draw, plan, SceneDetector(font, plan.size, wide=plan.wide), watch)
    drawn = [name for name in DRAWN if name in plan.sets]
    wanted = ["seen", *drawn] if "shuffled" in plan.sets else drawn
    # 1. What is drawn of prompts; `shuffled` judges the drawings of `seen` anew.
    answers = {name: scorer.drawn(name, scenes.prompts(name)) for name in dict.fromkeys(wanted)}
    quality: dict[str, float] | None = None
    differs: float | None = None
    rfid: Metric | None = None
    # 2. True pictures, as they are, through the codec, and varied: what can be reached.
    if {"ceiling", "codec", "varied"} & set(plan.sets):
        answers["ceiling"] = scorer.judged(seen, scenes.truth)
        if codec is not None and "codec" in plan.sets:
            copies = reconstruct(codec, scenes.truth)
            answers["codec"] = scorer.judged(seen, copies)
            measures = {"psnr": psnr, "ssim": ssim}
            quality = {
                name: float(measure(copies, scenes.truth).mean())
                for name, measure in measures.items()
            }
            if network is not None:
                rfid = reconstruction_distance(network, copies, scenes.truth)
        if vary is not None and "varied" in plan.sets:
            varied = scorer.varied(scenes.truth, vary)
            answers["varied"] = scorer.judged(seen, varied)
            differs = float((varied - scenes.truth).abs().mean()) / 2
    # 3. The floor, and how likely the prior finds true pictures.
    if "shuffled" in plan.sets:
        answers["shuffled"] = _rejudge(answers["seen"], shuffle(seen))
    likelihoods = None
    if prior is not None and drawn:
        sets = {name: scenes.asked(name) for name in drawn}
        likelihoods = measure_prior(prior, sets, watch=watch)
    kept = {name: answers[name] for name in SETS if name in plan.sets and name in answers}
    return SceneScores(kept, quality, plan.seed, plan.wide, differs, rfid, likelihoods)


@dataclass(frozen=True)
class _Scenes:
    """The prompts of a plan and their true pictures, made when they are first asked for."""

    plan: ScorePlan
    font: str | None

    @cached_property
    def seen(self) -> list[Prompt]:
        """The scenes of combinations that training saw."""
        return self._collect("validation")

    @cached_property
    def held_out(self) -> list[Prompt]:
        """The scenes of held-out combinations."""
        return self._collect("held_out")

    @cached_property
    def truth(self) -> Tensor:
        """The true pictures of the scenes seen."""
        return self._pictures(self.seen)

    def prompts(self, name: str) -> list[Prompt]:
        """Return the scenes of a set."""
        return self.held_out if name == "held_out" else self.seen

    def _collect(self, split: str) -> list[Prompt]:
        return collect_prompts(split, self.plan.count, self.plan.seed, wide=self.plan.wide)

    def asked(self, name: str) -> PromptedPictures:
        prompts = self.prompts(name)
        pictures = self._pictures(prompts) if name == "held_out" else self.truth
        return _texts(name, prompts), pictures

    def _pictures(self, prompts: list[Prompt]) -> Tensor:
        return true_pictures([each.graph for each in prompts], self.plan.size, self.font)


@dataclass(frozen=True)
class _Scorer:
    draw: Draw
    plan: ScorePlan
    detector: SceneDetector
    watch: Watch

    def drawn(self, name: str, prompts: list[Prompt]) -> list[Answer]:
        texts = _texts(name, prompts)
        return self.judged(prompts, self._all(name, texts, self.draw), texts)

    def varied(self, truth: Tensor, vary: Vary) -> Tensor:
        return self._all("varied", to_images(truth), vary)

    def _all(self, name: str, asked: Sequence[Any], draw: Callable[..., Tensor]) -> Tensor:
        seeds = [self.plan.seed * MOST + index for index in range(len(asked))]
        parts = groups(len(asked), BATCH, self.watch, name)
        return torch.cat([draw(asked[at], seeds[at]).float().clamp(-1, 1) for at in parts])

    def judged(
        self, prompts: list[Prompt], images: Tensor, texts: list[str] | None = None
    ) -> list[Answer]:
        texts = texts or [prompt.english for prompt in prompts]
        pixels = to_bytes(images)
        return [
            Answer(text, prompt.graph, shown, judge(prompt.graph, shown), image)
            for text, prompt, shown, image in zip(
                texts, prompts, self.detector.detect(images), pixels, strict=True
            )
        ]


def _texts(name: str, prompts: list[Prompt]) -> list[str]:
    return [prompt.chinese if name == "chinese" else prompt.english for prompt in prompts]


def _rejudge(answers: list[Answer], others: list[Prompt]) -> list[Answer]:
    found = []
    for each, other in zip(answers, others, strict=True):
        marks = judge(other.graph, each.shown)
        found.append(replace(each, prompt=other.english, asked=other.graph, judgements=marks))
    return found
