"""Optimisers, schedule and averaging against their own formulas."""

import math
from itertools import pairwise

import pytest
import torch
from torch import nn

from limner.priors import create_prior
from limner.train.optimizer import EMA, create_optimizers, schedule, split_parameters
from tests.priors.tiny import config_of


@pytest.fixture
def model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Embedding(5, 4), nn.Linear(4, 6), nn.LayerNorm(6), nn.Linear(6, 3))


def test_only_linear_weights_are_matrices(model: nn.Sequential) -> None:
    matrices, others = split_parameters(model)
    assert [tuple(p.shape) for p in matrices] == [(6, 4), (3, 6)]
    assert len(others) == 5
    model[1].requires_grad_(False)
    matrices, others = split_parameters(model)
    assert [tuple(p.shape) for p in matrices] == [(3, 6)]
    assert len(others) == 4


def test_tables_of_a_prior_are_no_matrices() -> None:
    prior = create_prior(
        {"name": "gpt", "text_vocabulary": 9, "vocabulary": 12, "grid": [2, 2], "levels": [4, 3]}
        | {"groups": 2, "width": 16, "layers": 1, "heads": 2, "hidden": 16}
    )
    matrices = {id(parameter) for parameter in split_parameters(prior)[0]}
    names = {name for name, parameter in prior.named_parameters() if id(parameter) in matrices}
    assert names == {
        f"transformer.blocks.0.{name}.weight"
        for name in ("attention.qkv", "attention.out", "feed_forward.into", "feed_forward.out")
    } | {"head.mixers.0.into.weight", "head.mixers.0.out.weight"}


def test_vectors_do_not_decay(model: nn.Sequential) -> None:
    (optimizer,) = create_optimizers(model, "adamw", 1e-3, 0.1)
    decayed, kept = optimizer.param_groups
    assert decayed["weight_decay"] == 0.1 and all(p.ndim >= 2 for p in decayed["params"])
    assert kept["weight_decay"] == 0.0 and all(p.ndim < 2 for p in kept["params"])
    assert len(decayed["params"]) + len(kept["params"]) == len(list(model.parameters()))


@pytest.mark.parametrize("name", ["gpt", "next_scale", "crf"])
@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_biases_of_groups_and_vocabulary_do_not_decay(name: str, kind: str) -> None:
    """A prior's head has one bias a code and group: a matrix in form, a bias in what it does."""
    prior = create_prior(config_of(name, "groups"))
    biases = {n: p for n, p in prior.named_parameters() if n.endswith("bias")}
    assert any(each.ndim >= 2 for each in biases.values())
    decay = {
        id(parameter): group["weight_decay"]
        for optimizer in create_optimizers(prior, kind, 1e-3, 0.1)
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    assert {decay[id(each)] for each in biases.values()} == {0.0}
    others = [p for n, p in prior.named_parameters() if n not in biases and p.ndim >= 2]
    assert others and {decay[id(each)] for each in others} == {0.1}


def test_parameters_keep_the_order_by_which_a_state_knows_them() -> None:
    prior = create_prior(config_of("gpt", "groups"))
    (optimizer,) = create_optimizers(prior, "adamw", 1e-3, 0.1)
    found = [p for group in optimizer.param_groups for p in group["params"]]
    matrices, others = split_parameters(prior)
    every = matrices + others
    wanted = [p for p in every if p.ndim >= 2] + [p for p in every if p.ndim < 2]
    assert list(map(id, found)) == list(map(id, wanted))


def test_muon_takes_the_matrices_and_nothing_twice(model: nn.Sequential) -> None:
    adam, muon = create_optimizers(model, "muon", 1e-3, 0.1)
    owned = [p for o in (adam, muon) for group in o.param_groups for p in group["params"]]
    assert sorted(map(id, owned)) == sorted(map(id, model.parameters()))
    assert [tuple(p.shape) for group in muon.param_groups for p in group["params"]] == [
        (6, 4),
        (3, 6),
    ]


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_every_parameter_learns(model: nn.Sequential, kind: str) -> None:
    optimizers = create_optimizers(model, kind, 1e-2, 0.01)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    losses = []
    for _ in range(30):
        loss = nn.functional.cross_entropy(model(torch.arange(3)), torch.arange(3))
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
    for old, parameter in zip(before, model.parameters(), strict=True):
        assert not torch.equal(old, parameter)


def test_wsd_warms_up_holds_and_falls_to_zero() -> None:
    shares = [schedule(step, 100, 10, 0.2, "wsd") for step in range(100)]
    assert shares[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert shares[10:80] == [1.0] * 70
    assert shares[80:] == pytest.approx([(100 - step) / 20 for step in range(80, 100)])
    assert schedule(100, 100, 10, 0.2, "wsd") == 0


def test_cosine_falls_to_a_fiftieth() -> None:
    shares = [schedule(step, 100, 5, 0.2, "cosine") for step in range(101)]
    assert shares[50] == pytest.approx(0.02 + 0.98 * 0.5)
    assert shares[100] == pytest.approx(0.02)
    assert all(a > b for a, b in pairwise(shares[5:]))
    assert shares[25] == pytest.approx(0.02 + 0.49 * (1 + math.cos(math.pi / 4)))


def test_constant_is_constant_after_its_warm_up() -> None:
    assert schedule(0, 100, 4, 0.2, "constant") == 0.25
    assert {schedule(step, 100, 4, 0.2, "constant") for step in range(3, 200)} == {1.0}


def test_no_warm_up_and_no_decay() -> None:
    assert {schedule(step, 50, 0, 0.0, "wsd") for step in range(50)} == {1.0}


def test_the_average_follows_its_formula() -> None:
    parameter = nn.Parameter(torch.tensor([1.0]))
    average = EMA([parameter], 0.9)
    wanted = 1.0
    for step in range(120):
        with torch.no_grad():
            parameter.fill_(float(step % 7))
        average.update(step)
        keep = min(0.9, (step + 1) / (step + 10))
        wanted = keep * wanted + (1 - keep) * (step % 7)
    assert average.values[0].item() == pytest.approx(wanted, rel=1e-5)


def test_the_average_stands_in_place_for_a_while() -> None:
    model = nn.Linear(3, 2)
    average = EMA(model.parameters(), 0.99)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1.0)
    trained = [p.detach().clone() for p in model.parameters()]
    held = [value.clone() for value in average.values]
    with pytest.raises(ZeroDivisionError), average.in_place():
        assert all(torch.equal(p, v) for p, v in zip(model.parameters(), held, strict=True))
        raise ZeroDivisionError  # the weights come back however the block is left
    assert all(torch.equal(p, v) for p, v in zip(model.parameters(), trained, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(average.values, held, strict=True))
