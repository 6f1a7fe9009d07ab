"""Gaussians with a variance of their own at each place."""

import torch

from limner.nn.gaussian import normal_divergence


def test_divergence_is_that_of_torch() -> None:
    mean, log_variance = torch.randn(2, 3, 4, 4), torch.randn(2, 3, 4, 4)
    ours = torch.distributions.Normal(mean, (log_variance / 2).exp())
    standard = torch.distributions.Normal(torch.zeros(()), torch.ones(()))
    wanted = torch.distributions.kl_divergence(ours, standard).sum((1, 2, 3))
    torch.testing.assert_close(normal_divergence(mean, log_variance), wanted)
    assert normal_divergence(torch.zeros(2, 3), torch.zeros(2, 3)).tolist() == [0, 0]
