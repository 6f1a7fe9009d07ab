"""Every prior trains over codecs of one map, of several codes a cell, and of several maps."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from limner.checkpoint.model import load_checkpoint
from limner.codecs import CODECS, create_codec
from limner.errors import ConfigError
from limner.train.config.run import TrainConfig
from limner.train.config.shared import DataConfig, LoopConfig
from limner.train.inputs import caches
from limner.train.loop import train
from limner.train.parts import save_codec
from limner.train.prior.settings import PriorTraining
from limner.types import Request
from tests.tiny_model import CODEC, Averages, AveragesConfig

PRIORS: dict[str, dict[str, Any]] = {
    "gpt": {"layers": 1},
    "next_scale": {"layers": 1},
    "crf": {"text_layers": 1, "layers": 1, "rank": 4, "iterations": 2, "sweeps": 2},
}
CODEC_CONFIGS: dict[str, dict[str, Any]] = {
    "groups": CODEC | {"groups": 2},
    "maps": {"name": "averages"},
}
CASES = [
    (name, codec) for name in PRIORS for codec in CODEC_CONFIGS if (name, codec) != ("crf", "maps")
]


@pytest.fixture(autouse=True)
def surroundings(emoji_font: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIMNER_FONT", str(emoji_font))
    monkeypatch.setattr(caches, "TOKENIZER_SCENES", 60)
    monkeypatch.setitem(CODECS, "averages", (AveragesConfig, Averages))


def run_of(folder: Path, name: str, codec: str, **training: Any) -> TrainConfig:
    """Return a run of two steps over a codec that it first writes to `folder`."""
    torch.manual_seed(0)
    config = CODEC_CONFIGS[codec]
    save_codec(create_codec(config), config, folder / "codec.safetensors")
    return TrainConfig(
        "prior",
        str(folder / "run"),
        codec_from=str(folder),
        text_length=12,
        data=DataConfig(cached=64, captions=2, held_for_validation=8),
        loop=LoopConfig(steps=2, batch=4, warmup=1, optimizer="muon"),
        tables={
            "prior": {"name": name, "width": 16, "heads": 2, "hidden": 16, **PRIORS[name]},
            "prior_training": PriorTraining(caption_dropout=0.5, **training),
        },
    )


@pytest.mark.parametrize(("name", "codec"), CASES)
def test_a_prior_trains_over_a_codec_and_draws(name: str, codec: str, tmp_path: Path) -> None:
    *_, last = train(run_of(tmp_path, name, codec))
    assert set(last.validation) == {"validation", "held_out", "uncaptioned"}
    assert all(0 < value < 5 for value in last.validation.values())
    saved = json.loads((tmp_path / "run" / "model" / "config.json").read_text())["prior"]
    built = create_codec(CODEC_CONFIGS[codec])
    assert saved["maps"] == [list(each) for each in built.maps]
    assert saved["levels"] == ([4, 4] if codec == "groups" else [])
    model = load_checkpoint(tmp_path / "run" / "model")
    *_, step = model.stream(Request("a red apple", n=2, seed=1))
    assert step.images.shape == (2, 3, 16, 16)


@pytest.mark.parametrize(
    ("name", "codec", "over"), [("next_scale", "groups", "one map"), ("gpt", "maps", "2 maps")]
)
def test_a_random_order_needs_a_prior_that_can(
    name: str, codec: str, over: str, tmp_path: Path
) -> None:
    config = run_of(tmp_path, name, codec, random_order_until=0.5)
    with pytest.raises(ConfigError, match=f"is 0.5, but '{name}' over {over} has one order"):
        next(train(config))


def test_a_field_refuses_a_codec_of_several_maps(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="a field lies over one map"):
        next(train(run_of(tmp_path, "crf", "maps")))
