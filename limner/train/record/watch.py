"""What a run is watched for: whether it still gets better, and signs of trouble in plain words.

Everything here is decided by the numbers of the run alone, and is part of its state: a resumed run
says and does what the unbroken one would have.
"""

import math
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Any

from limner.errors import NonFiniteError

SETTLED = 100  # steps before a loss can be called a spike
SPIKE = 8.0  # mean deviations above the running mean
QUIET = 100  # steps between two notes of the same kind
MEMORY = 0.98  # of the running means
COLLAPSED = 0.05  # share of codes used
GUESSING = 2.0  # hinge loss of a discriminator that says 0 to every picture
SURE = 0.05  # share of that, as a mean: it errs no more, and what it judges learns nothing of it
IN_A_ROW = 3  # validations, or batches left out


@dataclass
class Watch:
    """Running means of the loss, and what the last validations were like.

    `judged` names the number of validation that says how good a run is, and whether more of it (1)
    or less (-1) is better.
    """

    judged: str
    sign: int
    steps: int = 0
    mean: float = 0.0
    deviation: float = 0.0
    spiked_at: int = -QUIET
    best: float | None = None
    waited: int = 0
    unused: int = 0
    skipped: int = 0
    judge: float = GUESSING  # the discriminator's; these names are in states
    judge_steps: int = 0
    judged_at: int = -QUIET
    history: list[list[float]] = field(default_factory=list)  # judged, and the mean loss then

    def after_step(self, loss: float, step: int, discriminator: float | None = None) -> list[str]:
        """Take the loss of a step, and of a discriminator; return what a person should know."""
        told = [] if discriminator is None else self._sure(discriminator, step)
        self.skipped, self.steps = 0, self.steps + 1
        if self.steps == 1:  # a mean of nothing is no mean
            self.mean = loss
        away = loss - self.mean
        before = self.mean  # told, because the mean takes the spike in
        spike = self.steps > SETTLED and away > SPIKE * max(self.deviation, 1e-6)
        self.mean += (1 - MEMORY) * away  # the spike too: a new level is no spike for long
        self.deviation += (1 - MEMORY) * (abs(away) - self.deviation)
        if not spike or step - self.spiked_at < QUIET:
            return told
        self.spiked_at = step
        return [
            *told,
            f"the loss jumped to {loss:.4g} at step {step}, from about {before:.4g}; if it does "
            "not come down again, lower loop.learning_rate",
        ]

    def after_skip(self, error: NonFiniteError, step: int) -> list[str]:
        """Take a batch that was left out; raise its error at the third in a row."""
        self.skipped += 1
        if self.skipped == IN_A_ROW:
            raise error
        return [f"the batch of step {step} was left out: its loss or gradient is not finite"]

    def after_validation(self, numbers: dict[str, float]) -> list[str]:
        """Take a validation; return what a person should know."""
        value = numbers.get(self.judged)
        if value is None or not math.isfinite(value):
            return []
        if self.best is None or self.sign * value > self.sign * self.best:
            self.best, self.waited = value, 0
        else:
            self.waited += 1
        return [*self._collapse(numbers), *self._overfit(value)]

    def gave_up(self, patience: int) -> bool:
        """Say whether the last `patience` validations were none of them the best; 0 is never."""
        return 0 < patience <= self.waited

    def state(self) -> dict[str, Any]:
        """Return all as JSON values."""
        return asdict(self)

    def restore(self, state: Any) -> None:
        """Take what `state` returned; a state of an older limner has none, and starts anew."""
        if isinstance(state, dict):
            for name in set(state) & set(asdict(self)) - {"judged", "sign"}:
                setattr(self, name, state[name])

    def _sure(self, loss: float, step: int) -> list[str]:
        self.judge_steps += 1
        self.judge += (1 - MEMORY) * (loss - self.judge)
        settled = self.judge_steps > SETTLED and step - self.judged_at >= SETTLED
        if not settled or self.judge > SURE * GUESSING:
            return []
        self.judged_at, self.judge_steps = step, 0  # not again at every step
        return [
            f"the discriminator no longer errs (its loss is about {self.judge:.2g}, and "
            f"{GUESSING:g} means that it guesses): the codec learns nothing from it; lower "
            "codec_training.adversarial, or let it join later with codec_training.adversarial_from"
        ]

    def _collapse(self, numbers: dict[str, float]) -> list[str]:
        used = numbers.get("codes_used")
        self.unused = self.unused + 1 if used is not None and used < COLLAPSED else 0
        if used is None or self.unused != IN_A_ROW:
            return []
        return [
            f"collapse: only {used:.1%} of the codes are used, for {IN_A_ROW} validations; lower "
            "loop.learning_rate, or give the codec fewer codes"
        ]

    def _overfit(self, value: float) -> list[str]:
        self.history = [*self.history[-IN_A_ROW:], [value, self.mean]]
        if len(self.history) <= IN_A_ROW:
            return []
        values, losses = zip(*self.history, strict=True)
        worse = all(self.sign * b < self.sign * a for a, b in pairwise(values))
        lower = all(b < a for a, b in pairwise(losses))
        if not (worse and lower):
            return []
        self.history = []  # told once, then watched anew
        return [
            f"the loss falls, but {self.judged} got worse {IN_A_ROW} times in a row, to "
            f"{value:.4g}: the model learns its pictures by heart; give it more of them, or stop "
            "early with loop.patience"
        ]
