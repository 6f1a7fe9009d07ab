"""MAIN PATH of a measurement by prompts: prompts -> pictures -> features -> metrics.

A metric carries its network in its name and its interval beside it; the Conditions say the rest of
what a number depends on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL.Image import Image
from torch import Tensor

from limner.evaluate.drawing import BATCH, Draw, Watch, groups, quiet, seeds_of
from limner.evaluate.metrics import distributions
from limner.evaluate.metrics.agreement import clip_scores, r_precision
from limner.evaluate.metrics.networks import Network
from limner.evaluate.prompts.prompt_files import PromptItem
from limner.evaluate.resampling import (
    LEAST,
    Estimate,
    Metric,
    Z,
    bootstrap_mean,
    jackknife,
    share_of,
    too_few,
    wilson,
)
from limner.finish.rank import SCORE
from limner.images import to_images

NEIGHBOURS_NEED = 6  # pictures of each set, for the five neighbours of density and coverage


@dataclass(frozen=True)
class DrawnSample:
    """A picture and what was asked for; `score` is 100 times the cosine, None without a CLIP."""

    asked: PromptItem
    seed: int
    image: Image
    score: float | None = None


@dataclass(frozen=True)
class Measurement:
    """All pictures in the order of their prompts, the metrics, and CLIP scores by kind."""

    shown: list[DrawnSample]
    metrics: list[Metric]
    kinds: dict[str, Estimate]
    notes: tuple[str, ...] = ()

    def by_score(self) -> list[DrawnSample]:
        """Return the pictures with a score, the best first."""
        scored = [each for each in self.shown if each.score is not None]
        return sorted(scored, key=lambda each: -_rank(each.score))


def draw_prompts(
    draw: Draw,
    asked: Sequence[PromptItem],
    *,
    seed: int = 0,
    best_of: int = 1,
    clip: Any = None,
    watch: Watch = quiet,
) -> list[DrawnSample]:
    """Draw each prompt `best_of` times and keep what fits best by `clip`, with its score.

    Without a CLIP there is no score, and best_of must be 1.
    """
    tries = [
        (place, each)
        for place, seeds in enumerate(seeds_of(len(asked), seed, best_of))
        for each in seeds
    ]
    # BATCH tries at a time, of whatever prompts: a prompt's tries may lie in two batches.
    kept: dict[int, DrawnSample] = {}
    for part in groups(len(tries), BATCH, watch, "drawing"):
        group = tries[part]
        texts = [asked[place].text for place, _ in group]
        images = to_images(draw(texts, [each for _, each in group]))
        scores = _scores(clip, images, texts)
        for (place, each), image, score in zip(group, images, scores, strict=True):
            before = kept.get(place)
            if before is None or _rank(score) > _rank(before.score):
                kept[place] = DrawnSample(asked[place], each, image, score)
    return [kept[place] for place in range(len(asked))]


def measure(
    shown: Sequence[DrawnSample],
    *,
    network: Network | None = None,
    clip: Network | None = None,
    texts: Tensor | None = None,
    reference: Tensor | None = None,
    watch: Watch = quiet,
) -> tuple[list[Metric], dict[str, Estimate]]:
    """Return the metrics that can be had, and the CLIP score by kind of prompt.

    `clip` and `texts` (N, D), the sentences' vectors, give CLIP score and R-precision; `network`
    gives the Vendi score and, where it knows classes, the Inception Score; with `reference`, the
    features of real pictures, the distances to them. Raises UsageError for fewer than LEAST.
    """
    if len(shown) < LEAST:
        raise too_few(len(shown))
    metrics: list[Metric] = []
    kinds: dict[str, Estimate] = {}
    pictures = [each.image for each in shown]
    seen: dict[str, Tensor] = {}
    # 1. How well pictures fit their prompts.
    if clip is not None and texts is not None:
        seen[clip.sha256] = clip.features(pictures, watch)
        metrics += _agreement(seen[clip.sha256], texts, shown, clip)
        kinds = _by_kind(clip_scores(seen[clip.sha256], texts), shown)
    # 2. How varied they are; a network that is the CLIP has seen them already.
    if network is not None:
        features = seen.get(network.sha256)
        if features is None:
            features = network.features(pictures, watch)
        metrics += variety(features, network)
        # 3. How far they are from real pictures.
        if reference is not None:
            metrics += distances(features, reference, network)
    return metrics, kinds


def variety(features: Tensor, network: Network) -> list[Metric]:
    """Return the Vendi score and, of a network that knows classes, the Inception Score."""

    def metric(name: str, statistic: Callable[[Tensor], float], rows: Tensor, about: str) -> Metric:
        """Return one metric of a set with its interval."""
        estimate = jackknife(lambda kept: statistic(rows[kept]), len(rows))
        return Metric(network.title(name), estimate, "higher", about)

    worth = "how many quite different pictures the set is worth"
    found = [metric("Vendi score", distributions.vendi_score, features, worth)]
    if network.classify is not None:
        with torch.inference_mode():
            shares = network.classify(features)
        about = "sure and varied classes, over all pictures at once"
        found.append(metric("Inception Score", distributions.inception_score, shares, about))
    return found


def distances(features: Tensor, reference: Tensor, network: Network) -> list[Metric]:
    """Return FID, KID and, of enough pictures, precision, recall, density and coverage."""
    count = len(features)

    def estimate(statistic: Callable[[Tensor], float]) -> Estimate:
        return jackknife(lambda rows: statistic(features[rows]), count)

    def frechet(drawn: Tensor) -> float:
        return distributions.frechet_distance(drawn, reference)

    found = [
        Metric(network.title("FID"), estimate(frechet), "lower", "distance of fitted Gaussians"),
        Metric(
            network.title("KID"),
            _kernel_distance(features, reference),
            "lower",
            "squared distance by a kernel, without bias; the interval is that of its subsets",
        ),
    ]
    if min(count - count // 10 - 1, len(reference)) < NEIGHBOURS_NEED:
        return found
    near = distributions.Neighbours(reference, features)

    def share(method: Callable[[Tensor], tuple[float, float]], part: int) -> Estimate:
        return jackknife(lambda rows: method(torch.from_numpy(rows))[part], count)

    real = len(reference)
    precision, recall = (share(near.precision_recall, part) for part in (0, 1))
    density, coverage = (share(near.density_coverage, part) for part in (0, 1))
    shares = (
        ("precision", _widened(precision, count), "drawn pictures that look real"),
        ("recall", _widened(recall, real), "real pictures that could be drawn"),
        ("coverage", _widened(coverage, real), "real pictures with a drawn one near"),
        ("density", density, "how densely drawn ones lie among real; can pass 1"),
    )
    return [*found, *(Metric(network.title(name), value, "higher", about)
                      for name, value, about in shares)]  # fmt: skip


def _kernel_distance(features: Tensor, reference: Tensor) -> Estimate:
    """Return KID with its interval."""
    kernel, spread = distributions.kernel_distance(features, reference)
    # Its subsets are halves, which spread as the whole does, where both sets have two.
    half = Z * spread if min(len(features), len(reference)) >= 4 else math.inf
    return Estimate(kernel, kernel - half, kernel + half, len(features))


def _widened(share: Estimate, judged: int) -> Estimate:
    """Return the share with the wider of its own interval and Wilson's for `judged` pictures."""
    # A share of 0 or 1 stays what it is when pictures are left out, and would look certain.
    low, high = wilson(round(share.value * judged), judged)
    low, high = max(0.0, min(low, share.low)), min(1.0, max(high, share.high))
    return Estimate(share.value, low, high, share.n)


