"""What a codec that reads things finds in drawn latents beside true ones, as a loss.

Shapes: B pictures, G numbers of each of h x w cells, A answers of one question, D of a token.
"""

from typing import NamedTuple

from torch import Tensor
from torch.nn import functional as F

from limner.nn.things import ThingsDecoder

_LEAST = 1e-2  # of an expected number: its logarithm is bounded
_WHOLE = 5.0  # nats that a mean squared difference of tokens is worth


class Reading(NamedTuple):
    """What latents show, wherever it stands: numbers of things, and what the whole is like.

    `numbers` of each question are how many things of each answer are expected (B, A), `whole` the
    mean of all cells' tokens (B, D), which also says what stands behind the things.
    """

    numbers: list[Tensor]
    whole: Tensor


def read(decoder: ThingsDecoder, latents: Tensor) -> Reading:
    """Return what latents (B, G, h, w) show.

    A thing's middle is in one cell, so the sum over cells of how likely it is there is a number.
    Things that nothing known names do not count.
    """
    tokens, names, places = decoder.reader(decoder.cells(latents))
    here = places[:, :1].float().sigmoid()
    likely = [each.float().softmax(1) for each in names[:-1]]  # the last is the backdrop
    known = here * (1 - likely[0][:, :1])  # answer 0 of the first question is nothing
    shares = [here * likely[0][:, 1:], *(known * each for each in likely[1:])]
    return Reading([each.flatten(2).sum(2) for each in shares], tokens.float().mean((2, 3)))


def naming_loss(drawn: Reading, true: Reading) -> Tensor:
    """Return how far what is drawn is from what is true, in nats; 0 where both are equal.

    Each number is the mean of a Poisson distribution: -log p(true | drawn), less what the truth
    has. The whole is compared by its squared difference, as in feature matching (Salimans 2016,
    arXiv 1606.03498, section 3.1), but picture by picture.
    """
    total = _WHOLE * F.mse_loss(drawn.whole, true.whole)
    for ours, theirs in zip(drawn.numbers, true.numbers, strict=True):
        ratio = (ours + _LEAST).log() - (theirs + _LEAST).log()
        total = total + (ours - theirs - (theirs + _LEAST) * ratio).sum(1).mean()
    return total
