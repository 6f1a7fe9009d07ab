"""How noise grows: schedules, what a network predicts of a noised thing, and levels to sample at.

x_t = a_t x_0 + s_t e with a_t^2 + s_t^2 = 1 (Ho 2020, arXiv 2006.11239, equation 4); x_0 is clean,
e is unit noise, and v = a_t e - s_t x_0 (Salimans 2022, arXiv 2202.00512, appendix D). Times count
from 0, hardly noised, to T - 1, hardly anything else.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from limner.errors import ConfigError, UsageError, quote
from limner.nn.checks import check_choice

NOISE_SCHEDULES = {
    "linear": "The variance added at each time grows evenly (arXiv 2006.11239).",
    "cosine": "The signal's share falls as a squared cosine (arXiv 2102.09672, equation 17).",
}
PREDICTIONS = {
    "noise": "The unit noise that was added.",
    "start": "The thing itself, without noise.",
    "v": "The speed at which signal turns to noise; as well scaled at every time.",
}
SPACINGS = ("trailing", "ends")


def time_features(times: Tensor, width: int) -> Tensor:
    """Return sines and cosines (B, width) of times (B,), as arXiv 1706.03762, section 3.5.

    `width` is even.
    """
    half = width // 2
    frequencies = torch.exp(-math.log(10_000) * torch.arange(half, device=times.device) / half)
    angles = times[:, None].float() * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=1)


@dataclass(frozen=True)
class Levels:
    """The times (n) that a sampler visits, noisiest first, and signal a and noise s at each.

    `signal` and `noise` hold n + 1 numbers; the last ones are 1 and 0, the clean end.
    """

    times: tuple[int, ...]
    signal: tuple[float, ...]
    noise: tuple[float, ...]

    def last(self, share: float) -> "Levels":
        """Return the last of the levels, a share in (0, 1] of them: those with least noise."""
        first = len(self.times) - max(1, round(share * len(self.times)))
        return Levels(self.times[first:], self.signal[first:], self.noise[first:])


@dataclass(frozen=True)
class Process:
    """A way from clean to noise in `times` steps, and what the network that goes back predicts.

    `spacing` is of the levels that are visited: "trailing", or "ends", which visits time 0 too.
    Raises ConfigError for an unknown name, or fewer than 2 times.
    """

    schedule: str = "cosine"
    prediction: str = "v"
    times: int = 1000
    spacing: str = "trailing"

    def __post_init__(self) -> None:
        check_choice(self, "schedule", NOISE_SCHEDULES)
        check_choice(self, "prediction", PREDICTIONS)
        check_choice(self, "spacing", SPACINGS)
        if not 2 <= self.times <= 2**16:
            raise ConfigError(f"times is {self.times}; expected 2 to {2**16}")

    @property
    def kept(self) -> Tensor:
        """The share a_t^2 of the signal's variance at every time (T,), in double precision."""
        steps = torch.arange(self.times, dtype=torch.float64)
        if self.schedule == "linear":  # 1e-4 to 0.02 for a thousand times, scaled to others
            added = torch.linspace(0.1, 20, self.times, dtype=torch.float64) / self.times
        else:
            added = 1 - _cosine((steps + 1) / self.times) / _cosine(steps / self.times)
        return (1 - added.clamp_max(0.999)).cumprod(0)

    def at(self, times: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """Return a_t and s_t of times (B,), shaped and typed to scale `like` (B, ...)."""
        kept = self.kept.to(times.device)[times].view(-1, *[1] * (like.ndim - 1))
        return kept.sqrt().to(like), (1 - kept).sqrt().to(like)

    def noised(self, start: Tensor, noise: Tensor, times: Tensor) -> Tensor:
        """Return x_t (B, ...) of clean things (B, ...), unit noise (B, ...) and times (B,)."""
        a, s = self.at(times, start)
        return a * start + s * noise

    def target(self, start: Tensor, noise: Tensor, times: Tensor) -> Tensor:
        """Return what the network should predict of `noised(start, noise, times)`."""
        a, s = self.at(times, start)
        return {"noise": noise, "start": start, "v": a * noise - s * start}[self.prediction]

    def start(self, x: Tensor, output: Tensor, times: Tensor) -> Tensor:
        """Return the clean thing x_0 that a prediction says x_t is made of."""
        a, s = self.at(times, x)
        if self.prediction == "noise":
            return (x - s * output) / a
        return output if self.prediction == "start" else a * x - s * output

    def loss(self, output: Tensor, target: Tensor, times: Tensor) -> Tensor:
        """Return the mean squared error of predictions (B, ...), each as it weighs for v.

        v = (a x_t - x_0) / s, so a fault of x_0 counts 1 / s_t^2 times, and at most 5 times, as in
        arXiv 2303.09556, section 3.4. Errors of noise and v are taken as they are.
        """
        errors = (output - target).square().flatten(1).mean(1)
        if self.prediction == "start":
            _, s = self.at(times, errors)
            errors = errors * s.square().reciprocal().clamp_max(5)
        return errors.mean()

    def levels(self, steps: int) -> Levels:
        """Return evenly spaced levels; UsageError unless `steps` is in [1, T].

        The first is the noisiest time ("trailing", Lin 2023, arXiv 2305.08891, section 3.3).
        """
        check_whole("steps", steps, self.times)
        if self.spacing == "trailing" or steps == 1:
            times = [round(self.times - i * self.times / steps) - 1 for i in range(steps)]
        else:
            width = (self.times - 1) / (steps - 1)
            times = [round(i * width) for i in reversed(range(steps))]
        kept = [*self.kept[times].tolist(), 1.0]
        noise = tuple(math.sqrt(1 - share) for share in kept)
        return Levels(tuple(times), tuple(math.sqrt(share) for share in kept), noise)


def check_whole(name: str, value: object, most: int) -> None:
    """Raise UsageError unless the value of `name` is a whole number in [1, most]."""
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise UsageError(
            f"{name} is {quote(value)}; expected a whole number of 1 to {most}", param=name
        )


def _cosine(share: Tensor) -> Tensor:
    return torch.cos((share + 0.008) / 1.008 * math.pi / 2).square()
