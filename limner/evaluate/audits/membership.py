"""Membership: does a model's loss tell the pictures that it was trained on from others?

A weak test of single pictures: large models that have copied some still give a figure near chance,
so that a low one clears nobody.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from limner.data.batches.batches import to_floats
from limner.data.batches.picture_store import fitted
from limner.evaluate.drawing import Watch, groups, quiet
from limner.evaluate.resampling import Z

if TYPE_CHECKING:
    from PIL.Image import Image


@torch.inference_mode()
def losses_of(
    pipeline: Any,
    pairs: Sequence[tuple[str, Image]],
    watch: Watch = quiet,
    stage: str = "membership",
) -> list[float]:
    """Return the training loss in nats a code of each (caption, picture) under a token prior."""
    found = []
    for part in groups(len(pairs), 1, watch, stage):
        ((caption, picture),) = pairs[part]
        # The very pixels that training has: another way to shrink them would show as loss.
        images = to_floats(fitted(picture, pipeline.size)[None])
        codes = pipeline.codec.encode(images.to(pipeline.device))
        codes = codes.flatten(1, len(pipeline.codec.layout))
        text = pipeline.tokenizer.batch([caption], pipeline.text_length).to(pipeline.device)
        found.append(float(pipeline.prior.loss(text, codes)))
    return found


def membership(losses: Sequence[float], others: Sequence[float]) -> dict[str, Any]:
    """Return how well the loss of a picture tells training (`losses`) from held-out (`others`).

    `auc` is the chance that a training picture has the lower loss, with its 95 % interval, 0.5 by
    guessing; `tpr` the share of training pictures found where 1 % of the others is taken for one.
    """
    one, other = np.asarray(losses, np.float64), np.asarray(others, np.float64)
    lower = (one[:, None] < other).mean() + 0.5 * (one[:, None] == other).mean()
    auc, n, m = float(lower), len(one), len(other)
    low, high = auc_interval(auc, n, m)
    rate = float((one < np.quantile(other, 0.01)).mean())
    return {
        "auc": round(auc, 4),
        "low": round(low, 4),
        "high": round(high, 4),
        "tpr": round(rate, 4),
        "trained": n,
        "held_out": m,
    }


def auc_interval(auc: float, first: int, second: int) -> tuple[float, float]:
    """Return the 95 % interval of an AUC of so many pictures against so many others."""
    # Newcombe 2006, Statistics in Medicine 25(4), method 5: Hanley and McNeil's variance at the
    # ends of the interval, not at the AUC found, where that of 1 would be none.
    return _lower(auc, first, second), 1 - _lower(1 - auc, first, second)


def _lower(auc: float, first: int, second: int) -> float:
    low, high = 0.0, auc
    for _ in range(60):  # bisection halves the error each time
        share = (low + high) / 2
        more = (1 - share) / (2 - share) + share / (1 + share)
        spread = share * (1 - share) * (1 + ((first + second) / 2 - 1) * more) / (first * second)
        inside = auc - share <= Z * math.sqrt(spread)
        low, high = (low, share) if inside else (share, high)
    return low
