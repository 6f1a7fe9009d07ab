"""How likely a token prior finds true pictures: the negative log-likelihood of their codes.

Both measures compare priors over one codec alone: another codec keeps more or less of a picture, in
other codes, and the prior of a poor codec has less to tell.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import log
from typing import Any

import torch
from torch import Tensor

from limner.evaluate.drawing import Watch, groups, quiet
from limner.evaluate.resampling import Estimate, Metric, bootstrap_mean

AT_ONCE = 32  # pictures in one pass, at most
LOGITS = 2**26  # in one pass: 256 MiB in fp32

PromptedPictures = tuple[
    Sequence[str], Tensor
]  # prompts, and their true pictures (N, 3, H, W) in [-1, 1]


@dataclass(frozen=True)
class MeasuredPrior:
    """A prior to measure."""

    nll: Callable[[Sequence[str], Tensor], Tensor]  # prompts, pictures -> mean a code of each (B,)
    codes: int  # of a picture
    vocabulary: int  # values that a code may have
    of: str  # what the likelihood is of, in words

    @property
    def at_once(self) -> int:
        """How many pictures go through in one pass, so that the logits fit into memory."""
        return max(1, min(AT_ONCE, LOGITS // (self.codes * self.vocabulary)))


@dataclass(frozen=True)
class Likelihoods:
    """Nats a code by set, each the mean over its pictures, bootstrapped over them."""

    of: str
    codes: int
    nll: Mapping[str, Estimate]

    @property
    def about(self) -> str:
        """What the figures are, in a sentence."""
        return (
            f"Negative log-likelihood of {self.codes} codes a picture, of {self.of}, with 95 % "
            "bootstrap intervals; only priors over one codec compare."
        )

    def bits(self, name: str) -> Estimate:
        """Return the bits a picture of a set."""
        found, scale = self.nll[name], self.codes / log(2)
        return Estimate(found.value * scale, found.low * scale, found.high * scale, found.n)

    def metrics(self, name: str) -> list[Metric]:
        """Return both measures of a set as figures."""
        return [
            Metric("NLL, nats a code", self.nll[name], "lower", f"true pictures: {self.of}"),
            Metric("NLL, bits a picture", self.bits(name), "lower", f"{self.codes} codes each"),
        ]

    def to_json(self) -> dict[str, Any]:
        """Return what it is of, the codes a picture, and both measures by set."""
        sets = {
            name: {"nats": nats.to_json(), "bits": self.bits(name).to_json()}
            for name, nats in self.nll.items()
        }
        return {"of": self.of, "codes": self.codes, "sets": sets}


def measure_prior(
    prior: MeasuredPrior, sets: Mapping[str, PromptedPictures], *, watch: Watch = quiet
) -> Likelihoods:
    """Return the negative log-likelihood of each set's true pictures, given their prompts."""
    return Likelihoods(
        prior.of,
        prior.codes,
        {name: bootstrap_mean(_nll(prior, name, each, watch)) for name, each in sets.items()},
    )


def _nll(prior: MeasuredPrior, name: str, asked: PromptedPictures, watch: Watch) -> Any:
    prompts, images = asked
    parts = [
        prior.nll(prompts[group], images[group]).double().cpu()
        for group in groups(len(prompts), prior.at_once, watch, f"NLL of {name}")
    ]
    return torch.cat(parts).numpy()
