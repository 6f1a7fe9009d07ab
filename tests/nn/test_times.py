"""Times as sines and cosines."""

import torch

from limner.nn.times import time_features


def test_every_time_has_features_of_its_own() -> None:
    features = time_features(torch.arange(1000), 16)
    assert features.shape == (1000, 16) and features.abs().max() <= 1
    apart = torch.cdist(features, features) + 9 * torch.eye(1000)
    assert apart.min() > 0.01
    torch.testing.assert_close(features[5, 0], torch.tensor(5.0).sin())
    torch.testing.assert_close(features[:, :8] ** 2 + features[:, 8:] ** 2, torch.ones(1000, 8))
