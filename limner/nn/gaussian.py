"""Gaussians with a variance of their own at each place."""

from torch import Tensor


def normal_divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Return KL(N(mean, variance) || N(0, 1)) in nats (B,) of (B, ...) both, summed.

    Kingma 2013, arXiv 1312.6114, appendix B.
    """
    terms = mean.square() + log_variance.exp() - 1 - log_variance
    return 0.5 * terms.flatten(1).sum(1)
