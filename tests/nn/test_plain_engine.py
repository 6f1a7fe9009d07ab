"""The prepared decoder with layers of GPT-2: biases, feed-forward without a gate, and CogView's."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from limner.nn.engine import DecoderShape
from limner.nn.native import NativeEngine, find_library
from limner.nn.torch_engine import TorchEngine
from limner.types import PRECISIONS

WIDTH, LAYERS, HEADS, HIDDEN, VOCABULARY, LENGTH = 48, 2, 3, 150, 131, 11


def layer(seed: int) -> dict[str, Tensor]:
    """Return the weights of a layer with a bias to everything."""
    torch.manual_seed(seed)
    sizes = {"qkv": (3 * WIDTH, WIDTH), "out": (WIDTH, WIDTH)}
    sizes |= {"into": (HIDDEN, WIDTH), "down": (WIDTH, HIDDEN)}
    weights = {name: torch.randn(*size) * size[1] ** -0.5 for name, size in sizes.items()}
    weights |= {f"{name}_bias": torch.randn(size[0]) for name, size in sizes.items()}
    for name in ("attention_norm", "feed_forward_norm"):
        weights |= {name: torch.rand(WIDTH) + 0.5, f"{name}_bias": torch.randn(WIDTH)}
    return weights


def plain(weights: dict[str, Tensor], x: Tensor, *, gelu: bool) -> Tensor:
    """Compute such a layer of x (B, L, D) by torch's own attention."""

    def part(name: str, value: Tensor) -> Tensor:
        return F.linear(value, weights[name], weights[f"{name}_bias"])

    def norm(name: str, value: Tensor) -> Tensor:
        return F.layer_norm(value, (WIDTH,), weights[name], weights[f"{name}_bias"])

    parts = part("qkv", norm("attention_norm", x)).unflatten(-1, (3, HEADS, -1))
    q, k, v = parts.permute(2, 0, 3, 1, 4)
    mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    x = x + part("out", mixed.transpose(1, 2).flatten(2))
    inner = part("into", norm("feed_forward_norm", x))
    return x + part("down", F.gelu(inner) if gelu else F.silu(inner))


@pytest.mark.parametrize("gelu", [True, False])
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("kind", ["torch", "native"])
def test_it_is_its_equations(kind: str, precision: str, gelu: bool) -> None:
    library, why = find_library()
    if kind == "native" and library is None:
        pytest.skip(why)
    layers, norm = [layer(number) for number in range(LAYERS)], nn.LayerNorm(WIDTH)
    head = {"head": torch.randn(VOCABULARY, WIDTH), "attention_norm": norm.weight}
    head["attention_norm_bias"] = norm.bias
    shape = DecoderShape(WIDTH, LAYERS, HEADS, HIDDEN, layer_norm=True, gelu=gelu, gated=False)
    stack: Any = (
        TorchEngine(shape, layers, [head], precision)
        if kind == "torch"
        else NativeEngine(library, shape, layers, [head], precision)
    )
    run, x = stack.begin([0] * 30, LENGTH), torch.randn(30, LENGTH, WIDTH)
    found = [run.extend(x[:, :5], 0)] + [run.extend(x[:, [at]], at) for at in range(5, LENGTH)]
    wanted = x
    for weights in layers:
        wanted = plain(weights, wanted, gelu=gelu)
    near = 2e-5 if precision == "fp32" else 0.1
    with torch.no_grad():
        torch.testing.assert_close(torch.cat(found, 1), norm(wanted), atol=near, rtol=near)


def sandwich(weights: dict[str, Tensor], x: Tensor, mask: Tensor) -> Tensor:
    """Compute a layer with a norm behind each part, of which positions see what `mask` says."""

    def part(name: str, value: Tensor) -> Tensor:
        return F.linear(value, weights[name], weights[f"{name}_bias"])

    def norm(name: str, value: Tensor) -> Tensor:
        return F.layer_norm(value, (WIDTH,), weights[name], weights[f"{name}_bias"])

    parts = part("qkv", norm("attention_norm", x)).unflatten(-1, (3, HEADS, -1))
    q, k, v = parts.permute(2, 0, 3, 1, 4)
    mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    x = x + norm("out_norm", part("out", mixed.transpose(1, 2).flatten(2)))
    inner = part("into", norm("feed_forward_norm", x))
    return x + norm("down_norm", part("down", F.gelu(inner, approximate="tanh")))


@pytest.mark.parametrize("kind", ["torch", "native"])
def test_layers_see_what_they_may(kind: str) -> None:
    library, why = find_library()
    if kind == "native" and library is None:
        pytest.skip(why)
    layers = [layer(number) for number in range(3)]
    for weights in layers:
        for name in ("out_norm", "down_norm"):
            weights |= {name: torch.rand(WIDTH) + 0.5, f"{name}_bias": torch.randn(WIDTH)}
    head = {"head": torch.randn(VOCABULARY, WIDTH), "attention_norm": torch.ones(WIDTH)}
    head["attention_norm_bias"] = torch.zeros(WIDTH)
    shape = DecoderShape(
        WIDTH, 3, HEADS, HIDDEN, layer_norm=True, gelu=True, gated=False, tanh=True
    )
    stack: Any = (
        TorchEngine(shape, layers, [head], "fp32")
        if kind == "torch"
        else NativeEngine(library, shape, layers, [head], "fp32")
    )
    causal = torch.ones(LENGTH, LENGTH, dtype=torch.bool).tril()
    masks = causal & (torch.rand(2, LENGTH, LENGTH) < 0.5) | torch.eye(LENGTH, dtype=torch.bool)
    order = [1, 0, 1]
    run, x = stack.begin([0] * 4, LENGTH, seen=(masks, order)), torch.randn(4, LENGTH, WIDTH)
    found = [run.extend(x[:, :5], 0)] + [run.extend(x[:, [at]], at) for at in range(5, LENGTH)]
    wanted = x
    for weights, which in zip(layers, order, strict=True):
        wanted = sandwich(weights, wanted, masks[which])
    wanted = F.layer_norm(wanted, (WIDTH,))
    torch.testing.assert_close(torch.cat(found, 1), wanted, atol=5e-5, rtol=5e-5)
