"""The configs of codecs: one for each name, of one budget, that can be built."""

from pathlib import Path

import pytest
import torch

from limner.codecs import autoencoders, create_autoencoder
from limner.train.config import TrainConfig, read_config

FOLDER = Path(__file__).resolve().parent.parent / "configs" / "codecs"


def config_of(name: str) -> TrainConfig:
    return read_config(FOLDER / f"{name}.toml")


@pytest.mark.parametrize("name", autoencoders())
def test_every_codec_has_a_config_that_builds_it(name: str) -> None:
    config = config_of(name)
    assert config.task == "codec" and config.codec["name"] == name
    assert config.out == f"runs/codecs/{name}"
    with torch.device("meta"):
        codec = create_autoencoder(config.codec)
    assert codec.grid == (8, 8) and codec.config.size == 64
    assert 1e6 < sum(parameter.numel() for parameter in codec.parameters()) < 2e6


@pytest.mark.parametrize("name", autoencoders())
def test_the_budget_is_the_same_for_all(name: str) -> None:
    ours, reference = config_of(name), config_of("fsq")
    assert (ours.loop, ours.data) == (reference.loop, reference.data)
