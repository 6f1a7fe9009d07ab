"""One guarded update: the schedule's rate, the clipped gradient, and nothing at all for NaN."""

import dataclasses

import pytest
import torch
from torch import nn

from limner.errors import NonFiniteError
from limner.train.config import LoopConfig, TrainConfig
from limner.train.update import optimizers_for, precision, update

CONFIG = TrainConfig("codec", "x", loop=LoopConfig(steps=10, warmup=4, learning_rate=0.1, clip=0.5))


def test_rate_and_norm_are_told() -> None:
    model = nn.Linear(2, 1, bias=False)
    optimizers = optimizers_for(model, CONFIG)
    numbers = update(model(torch.tensor([[3.0, 4.0]])).sum(), optimizers, model, 1, CONFIG)
    assert numbers == {"gradient_norm": pytest.approx(5.0), "learning_rate": pytest.approx(0.05)}
    assert model.weight.grad is not None
    assert model.weight.grad.norm().item() == pytest.approx(0.5, abs=1e-4)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_not_finite_changes_nothing(bad: float) -> None:
    model = nn.Linear(2, 1)
    optimizers = optimizers_for(model, CONFIG)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    with pytest.raises(NonFiniteError, match="at step 3; nothing was updated"):
        update(model(torch.ones(1, 2)).sum() * bad, optimizers, model, 3, CONFIG)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    assert optimizers[0].state_dict()["state"] == {}


def test_a_gradient_that_is_not_finite_changes_nothing() -> None:
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    loss = model(torch.ones(1, 1)).abs().sqrt().sum()  # finite, but steep without end at zero
    with pytest.raises(NonFiniteError, match="nothing was updated"):
        update(loss, optimizers_for(model, CONFIG), model, 0, CONFIG)
    assert model.weight.item() == 0


def test_precision_is_what_the_config_says() -> None:
    plain = dataclasses.replace(CONFIG, loop=dataclasses.replace(CONFIG.loop, bf16=False))
    model, x = nn.Linear(2, 2), torch.ones(1, 2)
    with precision(CONFIG):
        assert model(x).dtype == torch.bfloat16
    with precision(plain):
        assert model(x).dtype == torch.float32
