"""Tables of names: both ways, numbers that count from one, and what does not fit."""

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from limner.convert.keys import (
    CONVOLUTION,
    DENSE,
    SAME,
    Shapes,
    Turn,
    collect,
    our_shapes,
    table,
)
from limner.convert.tensors import Under
from limner.errors import CheckpointError
from limner.files.safetensors import TensorEntry

KEYS = table(
    ("group_{g+1}.block_{b+1}.w", "groups.{g}.{b}.weight"),
    ("dense/{i}/kernel", "dense.{i}.weight", DENSE),
    ("bias", "bias"),
)


class Held:
    """Tensors in memory."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self.tensors = tensors
        self.entries = {
            name: TensorEntry("F32", tuple(each.shape)) for name, each in tensors.items()
        }
        self.values: Mapping[str, Any] = {"in/a": 1, "b": 2}

    def read(self, name: str) -> Tensor:
        return self.tensors[name]


def test_a_table_is_read_both_ways() -> None:
    assert KEYS.ours("group_3.block_1.w") == ("groups.2.0.weight", SAME)
    assert KEYS.theirs("groups.2.0.weight") == ("group_3.block_1.w", SAME)
    assert KEYS.ours("group_3.block_x.w") is None
    assert KEYS.ours("group_03.block_1.w") is None, "a number has one spelling"
    assert KEYS.theirs("groups.2.0.bias") is None


@pytest.mark.parametrize("turn", [SAME, DENSE, CONVOLUTION, Turn((2, 0, 1))])
def test_a_turn_goes_back(turn: Turn) -> None:
    tensor = torch.randn(tuple(range(2, 2 + (len(turn.order) or 3))))
    turned = turn.ours(tensor)
    assert tuple(turned.shape) == turn.shape(tuple(tensor.shape))
    assert torch.equal(turn.theirs(turned), tensor)


def test_suffixes_stand_for_a_row_each() -> None:
    keys = table(("a", "b"), suffixes=(".weight", ".bias"))
    assert [keys.ours(f"a.{end}") for end in ("weight", "bias")] == [
        ("b.weight", SAME), ("b.bias", SAME),
    ]  # fmt: skip


def test_what_fits_is_read_when_it_is_asked_for() -> None:
    held = Held({"dense/0/kernel": torch.randn(2, 3), "optimizer": torch.zeros(9)})
    wanted = {"dense.0.weight": torch.zeros(3, 2), "bias": torch.zeros(4)}
    found = collect(held, KEYS, wanted, "it", filled={"bias": 2.0}, ignored=("opt.*",))
    assert list(found) == list(wanted), "in the order of our own state dict"
    assert found["dense.0.weight"].shape == (3, 2)
    assert torch.equal(found["dense.0.weight"].read(), held.tensors["dense/0/kernel"].T)
    assert torch.equal(found["bias"].read(), torch.full((4,), 2.0))


@pytest.mark.parametrize(
    ("tensors", "told"),
    [
        ({}, r"1 tensors missing, 0 too many, 0 of another shape; the first are bias"),
        ({"bias": torch.zeros(3)}, r"0 tensors missing, 0 too many, 1 of another shape"),
        ({"bias": torch.zeros(4), "other": torch.zeros(1)}, r"1 too many.*the first are other"),
        ({"bias": torch.zeros(4), "dense/0/kernel": torch.zeros(1, 2, 3)}, r"1 too many"),
        ({"bias": torch.zeros(4), "dense/7/kernel": torch.zeros(1, 2)}, r"1 too many"),
    ],
)
def test_what_does_not_fit_is_counted_and_named(tensors: dict[str, Tensor], told: str) -> None:
    with pytest.raises(CheckpointError, match=told):
        collect(Held(tensors), KEYS, {"bias": torch.zeros(4)}, "it")


def test_sizes_are_read_off_shapes_by_our_names() -> None:
    names = {"dense/0/kernel": torch.zeros(2, 3), "dense/4/kernel": torch.zeros(2, 3)}
    shapes = Shapes(our_shapes(Held(names | {"else": torch.zeros(1)}), KEYS), "it", KEYS)
    assert shapes.of("dense.4.weight", 2) == (3, 2)
    assert shapes.numbers("dense.") == [0, 4] and shapes.count("dense.") == 2
    with pytest.raises(CheckpointError, match=r"no tensor dense/1/kernel of 2 axes"):
        shapes.of("dense.1.weight", 2)


def test_names_below_one_are_read_without_it() -> None:
    under = Under(Held({"in/a": torch.ones(2), "b": torch.zeros(1)}), "in/")
    assert list(under.entries) == ["a"] and under.values == {"a": 1}
    assert torch.equal(under.read("a"), torch.ones(2))
