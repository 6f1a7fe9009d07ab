"""The plan of a run against the run itself: parameters, FLOPs and bytes, counted by torch."""

import dataclasses
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from limner.codecs import create_autoencoder
from limner.errors import ConfigError
from limner.train.codec.cost import cost_of_codec
from limner.train.codec.settings import CodecTraining
from limner.train.codec.step import CodecStep
from limner.train.config.run import TrainConfig
from limner.train.config.shared import DataConfig, LoopConfig
from limner.train.parts import save_codec
from limner.train.plan.plan import GIB, Hardware, make_plan, memory, this_processor
from limner.train.prior.cost import cost_of_prior
from limner.train.prior.step import PriorStep
from tests.tiny_model import CODEC

VQ = {**{k: v for k, v in CODEC.items() if k != "levels"}, "name": "vqvae", "codebook": 32}
FINE = CODEC | {"size": 32, "encode_size": 16, "fine_channels": [8], "fine_blocks": [1]}
PRIOR = {"name": "gpt", "width": 32, "layers": 2, "heads": 2, "hidden": 48}
LOOP = LoopConfig(steps=10, batch=8, bf16=False)
MACHINE = Hardware("H", 1e9, GIB, 0.5, "test")


def codec_run(codec: dict[str, Any], **training: Any) -> TrainConfig:
    return TrainConfig(
        "codec",
        "x",
        loop=LOOP,
        tables={"codec": codec, "codec_training": CodecTraining(**training)},
    )


def prior_run(out: Path, optimizer: str = "adamw", **prior: Any) -> TrainConfig:
    save_codec(create_autoencoder(CODEC), CODEC, out / "codec.safetensors")
    return TrainConfig(
        "prior",
        str(out / "run"),
        codec_from=str(out),
        text_length=12,
        data=DataConfig(cached=64, captions=2, held_for_validation=8),
        loop=dataclasses.replace(LOOP, optimizer=optimizer),
        tables={"prior": {**PRIOR, **prior}},
    )


def flops_of(step: Any, number: int = 0) -> int:
    """Return what torch counts in one real step, attention in plain products."""
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        step(number)
    return int(counter.get_total_flops())


@pytest.mark.parametrize(
    ("codec", "training"),
    [
        (CODEC, {}),
        (CODEC, {"adversarial": 0.1}),
        (VQ, {}),
        (CODEC, {"naming": 0.1}),
        (FINE, {"naming": 0.1}),
    ],
    ids=["plain", "adversarial", "vqvae", "naming", "fine"],
)
def test_a_codecs_plan_is_its_step(codec: dict[str, Any], training: dict[str, Any]) -> None:
    config = codec_run(codec, **training)
    step, cost = CodecStep(config), cost_of_codec(config)
    images = torch.zeros(8, 3, step.size, step.size)
    labels = torch.zeros(8, 4, *step.codec.grid, dtype=torch.long)
    step.batches = itertools.repeat((images, labels) if step.names else images)
    real = [p for module in step.modules.values() for p in module.parameters()]
    assert sum(cost.parts.values()) == sum(p.numel() for p in real)
    assert cost.trained == sum(p.numel() for p in real if p.requires_grad)
    counted = 8 * cost.per_picture + cost.per_step
    assert counted == pytest.approx(flops_of(step), rel=0.03)
    state = [e for o in step.optimizers for held in o.state.values() for e in held.values()]
    assert cost.optimizer == sum(4 * e.numel() for e in state if e.ndim)


@pytest.fixture
def texts(emoji_font: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    from limner.train.inputs import caches

    monkeypatch.setenv("LIMNER_FONT", str(emoji_font))
    monkeypatch.setattr(caches, "TOKENIZER_SCENES", 100)
    yield


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.usefixtures("texts")
def test_a_priors_plan_is_its_step(tmp_path: Path, optimizer: str) -> None:
    config = prior_run(tmp_path, optimizer)
    step = PriorStep(config)
    cost = cost_of_prior(config, step.codec, step.tokenizer.vocabulary)
    assert sum(cost.parts.values()) == cost.trained
    assert cost.trained == sum(p.numel() for p in step.prior.parameters())
    text, codes = torch.ones(8, 12, dtype=torch.long), torch.zeros(8, 4 * 4, dtype=torch.long)
    step.batches = itertools.repeat((text, codes[:, : step.prior.length]))
    assert 8 * cost.per_picture + cost.per_step == pytest.approx(flops_of(step), rel=0.03)
    assert (cost.per_step > 0) == (optimizer == "muon")
    state = [e for o in step.optimizers for held in o.state.values() for e in held.values()]
    assert cost.optimizer == sum(4 * e.numel() for e in state if e.ndim)


@pytest.mark.parametrize("name", ["gpt", "next_scale", "crf"])
def test_every_prior_can_be_planned(tmp_path: Path, name: str) -> None:
    config = prior_run(tmp_path)
    prior = {"name": name, "width": 32}
    found = make_plan(config.changed(prior=prior), (1, 4), hardware=[MACHINE])
    assert found["flops"]["picture"] > 0 and found["memory"][0]["activations"] > 0


def test_time_and_cost_are_plain_arithmetic(tmp_path: Path) -> None:
    found = make_plan(prior_run(tmp_path), (1, 4), {"H": 3.0}, [MACHINE])
    one, four = found["hardware"]
    assert one["step_seconds"] == pytest.approx(found["flops"]["step"] / 0.5e9)
    assert one["hours"] == pytest.approx(10 * one["step_seconds"] / 3600)
    assert four["step_seconds"] == pytest.approx(one["step_seconds"] / 4)
    assert four["cost"] == pytest.approx(one["cost"]) == pytest.approx(3 * one["hours"])
    ways = [(each["ranks"], each["parallel"]) for each in found["memory"]]
    assert ways == [(1, "ddp"), (4, "ddp"), (4, "fsdp")]
    alone, copies, slices = found["memory"]
    assert slices["optimizer"] == pytest.approx(alone["optimizer"] / 4, abs=8)
    assert copies["weights"] == alone["weights"] > slices["weights"]
    assert copies["activations"] == alone["activations"] // 4
    for each in found["memory"]:
        parts = [v for k, v in each.items() if k not in ("ranks", "parallel", "total")]
        assert each["total"] == sum(parts)


def test_memory_grows_with_the_batch_and_halves_with_nothing_else() -> None:
    config = codec_run(CODEC)
    cost = cost_of_codec(config)
    double = dataclasses.replace(config, loop=dataclasses.replace(LOOP, batch=16))
    one, two = memory(cost, config, 1, "ddp"), memory(cost, double, 1, "ddp")
    assert two["activations"] == 2 * one["activations"]
    assert two["weights"] == one["weights"] == 4 * cost.trained


def test_what_cannot_be_planned_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="of 8 cannot be shared evenly by 3 ranks"):
        make_plan(codec_run(CODEC), (3,), hardware=[MACHINE])
    with pytest.raises(ConfigError, match="a price is given for 'B200'; expected one of H"):
        make_plan(codec_run(CODEC), (1,), {"B200": 1.0}, [MACHINE])
    with pytest.raises(ConfigError, match="a plan is made of a codec or a prior"):
        make_plan(TrainConfig("features", "x"), (1,), hardware=[MACHINE])


def test_this_processor_is_measured() -> None:
    found = this_processor(bf16=False)
    assert 1e8 < found.rate < 1e14 and found.alone and "measured here" in found.source
