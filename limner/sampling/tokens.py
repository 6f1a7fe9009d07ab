"""Token sampling as pure functions on logits (..., V).

Randomness comes in as uniform numbers, so that a picture depends on its own seed alone.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from limner.errors import UsageError

NOTHING = float("-inf")
LOG2_E = math.log2(math.e)
GUIDED = (1 / 8, 3 / 4)  # the share of the steps that the schedule "interval" guides


@dataclass(frozen=True)
class TokenSampling:
    """Resolved values of how tokens are chosen; `SAMPLERS` says what each does.

    `top_k` 0, `top_p` 1, `min_p` 0 and `typical_p` 1 keep all; `speculate` 0 is off.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    guidance: float = 0.0
    guidance_schedule: str = "constant"
    typical_p: float = 1.0
    speculate: int = 0

    LATER: ClassVar = ("typical_p", "speculate")  # folders written before them do not have them


def softmax(logits: Tensor) -> Tensor:
    """Return the probabilities of logits (..., V), computed by the thread that asks.

    `Tensor.softmax` and `exp` wake all of torch's threads for however few numbers. Those spin for a
    while where the kernel's threads should work, and wait for a core that another process has.
    """
    weights = ((logits - logits.amax(-1, keepdim=True)) * LOG2_E).exp2()
    return weights / weights.sum(-1, keepdim=True)


def keep_top_p(logits: Tensor, p: float) -> Tensor:
    """Keep the fewest tokens whose probability reaches p (Holtzman 2019, arXiv 1904.09751)."""
    if p >= 1:
        return logits
    # A token stays where those before it do not reach p yet: the likeliest always does.
    ordered, order = logits.sort(dim=-1, descending=True)
    chances = softmax(ordered)
    before = chances.cumsum(-1) - chances  # what is likelier together
    cut = torch.zeros_like(before, dtype=torch.bool).scatter(-1, order, before >= p)
    return logits.masked_fill(cut, NOTHING)


def keep_min_p(logits: Tensor, share: float) -> Tensor:
    """Keep tokens at least `share` as probable as the likeliest (arXiv 2407.01082)."""
    if share <= 0:
        return logits
    edge = logits.amax(dim=-1, keepdim=True) + math.log(share)
    return logits.masked_fill(logits < edge, NOTHING)


def guide(conditional: Tensor, unconditional: Tensor, scale: float | Tensor) -> Tensor:
    """Return logits pushed from the unconditional ones (Ho 2022, arXiv 2207.12598, equation 6).

    `scale` 0 gives the conditional logits, as w in the paper.
    """
    return conditional + scale * (conditional - unconditional)


def guide_halves(both: Tensor, scale: float | Tensor) -> Tensor:
    """Return `guide` of rows (2B, ...): B that know the text, then the same that do not."""
    with_text, without = both.chunk(2)
    return guide(with_text, without, scale)


def guidance_at(schedule: str, scale: float, step: int, total: int) -> float:
    """Return the guidance of a step: constant, or growing from zero ("linear", "ramp", "cosine").

    "ramp" is none in the first step and all in the last, as in VAR; the others have some at once.
    "interval" guides in the middle of the picture alone, as arXiv 2404.07724 does in the middle of
    denoising; where it is 0, the half of the work that guidance costs is not done.
    """
    share = (step + 1) / total  # of the picture, with this step
    if schedule == "interval":
        first, last = GUIDED
        return scale if first < share <= last else 0.0
    if schedule == "linear":
        return scale * share
    if schedule == "ramp":
        return scale * step / max(1, total - 1)
    if schedule == "cosine":
        return scale * 0.5 * (1 - math.cos(math.pi * share))
    return scale


def process(
    logits: Tensor, codes: Tensor, processors: Sequence[Callable[[Tensor, Tensor], Any]]
) -> Tensor:
    """Return logits (B, V) after each of `processors`, which get codes (B, K) drawn so far too.

    Raises UsageError for what is not logits of that shape, or forbids every code of a row.
    """
    for each in processors:
        found = each(codes, logits)
        if not isinstance(found, Tensor) or found.shape != logits.shape:
            got = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise UsageError(
                f"a logits processor returned {got}; expected logits {tuple(logits.shape)}, as it "
                "was given",
                param="logits_processors",
            )
        if bool(found.isnan().any()) or not bool((found > NOTHING).any(-1).all()):
            raise UsageError(
                "a logits processor left no code to choose from, or gave NaN; leave one of each "
                "row above -inf",
                param="logits_processors",
            )
        logits = found
    return logits


