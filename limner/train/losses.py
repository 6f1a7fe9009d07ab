"""Losses as pure functions. Images are (B, 3, H, W) in [-1, 1]."""

from collections.abc import Callable
from math import log

import torch
from torch import Tensor
from torch.nn import functional as F

from limner.codecs.dvae import map_pixels
from limner.nn.ranks import all_reduce_mean

_AROUND = 17  # pixels that a detail is smaller than


def pixel_loss(reconstruction: Tensor, images: Tensor, detail: float = 0.0) -> Tensor:
    """Return L1 + L1 of the picture's gradients + half the squared error.

    With `detail` a pixel counts so many times more as it is brighter or darker, by half the range,
    than those around it: else a star of thirty pixels is nothing to a sky of sixty thousand.
    """
    error = reconstruction - images
    if detail:
        around = F.avg_pool2d(images, _AROUND, 1, _AROUND // 2, count_include_pad=False)
        error = error * (1 + detail * (images - around).abs().mean(1, keepdim=True))
    # Of edges: a blurred one has small errors, and a large error of its gradient.
    gradient = (error[..., 1:] - error[..., :-1]).abs().mean() + (
        error[..., 1:, :] - error[..., :-1, :]
    ).abs().mean()
    return error.abs().mean() + gradient + 0.5 * error.square().mean()


def logit_laplace_loss(output: Tensor, images: Tensor) -> Tensor:
    """Return the mean negative log-likelihood in nats a pixel value, of values in (0, 1).

    `output` (B, 6, H, W) holds the means and the log scales of Laplace distributions of the values'
    logits (Ramesh 2021, arXiv 2102.12092, appendix A.3, equation 2).
    """
    values = map_pixels(images)
    mean, log_scale = output.chunk(2, dim=1)
    error = (values.logit() - mean).abs() * (-log_scale).exp()
    return (error + log_scale + log(2) + (values * (1 - values)).log()).mean()


RECONSTRUCTION: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "pixels": pixel_loss,
    "logit_laplace": logit_laplace_loss,
}


def perceptual_loss(features: list[Tensor], targets: list[Tensor]) -> Tensor:
    """Return the mean distance of unit-normalised features (B, C, H, W), level by level.

    As LPIPS without learned weights (Zhang 2018, arXiv 1801.03924, equation 1).
    """
    terms = [
        (F.normalize(ours.float(), dim=1) - F.normalize(theirs.float(), dim=1))
        .square()
        .sum(1)
        .mean()
        for ours, theirs in zip(features, targets, strict=True)
    ]
    return torch.stack(terms).mean()


def shrunk(images: Tensor, side: int) -> Tensor:
    """Return images (B, 3, side, side) by the mean of each area; as they are for a side of 0."""
    return F.interpolate(images, side, mode="area") if side else images


def adaptive_weight(reconstruction: Tensor, adversarial: Tensor, last_layer: Tensor) -> Tensor:
    """Return the weight at which the adversarial loss pulls as hard as the reconstruction's.

    The ratio of the norms of both gradients at the decoder's last layer, over the pictures of all
    ranks, without a gradient of its own (Esser 2020, arXiv 2012.09841, equation 7; at most 10,000
    as in its code).
    """
    ours = all_reduce_mean(torch.autograd.grad(reconstruction, last_layer, retain_graph=True)[0])
    theirs = all_reduce_mean(torch.autograd.grad(adversarial, last_layer, retain_graph=True)[0])
    return (ours.norm() / (theirs.norm() + 1e-6)).clamp(max=1e4).detach()


def centred_cosine(vectors: Tensor, targets: Tensor) -> Tensor:
    """Return the cosine in [-1, 1] of each of `vectors` (B, D) and its target, about their mean.

    The targets' mean is taken off both, as what all pictures share says nothing of any: a picture
    that shows the same thing for all has about 0.
    """
    middle = targets.mean(0)  # of the targets: ours may be far away
    return F.cosine_similarity(vectors - middle, targets - middle)
