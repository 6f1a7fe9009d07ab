"""Contrastive losses as pure functions of unit vectors.

Shapes: B pairs of picture and text, N texts that fit no picture, D dimensions. Row i of `images`
belongs to row i of `texts`. A loss sees a whole batch at once: whoever trains on several ranks
gathers their vectors first, with gradients, and gives all of them.
"""

from collections.abc import Callable
from math import log

import torch
from torch import Tensor
from torch.nn import functional as F

SCALE_LIMIT = log(100)  # of the log scale: a sharper softmax does not train (arXiv 2103.00020, 2.5)


def contrastive_loss(
    images: Tensor, texts: Tensor, scale: Tensor, bias: Tensor | None = None,
    negatives: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Return the mean cross-entropy in nats of choosing the text of a picture and the reverse.

    Radford 2021, arXiv 2103.00020, figure 3. `negatives` (N, D) are more texts that no picture may
    choose; `bias` changes nothing here.
    """
    logits = scale * images @ texts.T  # (B, B)
    target = torch.arange(len(images), device=images.device)
    choices = logits
    if negatives is not None:
        choices = torch.cat([logits, scale * images @ negatives.T], dim=1)  # (B, B + N)
    return (F.cross_entropy(choices, target) + F.cross_entropy(logits.T, target)) / 2


def sigmoid_loss(
    images: Tensor, texts: Tensor, scale: Tensor, bias: Tensor | None = None,
    negatives: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Return the negative log-likelihood in nats a picture of all pairs, each right or wrong.

    SigLIP (Zhai 2023, arXiv 2303.15343, algorithm 1); `negatives` (N, D) are wrong with every
    picture.
    """
    every = texts if negatives is None else torch.cat([texts, negatives])
    logits = scale * images @ every.T + (0.0 if bias is None else bias)  # (B, B + N)
    # Every pair is a question of its own: 1 on the diagonal, -1 elsewhere.
    signs = 2 * torch.eye(*logits.shape, device=logits.device) - 1
    return -F.logsigmoid(signs * logits).sum() / len(images)


def naming_loss(images: Tensor, names: Tensor, shown: Tensor, scale: Tensor) -> Tensor:
    """Return the mean cross-entropy in nats of naming what a picture shows, among all `names`.

    `names` (K, D) are texts, `shown` (B, K) how much of a picture each is: a distribution, or zeros
    for a picture that is not asked (UniCL, Yang 2022, arXiv 2204.03610, equation 3: a name is right
    for every picture that shows it).
    """
    return F.cross_entropy(scale * images @ names.T, shown)


LOSSES: dict[str, Callable[..., Tensor]] = {
    "contrastive": contrastive_loss,
    "sigmoid": sigmoid_loss,
}