def choose(logits: Tensor, sampling: TokenSampling, uniforms: Tensor) -> Tensor:
    """Choose one token a row of logits (B, V) by uniform numbers (B,) in [0, 1).

    Temperature first, then top-k, min-p, top-p and typical; then the inverse of the cumulative
    distribution, so equal logits and numbers give equal tokens. Of tokens that tie for the last
    place of top-k not all are kept. Probabilities are in double precision.
    """
    kept, logits = _candidates(logits, sampling)
    chosen = draw(softmax(logits), uniforms)
    return chosen if kept is None else kept.gather(-1, chosen[:, None])[:, 0]


def probabilities(logits: Tensor, sampling: TokenSampling) -> Tensor:
    """Return the probability (B, V), fp64, with which `choose` takes each token."""
    kept, candidates = _candidates(logits, sampling)
    chances = softmax(candidates)
    if kept is None:
        return chances
    return chances.new_zeros(logits.shape).scatter(-1, kept, chances)


def draw(chances: Tensor, uniforms: Tensor) -> Tensor:
    """Choose one index a row of weights (B, V) by uniform numbers (B,) in [0, 1)."""
    # Weights need no sum of 1: the number is scaled to theirs. The largest may be rounded up to the
    # end, where no index is.
    cumulative = chances.cumsum(-1)
    targets = uniforms.double()[:, None] * cumulative[:, -1:]
    chosen = torch.searchsorted(cumulative, targets, right=True)
    return chosen.clamp_max(chances.shape[-1] - 1)[:, 0]


def _candidates(logits: Tensor, sampling: TokenSampling) -> tuple[Tensor | None, Tensor]:
    """Return the tokens that top-k keeps, None for all, and their logits in fp64, processed."""
    kept = None
    if 0 < sampling.top_k < logits.shape[-1]:  # the others need no probability
        kept = logits.topk(sampling.top_k, dim=-1, sorted=False).indices.sort(dim=-1).values
        logits = logits.gather(-1, kept)
    logits = logits.double() / sampling.temperature
    logits = keep_min_p(logits, sampling.min_p)
    logits = keep_top_p(logits, sampling.top_p)
    return kept, keep_typical(logits, sampling.typical_p)


def keep_typical(logits: Tensor, share: float) -> Tensor:
    """Keep the tokens nearest to the expected surprise, as few as reach `share` of probability.

    Locally typical sampling (Meister 2022, arXiv 2202.00666, equation 11). At least one stays.
    """
    if share >= 1:
        return logits
    # Tokens by the distance of their surprise from the entropy, its mean; as top-p, by that order.
    surprise = -logits.log_softmax(-1)
    chances = surprise.neg().exp()
    entropy = torch.special.entr(chances).sum(-1, keepdim=True)
    order = (surprise - entropy).abs().argsort(dim=-1, stable=True)
    ordered = chances.gather(-1, order)
    before = ordered.cumsum(-1) - ordered
    cut = torch.zeros_like(before, dtype=torch.bool).scatter(-1, order, before >= share)
    return logits.masked_fill(cut, NOTHING)


SAMPLERS = {
    "temperature": "Divide logits: below 1 plainer, above 1 wilder.",
    "top_k": "Choose among the k likeliest codes; 0 keeps all.",
    "top_p": "Choose among the likeliest codes that make up this share; 1 keeps all.",
    "min_p": "Drop codes below this share of the likeliest; 0 keeps all.",
    "guidance": "Push logits away from those without the prompt; 0 is off.",
    "guidance_schedule": "How guidance grows: constant, linear, ramp, cosine, interval.",
    "typical_p": "Choose among the codes of about average surprise that make up this share.",
    "speculate": "Compute up to this many cells a pass, the next ones as drafts; 0 is off.",
}
