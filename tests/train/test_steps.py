"""One guarded update: the schedule's rate, the clipped gradient, and nothing at all for NaN."""

import dataclasses
from typing import Any

import pytest
import torch
from torch import nn

from limner.errors import ConfigError, NonFiniteError, UsageError
from limner.nn.conv import ResidualBlock
from limner.train.config.run import TrainConfig
from limner.train.config.shared import LoopConfig
from limner.train.steps import (
    device_of,
    notes_on_precision,
    optimizers_for,
    parts_of,
    precision,
    save_memory,
    scaler_of,
    update,
)

CONFIG = TrainConfig("codec", "x", loop=LoopConfig(steps=10, warmup=4, learning_rate=0.1, clip=0.5))


def test_rate_and_norm_are_told() -> None:
    model = nn.Linear(2, 1, bias=False)
    optimizers = optimizers_for(model, CONFIG)
    numbers = update([model(torch.tensor([[3.0, 4.0]])).sum()], optimizers, model, 1, CONFIG)
    assert set(numbers) == {"loss", "gradient_norm", "learning_rate"}
    assert numbers["gradient_norm"] == pytest.approx(5.0)
    assert numbers["learning_rate"] == pytest.approx(0.05)
    assert model.weight.grad is not None
    assert model.weight.grad.norm().item() == pytest.approx(0.5, abs=1e-4)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_not_finite_changes_nothing(bad: float) -> None:
    model = nn.Linear(2, 1)
    optimizers = optimizers_for(model, CONFIG)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    with pytest.raises(NonFiniteError, match="at step 3; nothing was updated"):
        update([model(torch.ones(1, 2)).sum() * bad], optimizers, model, 3, CONFIG)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    assert optimizers[0].state_dict()["state"] == {}


def test_a_gradient_that_is_not_finite_changes_nothing() -> None:
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    loss = model(torch.ones(1, 1)).abs().sqrt().sum()  # finite, but steep without end at zero
    with pytest.raises(NonFiniteError, match="nothing was updated"):
        update([loss], optimizers_for(model, CONFIG), model, 0, CONFIG)
    assert model.weight.item() == 0


def test_precision_is_what_the_config_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    plain = dataclasses.replace(CONFIG, loop=dataclasses.replace(CONFIG.loop, bf16=False))
    model, x = nn.Linear(2, 2), torch.ones(1, 2)
    with precision(CONFIG):
        assert model(x).dtype == torch.bfloat16
    with precision(plain):
        assert model(x).dtype == torch.float32
    assert notes_on_precision(CONFIG) == notes_on_precision(plain) == []


def test_a_processor_without_bf16_computes_in_fp32_and_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)
    with precision(CONFIG):
        assert nn.Linear(2, 2)(torch.ones(1, 2)).dtype == torch.float32
    assert "so the run is in fp32" in notes_on_precision(CONFIG)[0]
    for loop in (LoopConfig(bf16=False), LoopConfig(fp16=True)):
        assert notes_on_precision(dataclasses.replace(CONFIG, loop=loop)) == []


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 1), ResidualBlock(8), nn.Flatten(), nn.Linear(128, 2))


def test_parts_make_the_whole_batch() -> None:
    parts = parts_of(8, changed(accumulate=2, batch=8))
    assert parts == [(slice(0, 4), 0.5), (slice(4, 8), 0.5)]
    uneven = parts_of(7, changed(accumulate=4, batch=8))
    assert sum(share for _, share in uneven) == pytest.approx(1)
    assert [n for rows, _ in uneven for n in range(7)[rows]] == list(range(7))
    assert len(parts_of(2, changed(accumulate=4, batch=8))) == 2
    with pytest.raises(ConfigError, match="accumulate is 3 and batch 8; expected parts of equal"):
        changed(accumulate=3, batch=8)


def changed(**loop: Any) -> TrainConfig:
    return dataclasses.replace(CONFIG, loop=dataclasses.replace(CONFIG.loop, **loop))


def test_accumulated_gradients_are_those_of_the_batch() -> None:
    x = torch.randn(8, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    found = []
    for count in (1, 4):
        model, config = network(), changed(accumulate=count, batch=8)
        parts = parts_of(8, config)
        losses = (model(x[rows]).square().mean() * share for rows, share in parts)
        numbers = update(losses, optimizers_for(model, config), model, 0, config)
        found.append((numbers["loss"], numbers["gradient_norm"], list(model.parameters())))
    assert found[0][:2] == pytest.approx(found[1][:2], rel=1e-5)
    for one, other in zip(found[0][2], found[1][2], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_checkpointing_gives_the_same_gradients_and_keeps_less() -> None:
    x, found, kept = torch.randn(2, 3, 4, 4), [], []
    for wanted in (False, True):
        model, sizes = network(), list[int]()
        save_memory(model, changed(checkpointing=wanted))

        def note(tensor: torch.Tensor, sizes: list[int] = sizes) -> torch.Tensor:
            sizes.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            loss = model(x).square().sum()
        kept.append(sum(sizes))
        loss.backward()
        found.append([parameter.grad for parameter in model.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))
    assert kept[1] < kept[0]


def test_a_gradient_too_large_for_fp16_makes_the_scale_smaller() -> None:
    config = changed(fp16=True)
    model, scaler = nn.Linear(2, 1, bias=False), scaler_of(config)
    assert scaler is not None and scaler_of(CONFIG) is None
    optimizers = optimizers_for(model, config)
    before = model.weight.detach().clone()

    def step(size: float) -> dict[str, float]:
        x = torch.full((1, 2), size)
        return update([model(x).sum()], optimizers, model, 3, config, scaler)

    numbers = step(1e38)
    assert torch.equal(model.weight, before)
    assert (numbers["loss_scale"], numbers["gradient_norm"]) == (2.0**15, 0.0)
    assert step(1.0)["gradient_norm"] == pytest.approx(2**0.5, rel=1e-4)
    assert not torch.equal(model.weight, before)
    with pytest.raises(NonFiniteError, match="nothing was updated"):
        update(
            [model(torch.full((1, 2), float("nan"))).sum()], optimizers, model, 3, config, scaler
        )


def test_fp16_takes_the_place_of_bf16() -> None:
    model, x = nn.Linear(2, 2), torch.ones(1, 2)
    with precision(changed(fp16=True)):
        assert model(x).dtype == torch.float16


def test_a_run_computes_where_its_config_says(monkeypatch: pytest.MonkeyPatch) -> None:
    def on(device: str) -> torch.device:
        loop = LoopConfig(device=device)
        return device_of(TrainConfig("codec", "x", loop=loop, tables={"codec": {"name": "fsq"}}))

    with pytest.raises(ConfigError, match="device is 'gpu'; expected auto, cpu, cuda or cuda:N"):
        LoopConfig(device="gpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert on("auto") == on("cpu") == torch.device("cpu")
    with pytest.raises(ConfigError, match=r"device is 'cuda:1', but torch finds no GPU"):
        on("cuda:1")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert (on("cuda:1"), on("auto")) == (torch.device("cuda", 1), torch.device("cuda"))
    with pytest.raises(UsageError, match="'cuda:2', and the number of GPUs that torch finds is 2"):
        on("cuda:2")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert on("cuda") == torch.device("cuda", 1)
    with pytest.raises(ConfigError, match="'cuda:1', but each of several ranks takes a GPU of its"):
        on("cuda:1")
