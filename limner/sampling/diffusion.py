"""Samplers of diffusion models: from noise to a clean thing, a step at a time, as pure functions.

A sampler takes `denoise`, which maps x_t (B, ...) and its time to the expected clean x_0, unit
noise (B, ...), the levels to visit, and an iterator of more unit noise, which the stochastic ones
use. It yields a Moment after every step; the last one's `x` is the result.

In the formulas a and s are signal and noise at a level, as in `limner.sampling.schedule`.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from limner.errors import UsageError, did_you_mean, quote
from limner.options import check_number
from limner.sampling.schedule import Levels, check_whole
from limner.types import SCHEDULES as GUIDANCE_SCHEDULES

ROUNDS = 4  # of `repaint` at every level
Denoise = Callable[[Tensor, int], Tensor]
Look = Callable[[Tensor, int], tuple[Tensor, Tensor]]  # the clean thing, and a share of the spread
Fresh = Iterator[Tensor]  # unit noise (B, ...)


class Moment(NamedTuple):
    """Where a sampler stands: x (B, ...) at the next level, and the clean thing it expects."""

    x: Tensor
    start: Tensor


def ddpm(denoise: Denoise, x: Tensor, levels: Levels, fresh: Fresh) -> Iterator[Moment]:
    """Draw each level from the posterior of the forward process (Ho 2020, 2006.11239, eq. 7)."""
    for time, (a, s), (a_next, s_next) in _pairs(levels):
        start = denoise(x, time)
        added = 1 - (a / a_next) ** 2  # beta_t between the two levels
        mean = (a_next * added * start + a / a_next * s_next**2 * x) / s**2
        x = mean + s_next / s * math.sqrt(added) * next(fresh) if s_next else mean
        yield Moment(x, start)


def ddpm_learned(look: Look, x: Tensor, levels: Levels, fresh: Fresh) -> Iterator[Moment]:
    """Draw as `ddpm`, by a spread that the network says (Nichol 2021, 2102.09672, equation 15).

    `look` returns x_0, and where in [-1, 1] the logarithm of each number's variance lies, from that
    of `ddpm` to that of the noise which is added between the two levels.
    """
    for time, (a, s), (a_next, s_next) in _pairs(levels):
        start, share = look(x, time)
        added = 1 - (a / a_next) ** 2
        x = (a_next * added * start + a / a_next * s_next**2 * x) / s**2
        if s_next:
            least = math.log(s_next**2 / s**2 * added)
            log = least + (share + 1) / 2 * (math.log(added) - least)
            x = x + (log / 2).exp() * next(fresh)
        yield Moment(x, start)


def ddim(denoise: Denoise, x: Tensor, levels: Levels, fresh: Fresh) -> Iterator[Moment]:
    """Keep the noise that the network sees (Song 2020, arXiv 2010.02502, equation 12, eta 0)."""
    for time, (a, s), (a_next, s_next) in _pairs(levels):
        start = denoise(x, time)
        x = a_next * start + s_next * (x - a * start) / s
        yield Moment(x, start)


def euler(denoise: Denoise, x: Tensor, levels: Levels, fresh: Fresh) -> Iterator[Moment]:
    """Follow dz/dq = (z - x_0) / q for z = x / a, q = s / a (Karras 2022, 2206.00364, alg. 1).

    In exact arithmetic that is `ddim`; it stands here by the name by which many ask for it.
    """
    z = x.double() / levels.signal[0]  # q begins at 20,000 where the schedule is the cosine
    for time, (a, s), (a_next, s_next) in _pairs(levels):
        start = denoise((a * z).to(x), time)
        z = z + (z - start) / (s / a) * (s_next / a_next - s / a)
        yield Moment((a_next * z).to(x), start)


def dpm_solver(denoise: Denoise, x: Tensor, levels: Levels, fresh: Fresh) -> Iterator[Moment]:
    """Extrapolate x_0 linearly in the log of a / s (Lu 2022, arXiv 2211.01095, algorithm 2, 2M).

    The first step and the last, whose log has no end, are of first order.
    """
    before, width = x, 0.0
    for time, (a, s), (a_next, s_next) in _pairs(levels):
        start = denoise(x, time)
        if not s_next:
            yield Moment(start, start)
            return
        # x_0 half way through the step, on the line through this one and the one before.
        h = math.log(a_next / s_next) - math.log(a / s)
        expected = start + h / (2 * width) * (start - before) if width else start
        x = s_next / s * x - a_next * math.expm1(-h) * expected
        before, width = start, h
        yield Moment(x, start)


def repaint(denoise: Denoise, x: Tensor, levels: Levels, fresh: Fresh) -> Iterator[Moment]:
    """Go through each level ROUNDS times, noised again between (Lugmayr 2022, 2201.09865, alg. 1).

    `denoise` puts back what is kept, so that the rest comes to suit it.
    """
    for time, (a, s), (a_next, s_next) in _pairs(levels):
        rounds = ROUNDS if s_next else 1
        level = Levels((time,), (a, a_next), (s, s_next))
        for number in range(rounds):
            (moment,) = ddpm(denoise, x, level, fresh)
            x = moment.x
            if number + 1 < rounds:  # back to the level before, by the forward process
                x = a / a_next * x + math.sqrt(1 - (a / a_next) ** 2) * next(fresh)
        yield Moment(x, moment.start)


@dataclass(frozen=True)
class DiffusionSampling:
    """Resolved values of how a picture is drawn from noise.

    `steps` are the decoder's, `sampler` is its and the upsampler's; `guidance` 0 is none; text is
    pushed by `text_share` of it. `rescale` in [0, 1] tames it. `candidates` embeddings are drawn by
    the prior in `prior_steps`, and the nearest to the text is taken. `vary_strength` in (0, 1] is
    how far a picture that is varied is noised first; with 1 nothing but its embedding is left.
    UsageError for a value out of range.
    """

    LATER: ClassVar = ("vary_strength",)  # older folders do not have it

    steps: int = 20
    sampler: str = "dpm_solver"
    guidance: float = 1.0
    guidance_schedule: str = "constant"
    text_share: float = 1.0
    rescale: float = 0.0
    prior_steps: int = 16
    prior_guidance: float = 0.0
    candidates: int = 2
    upsampler_steps: int = 8
    vary_strength: float = 1.0

    def __post_init__(self) -> None:
        find_sampler(self.sampler)
        limits = {"guidance": 100, "text_share": 10, "rescale": 1, "prior_guidance": 100}
        for name, most in limits.items():
            value = getattr(self, name)
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not number or not 0 <= value <= most:
                raise UsageError(
                    f"{name} is {quote(value)}; expected a number in [0, {most}]", param=name
                )
        check_number(self, "vary_strength", lambda v: 0 < v <= 1, "in (0, 1]")
        for name in ("steps", "prior_steps", "upsampler_steps"):
            check_whole(name, getattr(self, name), 1000)
        check_whole("candidates", self.candidates, 64)
        if self.guidance_schedule not in GUIDANCE_SCHEDULES:
            raise UsageError(
                f"guidance_schedule is {quote(self.guidance_schedule)}; expected "
                f"{', '.join(GUIDANCE_SCHEDULES)}",
                param="guidance_schedule",
            )


Sampler = Callable[[Denoise, Tensor, Levels, Fresh], Iterator[Moment]]
DIFFUSION_SAMPLERS: dict[str, Sampler] = {
    each.__name__: each for each in (ddpm, ddim, euler, dpm_solver)
}


def find_sampler(name: str) -> Sampler:
    """Return the sampler of a name; UsageError names the known ones for another."""
    if name not in DIFFUSION_SAMPLERS:
        raise UsageError(
            f"sampler is {quote(name)}; expected {', '.join(DIFFUSION_SAMPLERS)}"
            f"{did_you_mean(str(name), DIFFUSION_SAMPLERS)}",
            param="sampler",
        )
    return DIFFUSION_SAMPLERS[name]


def unit_noise(
    seeds: Sequence[int], shape: Sequence[int], device: torch.device | str = "cpu"
) -> Iterator[Tensor]:
    """Yield noise (B, *shape) for ever; row i is a pure function of `seeds[i]`."""
    sources = [torch.Generator().manual_seed(seed) for seed in seeds]
    while True:
        rows = [torch.randn(*shape, generator=source) for source in sources]
        yield torch.stack(rows).to(device)


def guide_two(
    neither: Tensor, one: Tensor, both: Tensor, scale: float, other_scale: float
) -> Tensor:
    """Return a prediction pushed by two conditions, the first by `scale`, the second on top of it.

    Brooks 2022, arXiv 2211.09800, equation 3, with scales that are 0 where nothing is pushed, as
    `limner.sampling.tokens.guide` has them. Equal scales push from neither to both, and `one`
    does not count.
    """
    return both + scale * (one - neither) + other_scale * (both - one)


def rescale(guided: Tensor, conditional: Tensor, share: float) -> Tensor:
    """Bring the spread of each row back to the conditional's by `share` in [0, 1].

    Lin 2023, arXiv 2305.08891, equations 15 and 16: strong guidance else burns pictures out.
    """
    if share == 0:
        return guided
    axes = list(range(1, guided.ndim))
    ratio = conditional.std(axes, keepdim=True) / guided.std(axes, keepdim=True)  # (B, 1, ...)
    return guided * (share * ratio + 1 - share)


def _pairs(levels: Levels) -> Iterator[tuple[int, tuple[float, float], tuple[float, float]]]:
    both = list(zip(levels.signal, levels.noise, strict=True))
    yield from zip(levels.times, both[:-1], both[1:], strict=True)
