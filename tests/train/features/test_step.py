"""Steps measure as many held-out scenes as they were told to, no more and no fewer."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from limner.train.codec.settings import CodecTraining
from limner.train.codec.step import CodecStep
from limner.train.config.run import TrainConfig
from limner.train.config.shared import DataConfig, LoopConfig
from limner.train.features import step as features_step
from limner.train.steps import create_step

CODEC: dict[str, Any] = {
    "name": "fsq",
    "size": 16,
    "levels": [4, 4],
    "groups": 2,
    "encoder_channels": [8, 8, 8],
    "encoder_blocks": [0, 0, 0],
    "decoder_channels": [8, 8, 8],
    "decoder_blocks": [0, 0, 0],
}
LOOP = LoopConfig(steps=2, batch=2, bf16=False)


@pytest.fixture(autouse=True)
def font_found(emoji_font: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIMNER_FONT", str(emoji_font))


@pytest.mark.parametrize("count", [1, 70])
def test_features_are_measured_on_so_many_scenes(count: int) -> None:
    torch.manual_seed(0)
    data = DataConfig(held_for_validation=count)
    step = create_step(TrainConfig("features", "x", data=data, loop=LOOP))
    assert isinstance(step, features_step.FeaturesStep)
    shown: list[int] = []

    def count_rows(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        shown.append(len(inputs[0]))

    step.network.objects.register_forward_hook(count_rows)
    found = step.validate()
    assert sum(shown) == count
    for share in found.values():
        assert (share * count) == pytest.approx(round(share * count), abs=1e-4)


def test_features_learn_and_serve_a_codec(tmp_path: Path) -> None:
    step = create_step(TrainConfig("features", str(tmp_path), loop=LOOP))
    step.start(0)
    numbers = [step(0), step(1)]
    assert all(each["loss"] > 0 and each["gradient_norm"] > 0 for each in numbers)
    step.export(tmp_path)
    training = CodecTraining(
        perceptual=0.5, perceptual_weights=str(tmp_path / features_step.FEATURES_FILE)
    )
    config = TrainConfig("codec", "x", loop=LOOP, tables={"codec": CODEC | {"size": 64}})
    torch.manual_seed(0)
    plain = CodecStep(config)
    torch.manual_seed(0)
    judged = CodecStep(
        TrainConfig(
            "codec",
            "x",
            loop=LOOP,
            tables={"codec": CODEC | {"size": 64}, "codec_training": training},
        )
    )
    for each in (plain, judged):
        each.start(0)
    assert judged(0)["loss"] > plain(0)["loss"]
