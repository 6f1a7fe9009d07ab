"""A decoder at work: from noise to a picture, pushed by what it is told.

Shapes: D dimensions of the embedding, T text tokens; one picture at a time.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from limner.sampling import diffusion
from limner.sampling.tokens import guidance_at


@dataclass(frozen=True)
class Given:
    """A picture (1, C, H, W) that is changed: where it stays (1, 1, H, W), and from how much noise.

    With a `strength` of 1 what is not kept begins as noise alone, with 0 it stays.
    """

    start: Tensor
    keep: Tensor
    strength: float = 1.0


def draw_picture(
    decoder: Any,
    vector: Tensor,
    ids: Tensor,
    seed: int,
    sampling: diffusion.DiffusionSampling,
    given: Given | None = None,
    settle: Callable[[Tensor], Tensor] | None = None,
) -> Iterator[Tensor]:
    """Yield what is expected of the picture (1, 3, H, W), in [-1, 1], after each step.

    `vector` (1, D) is the embedding and `ids` (1, T) the text; a decoder that was not made for one
    of them is not told it. `settle` brings what is expected into line with what else is known of
    the picture. The last yielded is the result. Raises UsageError for an unknown sampler or steps
    out of range.
    """
    config, process = decoder.config, decoder.process
    levels = process.levels(sampling.steps)
    step_of = {time: step for step, time in enumerate(levels.times)}

    def look(x: Tensor, time: int) -> tuple[Tensor, Tensor]:
        scale = guidance_at(
            sampling.guidance_schedule, sampling.guidance, step_of[time], sampling.steps
        )
        count, told = _rows(config, vector, ids, sampling.text_share if scale else None)
        times = torch.full((count,), time, device=x.device)
        said = decoder(x.expand(count, -1, -1, -1), times, **told)
        outputs, spread = said.split(config.channels, 1) if config.learns_spread else (said, said)
        output, *others = outputs.split(1)
        if others:
            neither, one = others[0], others[-1]
            pushed = diffusion.guide_two(neither, one, output, scale, scale * sampling.text_share)
            output = diffusion.rescale(pushed, output, sampling.rescale)
        start = process.start(x, output, times[:1])
        start = start.clamp(-1, 1) if config.bounded else start
        if settle is not None:
            start = settle(start)
        elif given is not None:
            start = torch.where(given.keep, given.start, start)
        return start, spread[:1]

    def denoise(x: Tensor, time: int) -> Tensor:
        return look(x, time)[0]

    noise = diffusion.unit_noise([seed], (config.channels, config.size, config.size), vector.device)
    sampler, x = diffusion.find_sampler(sampling.sampler), next(noise)
    if given is not None:
        levels = levels.last(given.strength)
        if bool(given.keep.any()):  # it is put back at every level, which wants more than one round
            sampler = diffusion.repaint
        x = levels.signal[0] * given.start + levels.noise[0] * x if given.strength < 1 else x
    moments = sampler(denoise, x, levels, noise)
    if config.learns_spread and sampler is diffusion.ddpm:
        moments = diffusion.ddpm_learned(look, x, levels, noise)
    for moment in moments:
        yield moment.start


def _rows(
    config: Any, vector: Tensor, ids: Tensor, text_share: float | None
) -> tuple[int, dict[str, Tensor]]:
    """Return how many rows the decoder is asked for, and what it is told in each.

    Told both; told neither, where it is pushed, as `text_share` says; told the vector alone, where
    the text is pushed by another scale.
    """
    vectors, texts = [vector], [ids]
    if text_share is not None:
        vectors, texts = [vector, 0 * vector], [ids, 0 * ids]
    if text_share not in (None, 1):
        vectors, texts = [*vectors, vector], [*texts, 0 * ids]
    # A part of the network that was not made for one of them is not told it.
    told = {"embedding": torch.cat(vectors)} if config.embedding else {}
    told |= {"text": torch.cat(texts)} if config.text_vocabulary else {}
    return len(vectors), told
