"""Layers give a picture the bits that it has alone, follow their weights, and learn as ever."""

import copy
import pickle
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from limner.nn import alike
from limner.registry import load
from limner.types import Request

# Channels, side and kernel of the default's convolutions, the fewest and the most of each part.
SHAPES = [(8, 8, 3, 256), (256, 8, 3, 384), (256, 8, 1, 256), (32, 24, 3, 32), (160, 6, 3, 384),
          (64, 24, 3, 128), (32, 48, 3, 36), (32, 64, 3, 64), (16, 128, 3, 12)]  # fmt: skip


def alone(layer: nn.Module, x: Tensor) -> Tensor:
    return torch.cat([layer(each) for each in x.split(1)])


def made(layer: nn.Module) -> nn.Module:
    """Return a layer made alike, which is not learnt."""
    network = nn.Sequential(layer)
    alike.make_alike(network)
    return network.eval().requires_grad_(False)


@pytest.mark.parametrize("shape", SHAPES, ids=[str(each) for each in SHAPES])
def test_convolutions_give_the_same_bits_in_any_company(shape: tuple[int, ...]) -> None:
    channels, side, kernel, outputs = shape
    stock = nn.Conv2d(channels, outputs, kernel, padding=kernel // 2)
    layer = made(copy.deepcopy(stock))
    for count in (2, 3, 4):
        x = torch.randn(count, channels, side, side).contiguous(memory_format=torch.channels_last)
        found = layer(x)
        torch.testing.assert_close(found, stock(x), atol=1e-4, rtol=1e-4)
        if alike.works():
            assert torch.equal(found, alone(layer, x))


def test_norms_and_rows_are_taken_one_after_the_other() -> None:
    stock = nn.GroupNorm(4, 16)
    layer = made(copy.deepcopy(stock))
    x = torch.randn(3, 16, 32, 32).contiguous(memory_format=torch.channels_last)
    assert torch.equal(layer(x), alone(layer, x))
    torch.testing.assert_close(layer(x), stock(x))
    assert layer(x).is_contiguous(memory_format=torch.channels_last)
    rows = torch.randn(5, 4608)
    long = nn.Sequential(made(nn.Linear(4608, 256)), nn.SiLU())
    assert torch.equal(alike.each_row(long, rows), alone(long, rows))


@pytest.fixture
def threads() -> Iterator[None]:
    """Put back how many threads compute."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


SIZES = [((8, 8), (256, 256)), ((5, 7), (15, 28)), ((1, 1), (4, 4)), ((3, 4), (9, 9))]


@pytest.mark.parametrize(("before", "after"), SIZES)
def test_maps_are_enlarged_as_stock_torch_does(
    before: tuple[int, int], after: tuple[int, int]
) -> None:
    x = torch.randn(2, 3, *before)
    expected = F.interpolate(x, after, mode="bilinear", align_corners=False)
    torch.testing.assert_close(alike.enlarge(x, after), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.usefixtures("threads")
def test_a_picture_has_the_same_bits_with_any_number_of_threads() -> None:
    if not alike.works():
        pytest.skip("this torch lays no weights out")
    pipeline: Any = load("default")
    prompts = ("a red apple", "three cats at night", "a dog and a car", "five stars on the beach")
    requests = [Request(prompt, seed=seed) for seed, prompt in enumerate(prompts)]
    drawn = dict[tuple[int, int], list[Tensor]]()
    with torch.inference_mode():
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            for count in (1, 4):
                parts = [requests[at : at + count] for at in range(0, 4, count)]
                last = [list(pipeline.stream_together(part))[-1].images for part in parts]
                drawn[threads, count] = [picture for images in last for picture in images]
    for found in drawn.values():
        assert all(torch.equal(*both) for both in zip(found, drawn[1, 1], strict=True))


def test_products_are_those_of_stock_layers() -> None:
    stock = nn.Linear(256, 1024)
    layer = made(copy.deepcopy(stock))
    x = torch.randn(3, 64, 256)
    torch.testing.assert_close(layer(x), stock(x), atol=1e-5, rtol=1e-4)
    if alike.works():
        assert torch.equal(layer(x), alone(layer, x))


@pytest.mark.parametrize("kind", [nn.Conv2d, nn.Linear])
def test_changed_weights_count_at_once(kind: Any) -> None:
    stock = nn.Conv2d(4, 8, 3) if kind is nn.Conv2d else nn.Linear(4, 8)
    layer, x = made(stock), torch.randn(2, 4, 5, 5) if kind is nn.Conv2d else torch.randn(2, 4)
    before = layer(x)
    for weight in layer.parameters():
        weight.mul_(2)
    torch.testing.assert_close(layer(x), 2 * before)
    with torch.inference_mode():
        torch.testing.assert_close(layer(x), 2 * before)
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        torch.testing.assert_close(twin(x), 2 * before)
    assert set(layer.state_dict()) == {"0.weight", "0.bias"}


def test_what_is_learnt_has_gradients() -> None:
    layer = nn.Sequential(nn.Conv2d(4, 8, 3), nn.GroupNorm(2, 8), nn.Flatten(), nn.Linear(72, 2))
    alike.make_alike(layer)
    layer(torch.randn(2, 4, 5, 5)).sum().backward()
    assert all(each.grad is not None for each in layer.parameters())
    x = torch.randn(2, 4, 5, 5, requires_grad=True)
    layer.requires_grad_(False)(x).sum().backward()  # the gradient of what comes in
    assert x.grad is not None and x.grad.abs().sum() > 0


def test_without_the_operators_layers_are_stock_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alike, "works", lambda: False)
    stock = nn.Conv2d(4, 8, 3)
    layer, x = made(copy.deepcopy(stock)), torch.randn(2, 4, 5, 5)
    assert torch.equal(layer(x), stock(x))
