"""The configs of codecs: one for each name, of one budget, that can be built."""

from pathlib import Path

import pytest
import torch

from limner.codecs import autoencoders, create_autoencoder
from limner.train.codec.settings import CodecTraining
from limner.train.config.run import TrainConfig
from limner.train.parts import codec_table
from limner.train.reading import read_config

FOLDER = Path(__file__).resolve().parent.parent / "configs" / "codecs"


def config_of(name: str) -> TrainConfig:
    return read_config(FOLDER / f"{name}.toml")


@pytest.mark.parametrize("name", autoencoders())
def test_every_codec_has_a_config_that_builds_it(name: str) -> None:
    config = config_of(name)
    assert config.task == "codec" and config.part("codec")["name"] == name
    assert config.out == f"runs/codecs/{name}"
    with torch.device("meta"):
        codec = create_autoencoder(config.part("codec"))
    assert codec.grid == (8, 8) and codec.config.size == 64
    assert 1e6 < sum(parameter.numel() for parameter in codec.parameters()) < 2e6


@pytest.mark.parametrize("name", autoencoders())
def test_the_budget_is_the_same_for_all(name: str) -> None:
    ours, reference = config_of(name), config_of("fsq")
    assert (ours.loop, ours.data) == (reference.loop, reference.data)


def test_the_codec_of_256_pixels_goes_on_from_that_of_64() -> None:
    """Its cells and codes are the default's, so that a prior costs what it costs now."""
    small, large = (read_config(FOLDER.parent / f"codec-256{part}.toml") for part in ("-small", ""))
    assert large.start_from == small.out and small.start_from == "limner/zoo/default"
    assert {config.settings(CodecTraining).features for config in (small, large)} == {
        "efficientnet-lite0"
    }
    given, _ = codec_table(FOLDER.parents[1] / small.start_from)
    with torch.device("meta"):
        codec, default = create_autoencoder(large.part("codec")), create_autoencoder(given)
    assert codec.maps == default.maps == ((8, 8),) and codec.config.size == 256
    assert (codec.vocabulary, codec.groups) == (default.vocabulary, default.groups)
    shapes = {name: tensor.shape for name, tensor in codec.state_dict().items()}
    assert {name: t.shape for name, t in default.state_dict().items()}.items() <= shapes.items()
