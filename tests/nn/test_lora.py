"""Low-rank changes: the merged weight is W + s B A, and computes what the trained layer did."""

import pytest
import torch
from torch import nn

from limner.nn.lora import LowRank, adaptable, attach, merged


def layers() -> dict[str, nn.Module]:
    torch.manual_seed(0)
    return {
        "linear": nn.Linear(6, 5),
        "convolution": nn.Conv2d(3, 4, 3, padding=1),
    }


INPUTS = {"linear": torch.randn(7, 6), "convolution": torch.randn(2, 3, 8, 8)}


@pytest.mark.parametrize("name", INPUTS)
def test_a_new_change_changes_nothing(name: str) -> None:
    layer, x = layers()[name], INPUTS[name]
    before = layer(x)
    attach({name: layer}, rank=2, alpha=4.0)
    assert torch.equal(layer(x), before)


@pytest.mark.parametrize("name", INPUTS)
def test_a_change_is_the_papers_formula(name: str) -> None:
    """h = W x + (alpha / r) B A x (arXiv 2106.09685, equation 3 and section 4.1)."""
    layer, x = layers()[name], INPUTS[name]
    assert isinstance(layer.weight, torch.Tensor)
    weight, before = layer.weight.detach().clone(), layer(x)
    changes = attach({name: layer}, rank=2, alpha=4.0)
    tensors = changes.tensors()
    up, down = tensors[f"{name}.up"], tensors[f"{name}.down"]
    assert (up.shape, down.shape) == ((len(weight), 2), (2, weight[0].numel()))
    torch.nn.init.normal_(up)
    if name == "linear":
        wanted = before + 2.0 * (x @ down.T) @ up.T
    else:
        small = nn.functional.conv2d(x, down.view(2, *weight.shape[1:]), padding=1)
        wanted = before + 2.0 * nn.functional.conv2d(small, up[..., None, None])
    torch.testing.assert_close(layer(x), wanted)
    plain = merged(weight, [(up, down, 2.0)])
    torch.testing.assert_close(plain, layer.weight, rtol=0, atol=1e-6)
    torch.testing.assert_close(plain, weight + (2.0 * up @ down).view_as(weight))


def test_changes_are_added_up_in_any_order() -> None:
    torch.manual_seed(1)
    weight = torch.randn(5, 6)
    one = (torch.randn(5, 2), torch.randn(2, 6), 0.8)
    other = (torch.randn(5, 3), torch.randn(3, 6), -0.3)
    wanted = weight + 0.8 * one[0] @ one[1] - 0.3 * other[0] @ other[1]
    torch.testing.assert_close(merged(weight, [one, other]), wanted)
    torch.testing.assert_close(merged(weight, [one, other]), merged(weight, [other, one]))
    assert torch.equal(merged(weight, []), weight)


def test_only_the_change_learns() -> None:
    layer = layers()["linear"]
    changes = attach({"linear": layer}, rank=1, alpha=1.0)
    layer(INPUTS["linear"]).square().sum().backward()
    (change,) = changes.changes
    assert isinstance(change, LowRank)
    assert change.up.grad is not None and change.up.grad.abs().sum() > 0
    assert [name for name, p in layer.named_parameters() if p.requires_grad] == [
        "parametrizations.weight.0.up",
        "parametrizations.weight.0.down",
    ]


def test_layers_are_found_by_name() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Conv2d(1, 1, 1)), nn.LayerNorm(2))
    assert list(adaptable(model)) == ["0", "1.0"]
    assert list(adaptable(model, without=["1"])) == ["0"]