def _agreement(
    pictures: Tensor, texts: Tensor, shown: Sequence[DrawnSample], clip: Network
) -> list[Metric]:
    sentences = [each.asked.text for each in shown]
    scores = bootstrap_mean(clip_scores(pictures, texts).numpy())
    found = [Metric(clip.title("CLIP score"), scores, "higher", "100 x cosine, not below 0")]
    if len(set(sentences)) > 1:
        right = share_of(r_precision(pictures, texts, sentences).numpy())
        about = f"own sentence nearest of {min(100, len(set(sentences)))}"
        found.append(Metric(clip.title("R-precision"), right, "higher", about))
    return found


def _by_kind(scores: Tensor, shown: Sequence[DrawnSample]) -> dict[str, Estimate]:
    kinds = list(dict.fromkeys(each.asked.kind for each in shown))
    return {
        kind: bootstrap_mean(
            [
                float(score)
                for score, each in zip(scores, shown, strict=True)
                if each.asked.kind == kind
            ]
        )
        for kind in kinds
    }


def _scores(clip: Any, images: Sequence[Image], texts: Sequence[str]) -> list[float | None]:
    if clip is None:
        return [None] * len(images)
    cosines: Tensor = (clip.see(images) * clip.encode_texts(texts)).sum(1)
    return (SCORE * cosines.double()).tolist()


def _rank(score: float | None) -> float:
    return -math.inf if score is None else score
