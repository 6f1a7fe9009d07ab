"""What a codec that reads things finds in drawn latents beside true ones, as a loss.

Shapes: B pictures, G numbers of each of h x w cells, A answers of one question.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from limner.nn.things import ThingsDecoder

_LEAST = 1e-2  # of an expected number: its logarithm is bounded


def expected_numbers(decoder: ThingsDecoder, latents: Tensor) -> list[Tensor]:
    """Return how many things of each answer (B, A) to each question latents (B, G, h, w) show.

    A thing's middle is in one cell, so the sum over cells of how likely it is there is a number.
    Things that nothing known names do not count.
    """
    _, names, places = decoder.reader(decoder.cells(latents))
    here = places[:, :1].float().sigmoid()
    likely = [each.float().softmax(1) for each in names[:-1]]  # the last is the backdrop
    known = here * (1 - likely[0][:, :1])  # answer 0 of the first question is nothing
    shares = [here * likely[0][:, 1:], *(known * each for each in likely[1:])]
    return [each.flatten(2).sum(2) for each in shares]


def naming_loss(drawn: Sequence[Tensor], true: Sequence[Tensor]) -> Tensor:
    """Return how far drawn numbers of things (B, A) are from true ones, in nats; 0 where equal.

    Each is the mean of a Poisson distribution: -log p(true | drawn), less what the truth has.
    """
    total = torch.zeros((), device=drawn[0].device)
    for ours, theirs in zip(drawn, true, strict=True):
        ratio = (ours + _LEAST).log() - (theirs + _LEAST).log()
        total = total + (ours - theirs - (theirs + _LEAST) * ratio).sum(1).mean()
    return total
