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

from limner.evaluate.metrics.figure import Figure
from limner.evaluate.resampling import Estimate, bootstrap_mean

AT_ONCE = 32  # pictures in one pass, at most
LOGITS = 2**26  # in one pass: 256 MiB in fp32

Asked = tuple[Sequence[str], Tensor]  # prompts, and their true pictures (N, 3, H, W) in [-1, 1]
Watch = Callable[[str, int, int], None]  # stage, pictures done, pictures in all


@dataclass(frozen=True)
class TokenPrior:
    """A prior to measure: `nats` of prompts and true pictures is the mean a code of each, (B,).

    A picture has `codes` codes of `vocabulary` values; `of` says what the likelihood is of.
    """

    nll: Callable[[Sequence[str], Tensor], Tensor]
    codes: int
    vocabulary: int
    of: str

    @property
    def at_once(self) -> int:
        """How many pictures go through in one pass, so that the logits fit into memory."""
        return max(1, min(AT_ONCE, LOGITS // (self.codes * self.vocabulary)))


@dataclass(frozen=True)
class Likelihoods:
    """Nats a code by set, each the mean over its pictures; `codes` a picture, `of` as TokenPrior.

    Intervals are bootstrapped over pictures.
    """

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

    def figures(self, name: str) -> list[Figure]:
        """Return both measures of a set as figures."""
        return [
            Figure("NLL, nats a code", self.nll[name], "lower", f"true pictures: {self.of}"),
            Figure("NLL, bits a picture", self.bits(name), "lower", f"{self.codes} codes each"),
        ]

    def to_json(self) -> dict[str, Any]:
        """Return what it is of, the codes a picture, and both measures by set."""
        sets = {
            name: {"nats": nats.to_json(), "bits": self.bits(name).to_json()}
            for name, nats in self.nll.items()
        }
        return {"of": self.of, "codes": self.codes, "sets": sets}


def measure_prior(
    prior: TokenPrior,
    sets: Mapping[str, Asked],
    *,
    watch: Watch = lambda stage, done, total: None,
) -> Likelihoods:
    """Return the negative log-likelihood of each set's true pictures, given their prompts."""
    return Likelihoods(
        prior.of,
        prior.codes,
        {name: bootstrap_mean(_nats(prior, name, each, watch)) for name, each in sets.items()},
    )


def _nats(prior: TokenPrior, name: str, asked: Asked, watch: Watch) -> Any:
    prompts, images = asked
    parts = []
    for first in range(0, len(prompts), prior.at_once):
        watch(f"NLL of {name}", first, len(prompts))
        group = slice(first, first + prior.at_once)
        parts.append(prior.nll(prompts[group], images[group]).double().cpu())
    watch(f"NLL of {name}", len(prompts), len(prompts))
    return torch.cat(parts).numpy()
