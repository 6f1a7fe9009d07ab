"""How drawings that are measured are made: their seeds, their batches, and the best of several."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from PIL.Image import Image
from torch import Tensor

from limner.images import to_images

BATCH = 32  # pictures in one pass
SEEDS = 10_000_000  # between the seeds of two measurements: 10,000 prompts of 1,000 tries
TRIES = 1000

Draw = Callable[[Sequence[str], Sequence[int]], Tensor]  # prompts, seeds -> (B, 3, H, W) in [-1, 1]
Vary = Callable[[Sequence["Image"], Sequence[int]], Tensor]  # pictures, seeds -> as Draw
Watch = Callable[[str, int, int], None]  # stage, pictures done, pictures in all


def quiet(stage: str, done: int, total: int) -> None:
    """Watch nothing."""


def groups(count: int, size: int, watch: Watch, stage: str) -> Iterator[slice]:
    """Yield slices of `count` things, `size` at a time; `watch` hears how many are done."""
    for first in range(0, count, size):
        watch(stage, first, count)
        yield slice(first, first + size)
    watch(stage, count, count)


def seeds_of(count: int, seed: int, best_of: int) -> list[list[int]]:
    """Return the seeds of each prompt's tries; no two prompts or measurements share any."""
    return [
        [seed * SEEDS + place * TRIES + attempt for attempt in range(best_of)]
        for place in range(count)
    ]


def choose_best(draw: Draw, clip: Any, best_of: int) -> Draw:
    """Return how to draw each prompt `best_of` times and keep what fits best by `clip`."""
    if best_of == 1:
        return draw

    def drawing(prompts: Sequence[str], seeds: Sequence[int]) -> Tensor:
        kept = []
        for prompt, seed in zip(prompts, seeds, strict=True):
            # Seeds of their own, which no other seed of a measurement has.
            tries = [seed * TRIES + attempt for attempt in range(best_of)]
            images = draw([prompt] * best_of, tries)
            cosines = clip.compare(to_images(images), [prompt])[:, 0]
            kept.append(images[int(cosines.argmax())])
        return torch.stack(kept)

    return drawing
