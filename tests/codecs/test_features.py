"""Perceptual features: shapes, weights that come back, and a refusal of what is none."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from limner.codecs.features import FeatureNetwork
from limner.errors import CheckpointError


def network() -> FeatureNetwork:
    torch.manual_seed(0)
    return FeatureNetwork(objects=5, colours=3, channels=8)


@torch.no_grad()
def test_features_at_three_scales_and_two_answers() -> None:
    images = torch.rand(2, 3, 64, 64) * 2 - 1
    shapes = [tuple(each.shape) for each in network()(images)]
    assert shapes == [(2, 8, 32, 32), (2, 16, 16, 16), (2, 32, 8, 8)]
    objects, colours = network().classify(images)
    assert objects.shape == (2, 5) and colours.shape == (2, 3)


@torch.no_grad()
def test_weights_come_back(tmp_path: Path) -> None:
    path = tmp_path / "features.safetensors"
    save_file(network().state_dict(), path)
    images = torch.rand(1, 3, 64, 64)
    for one, other in zip(network()(images), FeatureNetwork.load(path)(images), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("harm", ["gone", "cut", "foreign", "other shapes", "a folder"])
def test_what_holds_no_features_is_refused(harm: str, tmp_path: Path) -> None:
    path = tmp_path / "features.safetensors"
    tensors = network().state_dict()
    save_file(tensors, path)
    match harm:
        case "gone":
            path.unlink()
        case "cut":
            path.write_bytes(path.read_bytes()[:-10])
        case "foreign":
            save_file({"a": torch.zeros(1)}, path)
        case "other shapes":
            save_file(tensors | {"objects.bias": torch.zeros(6)}, path)
        case "a folder":
            path = tmp_path
    with pytest.raises(
        CheckpointError, match=r"holds no perceptual features \(.+\); give"
    ) as caught:
        FeatureNetwork.load(path)
    assert len(str(caught.value)) <= 400
